"""Mistakes that beginners make: the error says the way out, or what happens is documented."""

import math
import re
import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd import functional as F
from nanoautograd import nn, optim
from nanoautograd.nn.module import LAYERS


def leaf(x, **options):
    return nag.Tensor(x, requires_grad=True, **options)


def says(documented, words):
    """Whether a docstring has these words, wherever its lines end."""
    return words in " ".join(documented.__doc__.split())


# ---- gradients


def test_zero_grad_forgotten_the_gradients_add_up():
    w = nn.Parameter([1.0, 2.0])
    optimizer = optim.SGD([w], lr=0.1)
    for times in (1, 2, 3):
        (w * w).sum().backward()
        assert w.grad.tolist() == [2.0 * times, 4.0 * times]
    optimizer.zero_grad()
    (w * w).sum().backward()
    assert w.grad.tolist() == [2.0, 4.0]
    assert says(optim, "Gradients add up until `zero_grad`")
    assert says(nag.Tensor.grad, "The gradients of all backward() calls so far, added up")


def test_backward_twice():
    loss = (leaf([1.0, 2.0]) ** 2).sum()
    loss.backward()
    with pytest.raises(nag.GraphError, match="the first walk needs retain_graph=True"):
        loss.backward()


def test_backward_of_a_vector():
    with pytest.raises(nag.ShapeError, match=r"shape \(2,\).*take .sum\(\) or .mean\(\) first"):
        (leaf([1.0, 2.0]) * 2).backward()


def test_requires_grad_forgotten():
    w = nag.Tensor([1.0, 2.0])
    with pytest.raises(nag.GraphError, match="requires_grad=True"):
        (w * w).sum().backward()
    with nag.no_grad():
        y = leaf([1.0]).sum()
    with pytest.raises(nag.GraphError, match=r"was computed within no_grad"):
        y.backward()


@pytest.mark.parametrize("make", [leaf, nn.Parameter])
def test_a_parameter_of_integers(make):
    with pytest.raises(TypeError, match=r"only floating-point ones.*\.astype\(np.float64\)"):
        make([1, 2])
    make(np.array([1, 2]).astype(np.float64))


# ---- updates


@pytest.mark.parametrize("write", [lambda w: w.__isub__(0.1), lambda w: w.__setitem__(0, 0.1)])
def test_a_leaf_written_in_place(write):
    w = leaf([1.0, 2.0])
    with pytest.raises(nag.GraphError, match=r"assign within no_grad\(\) if it is an update"):
        write(w)
    with nag.no_grad():
        write(w)
    assert w.is_leaf and w.tolist()[0] != 1.0


def test_an_update_that_makes_a_new_tensor():
    w = leaf([1.0, 2.0])
    (w * w).sum().backward()
    w = w - 0.1 * w.grad
    (w * w).sum().backward()
    with pytest.warns(UserWarning, match=r"collects no .grad.*`with nag.no_grad\(\): w -= ...`"):
        assert w.grad is None


def test_a_write_into_data_between_forward_and_backward():
    w = leaf([1.0, 2.0])
    loss = (w * w).sum()
    w.data -= 1.0
    with pytest.raises(nag.GraphError, match="overwritten in place.*backward.. before"):
        loss.backward()
    # Into a part of it: nobody can see that, and the docstring says what is seen.
    w = leaf([1.0, 2.0])
    loss = (w * w).sum()
    w.data[0] = 5.0
    loss.backward()
    assert w.grad.tolist() == [10.0, 4.0]
    assert says(nag.Tensor.data, "`t.data[i] = u` nobody can see")
    assert says(nag.Tensor.data, "(`t[i] = u` is seen.)")


# ---- what is given


def test_numpy_of_a_tensor_with_a_gradient():
    y = leaf([1.0, 2.0]) * 2
    value, number, several = r"\.detach\(\)\.numpy\(\)", r"\.item\(\)", "nag.stack"
    for convert, way_out in (
        (y.numpy, value),
        (lambda: np.asarray(y), value),
        (lambda: np.mean([y]), several),
        (lambda: np.array([y[0], y[1]]), several),
        (lambda: nag.Tensor([y[0], y[1]]), several),
        (lambda: float(y[0]), number),
        (lambda: int(y[0]), number),
        (lambda: math.exp(y[0]), r"nag\.exp\(t\)"),
        (lambda: np.from_dlpack(y), r"\.detach\(\)"),
        (lambda: nag.from_dlpack(y), r"\.detach\(\)"),
    ):
        with pytest.raises(nag.GraphError, match=f"lose the gradient silently.*{way_out}"):
            convert()
    for convert in (y.numpy, lambda: int(y[0]), lambda: np.from_dlpack(y)):
        with pytest.raises(nag.GraphError, match="^(?!.*nag.stack)"):  # which is for lists
            convert()
    assert y.detach().numpy().tolist() == [2.0, 4.0]


@pytest.mark.parametrize(
    "labels, kind, words",
    [
        (np.array([0.0, 1.0, 2.0]), ValueError, r"integers: target.astype\(int\)"),
        (np.array([0.0, 1.0, 2.0], np.float32), ValueError, r"integers: target.astype\(int\)"),
        (
            np.eye(3, 4, dtype=np.float32),  # one-hot rows
            TypeError,
            r"target.astype\(np.float64\), or.*target.argmax\(1\)",
        ),
        (np.array([True, False, True]), TypeError, r"class numbers \(integers\)"),
        (np.eye(3, 4, dtype=int), ValueError, "one class number for each row of scores"),
        (np.array([[0], [1], [2]]), ValueError, r"one class number .* got .* target \(3, 1\)"),
        (np.array([1, 2, 4]), IndexError, "target 4 at position .2,.*4 classes, 0 to 3"),
    ],
)
def test_labels_of_a_wrong_dtype_or_shape(labels, kind, words):
    scores = leaf(np.ones((3, 4)))
    for loss in (F.cross_entropy, nn.CrossEntropyLoss()):
        with pytest.raises(kind, match=words):
            loss(scores, labels)


def test_shapes_that_do_not_fit():
    w = leaf(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"shapes \(2, 3\) and \(2, 3\) do not fit"):
        w @ np.ones((2, 3))
    with pytest.raises(ValueError, match=r"\(2, 3\), \(2,\).*from the last axis.*equal, or 1"):
        w + np.ones(2)
    with pytest.raises(ValueError, match=r"got input \(4, 2\) and weight \(5, 3\)"):
        nn.Linear(3, 5)(np.ones((4, 2), np.float32))


def test_a_prediction_n_1_beside_a_target_n():
    prediction, target = leaf(np.ones((3, 1))), np.zeros(3)
    for loss in (F.mse_loss, nn.MSELoss()):
        with pytest.raises(ValueError, match=r"one shape.*target.reshape\(input.shape\)"):
            loss(prediction, target)
        assert loss(prediction, target.reshape(prediction.shape)).item() == 1.0
    # By hand it is NumPy's broadcasting, as the docstring says.
    assert ((prediction - target) ** 2).shape == (3, 3)
    assert says(F.mse_loss, "(N,) beside (N, 1) would be N² differences")


def test_a_wrong_axis():
    w = leaf(np.ones((2, 3)))
    with pytest.raises(ValueError, match="axis 2 is out of bounds") as error:
        w.sum(axis=2)
    assert "in sum(Tensor (2, 3) float64" in error.value.__notes__[0]
    with pytest.raises(TypeError, match=r"write axis=1; its signature is sum\(a, axis=None"):
        w.sum(dim=1)
    with pytest.raises(ValueError, match="softmax: axis 2 is out of range for 2 dimensions"):
        F.softmax(w, dim=2)


def test_a_list_in_the_place_of_a_tensor():
    assert nag.tanh([0.0, 1.0]).tolist() == np.tanh([0.0, 1.0]).tolist()
    assert (leaf([1.0, 2.0]) + [1.0, 2.0]).tolist() == [2.0, 4.0]
    a, b = leaf(1.0), leaf(2.0)
    for call in (lambda: nag.Tensor([a, b]), lambda: nag.sum([a, b])):
        with pytest.raises(nag.GraphError, match="nag.stack or nag.concatenate for a list"):
            call()
    nag.stack([a, b]).sum().backward()
    assert a.grad.item() == b.grad.item() == 1.0


@pytest.mark.oracle
def test_a_tensor_of_pytorch_mixed_in():
    torch = pytest.importorskip("torch")
    for call in (
        lambda: leaf([1.0, 2.0]) * torch.ones(2),
        lambda: nn.Linear(2, 1)(torch.ones(1, 2)),
        lambda: F.mse_loss(leaf([1.0, 2.0]), torch.ones(2)),
    ):
        with pytest.raises(TypeError, match=r"another library, torch.Tensor.*nag.from_dlpack\(x\)"):
            call()


@pytest.mark.oracle
def test_a_tensor_given_to_pytorch():
    torch = pytest.importorskip("torch")
    t = leaf([[1.0, 2.0]])
    for name, call in {
        "sin": lambda: torch.sin(t),
        "cat": lambda: torch.cat([t, t]),
        "linear": lambda: torch.nn.Linear(2, 1)(t),
        "mse_loss": lambda: torch.nn.functional.mse_loss(t, torch.ones(1, 2)),
    }.items():
        with pytest.raises(TypeError, match=rf"PyTorch's {name} was.*from_dlpack\(t.detach\(\)\)"):
            call()
    assert torch.equal(torch.from_dlpack(t.detach()), torch.tensor([[1.0, 2.0]]).double())


TAKERS = [nag.Tensor, nn.Parameter, nag.sum, nag.tanh, lambda x: leaf(1.0) * x, nn.ReLU()]


@pytest.mark.parametrize("take", TAKERS)
@pytest.mark.parametrize(
    "make, right",
    [
        (lambda x: (n for n in x), "list(x)"),
        (lambda x: map(float, x), "list(x)"),
        (set, "list(x)"),
        (lambda x: dict.fromkeys(x), "list(x.values())"),
        (lambda x: dict.fromkeys(x).keys(), "list(x)"),
    ],
)
def test_what_numpy_takes_for_one_object(take, make, right):
    if take is TAKERS[4]:
        with pytest.raises(TypeError):  # Python's, that names the types
            take(make([1.0, 2.0]))
        return
    with pytest.raises(TypeError, match=rf"give {re.escape(right)}$|give {re.escape(right)}\n"):
        take(make([1.0, 2.0]))


@pytest.mark.parametrize("take", TAKERS)
@given(st.lists(st.lists(st.floats(-1, 1), max_size=3), min_size=2, max_size=4))
def test_lists_of_different_lengths(take, rows):
    assume(len({len(row) for row in rows}) > 1)
    with pytest.raises(ValueError, match="need one length: fill up the shorter ones"):
        take(rows)


@pytest.mark.parametrize("dtype", ["float64", np.float32, np.dtype("int8"), float])
def test_a_dtype_in_the_place_of_a_device(dtype):
    name = np.dtype(dtype).name
    for call in (leaf([1.0]).to, nn.Linear(2, 3).to, lambda d: nag.Tensor([1.0], device=d)):
        with pytest.raises(nag.backends.DeviceError, match=rf"t.astype\('{name}'\), or a layer"):
            call(dtype)
    with pytest.raises(nag.backends.DeviceError, match=r"'strict'$"):
        leaf([1.0]).to("gpu")


@pytest.mark.parametrize("name", ["grad", "value_and_grad", "jacobian", "hessian", "vjp"])
def test_a_loss_in_the_place_of_a_function(name):
    w = leaf([1.0, 2.0])
    for args in ([w], [[w]], []) if name != "hessian" else ([],):
        with pytest.raises(
            TypeError, match=r"f must be a function.*nag.autograd.grad\(loss, \[w\]"
        ):
            getattr(nag, name)((w * w).sum(), *args)
    with pytest.raises(TypeError, match=r"jacobian\(f\) is a function, jacobian\(f\)\(x\)"):
        nag.jacobian(nag.tanh, np.ones(3))


def test_numpys_name_of_the_argument_dim():
    for f in (F.softmax, F.log_softmax):
        with pytest.raises(TypeError, match="write dim=1"):
            f(leaf([[1.0, 2.0]]), axis=1)


# ---- layers and optimisers


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
def test_an_option_of_an_optimiser_as_an_attribute(kind):
    optimizer = kind([leaf([1.0])])
    for name in optimizer.defaults:
        with pytest.raises(AttributeError, match=rf'param_groups: group\["{name}"\] = '):
            setattr(optimizer, name, 0.5)
        with pytest.raises(AttributeError, match=rf'write optimizer.param_groups\[0\]\["{name}"\]'):
            getattr(optimizer, name)
    optimizer.name = "mine"
    assert optimizer.name == "mine" and not hasattr(optimizer, "nonsense")


def test_layers_in_a_plain_list_are_found():
    class Net(nn.Module):
        def __init__(self):
            self.layers = [nn.Linear(2, 3), nn.Linear(3, 1)]
            self.heads = {"mean": nn.Linear(1, 1)}

    assert [*dict(Net().named_parameters())] == [
        f"{name}.{part}" for name in ("layers.0", "layers.1", "heads.mean") for part in _PARTS
    ]
    assert says(nn.Module, "also in lists, tuples and dicts")

    class InASet(nn.Module):
        def __init__(self):
            self.layers = {nn.Linear(2, 3)}

    with pytest.raises(TypeError, match="use a list or a dict|keep it in a list or a dict"):
        InASet().parameters()


_PARTS = ("weight", "bias")


@pytest.mark.parametrize(
    "last",
    [
        *(nn.Linear(4, 1), nn.LayerNorm(4), nn.RMSNorm(4), nn.Dropout(0.5), nn.GRU(4, 2)),
        *(nn.Tanh(), nn.Sigmoid(), nn.ReLU(), nn.GELU(), nn.SiLU()),
        *(nn.TransformerEncoderLayer(4, 2), nn.CausalSelfAttention(4, 2)),
    ],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize("first", [nn.RNN(3, 4), nn.GRU(3, 4), nn.LSTM(3, 4)], ids=repr)
@pytest.mark.parametrize("T", [1, 5])
def test_the_results_of_a_recurrent_layer_given_to_a_layer_as_they_are(first, last, T):
    """Of one step, and without a gradient, both could be stacked."""
    x = np.ones((T, 2, 3), np.float32)
    for mode in (nag.enable_grad, nag.no_grad):
        with (
            mode(),
            pytest.raises(TypeError, match=r"a tuple of 2, \(\(.* 2, 4\), .*\(output, h\)"),
        ):
            nn.Sequential(first, last)(x)
    last(first(x)[0])


@pytest.mark.parametrize("cell", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_recurrent_layer_given_features_that_it_was_not_made_for(cell):
    for width, said in ((1, "has 1 feature in"), (4, "has 4 features in")):
        with pytest.raises(ValueError, match=f"{said} the last axis; the weights are made for 3"):
            cell(3, 5)(np.ones((6, 2, width), np.float32))


def test_what_is_no_layer_in_a_sequence_of_layers():
    layers = [nn.Linear(2, 3), nn.Tanh()]
    for kind in (nn.Sequential, lambda one: nn.ModuleList([one])):
        for one, says in (
            (layers, r"one by one, as Sequential\(\*layers\)"),
            (tuple(layers), r"one by one, as Sequential\(\*layers\)"),
            (nn.Tanh, r"'0' is the class Tanh: write Tanh\(\)"),
            (nag.tanh, r"a function, tanh: its layer is nn\.Tanh\(\)"),
            (F.gelu, r"a function, gelu: its layer is nn\.GELU\(\)"),
            (nag.exp, "a function, exp: its layer is a Module whose forward calls exp"),
            (lambda x: x, "its layer is a Module whose forward calls <lambda>"),
            (nag.Tensor([1.0]), "of type Tensor"),
            ("tanh", "of type str"),
            (None, "of type NoneType"),
        ):
            with pytest.raises(TypeError, match=says):
                kind(one)
    for called, says in LAYERS.items():
        made = eval(says, {"nn": nn})
        function = getattr(F, called, None) or getattr(nag, called)
        np.testing.assert_array_equal(made(np.ones(2)), function(np.ones(2)))


def test_a_layer_or_loss_called_without_being_made():
    x = np.ones((2, 3))
    for loss in (nn.MSELoss, nn.BCEWithLogitsLoss, nn.CrossEntropyLoss):
        with pytest.raises(TypeError, match=rf"called then: {loss.__name__}\(\)\(input, target\)"):
            loss(leaf(x), x)
        loss(reduction="sum")
    for layer in (nn.Tanh, nn.Sigmoid, nn.ReLU, nn.SiLU, nn.Identity):
        with pytest.raises(TypeError, match=rf"{layer.__name__}\(\)\(x\)"):
            layer(x)
        assert layer()(x).shape == x.shape


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW])
def test_a_step_without_a_gradient_warns_once(make):
    w, frozen = nn.Parameter([1.0]), nn.Parameter([1.0])
    frozen.requires_grad = False
    optimizer = make([w], lr=0.1)
    with pytest.warns(
        UserWarning, match=r"no parameter has a gradient: call loss.backward"
    ) as seen:
        optimizer.step()
    assert seen[0].filename == __file__ and w.tolist() == [1.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()
        new = make([w, nn.Parameter([1.0])], lr=0.1)
        (w * w).sum().backward()
        new.step()  # of some it is usual
        new.param_groups[0]["params"][1].requires_grad = False
        w.requires_grad = False
        new.step()  # and of none that are frozen


def test_gradients_clipped_before_there_are_any():
    w, rest = nn.Parameter([3.0]), nn.Parameter([1.0])
    with pytest.warns(UserWarning, match=r"scaled nothing.*after loss.backward\(\)") as seen:
        assert optim.clip_grad_norm_([w, rest], 1.0) == 0
    assert seen[0].filename == __file__
    (w * w).sum().backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert optim.clip_grad_norm_([w, rest], 1.0) == 6
        assert optim.clip_grad_norm_([], 1.0) == 0


@pytest.mark.oracle
def test_layers_and_parameters_of_pytorch_in_a_model():
    torch = pytest.importorskip("torch")

    class Theirs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(1))

    class Net(nn.Module):
        def __init__(self, held):
            self.ours, self.held = nn.Linear(2, 3), held

    frozen = torch.nn.Linear(2, 3).requires_grad_(False)
    for held in (torch.nn.Linear(2, 3), Theirs(), torch.nn.Parameter(torch.ones(2))):
        for within in (held, [held], {"one": (held,)}):
            for use in (Net.parameters, Net.state_dict, lambda net: optim.SGD(net.parameters())):
                with pytest.raises(
                    TypeError, match=r"Net\.held holds a \w+ of torch, which would be"
                ):
                    use(Net(within))
        params = [*held.parameters()] if hasattr(held, "parameters") else [held]
        for make in (optim.SGD, optim.Adam):
            with pytest.raises(TypeError, match=r"is of type torch.Parameter: it belongs to torch"):
                make(params)
    for held in (frozen, torch.ones(2), torch.float32, torch.device("cpu"), torch.nn.ReLU()):
        assert len(Net(held).parameters()) == 2


def test_an_optimiser_given_nothing():
    class Net(nn.Module):
        def __init__(self):
            self.weights = nag.Tensor([1.0])

    for params in ([], Net().parameters(), iter(())):
        with pytest.raises(ValueError, match=r"no parameters to optimise; give model.parameters"):
            optim.SGD(params, lr=0.1)
    with pytest.raises(TypeError, match=r"as model.parameters\(\); got Linear: give its"):
        optim.Adam(nn.Linear(1, 1))


def test_a_generator_used_twice():
    model = nn.Linear(2, 1)
    params = (p for p in model.parameters())
    optim.SGD(params, lr=0.1)
    with pytest.raises(ValueError, match="A generator gives them once: keep a list"):
        optim.SGD(params, lr=0.1)
    with pytest.raises(ValueError, match="was it used before"):
        optim.clip_grad_norm_(params, 1.0)
    assert isinstance(model.parameters(), list)  # and so can be given as often as one likes


def test_eval_forgotten_with_dropout():
    model, x = nn.Sequential(nn.Linear(4, 50, rng=0), nn.Dropout(0.5, rng=1)), np.ones((1, 4))
    assert model.training
    assert (model(x).data == 0).any() and model(x).tolist() != model(x).tolist()
    model.eval()
    assert (model(x).data != 0).all() and model(x).tolist() == model(x).tolist()
    model.train()
    assert (model(x).data == 0).any()
    assert says(nn.Dropout, "While training, elements are 0 with probability p")


def test_a_softmax_before_cross_entropy():
    scores, labels = leaf(np.arange(6.0).reshape(2, 3)), np.array([0, 2])
    for loss in (F.cross_entropy, nn.CrossEntropyLoss()):
        with pytest.warns(UserWarning, match="result of a softmax: leave that one out"):
            loss(F.softmax(scores), labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.cross_entropy(scores, labels)
        F.cross_entropy(scores * 2, F.softmax(scores))  # a target may be one
    assert says(nn.CrossEntropyLoss, "without a softmax before it")


def test_a_learning_rate_that_is_too_high():
    def train(steps=12):
        w = nn.Parameter([1.0])
        optimizer = optim.SGD([w], lr=1e30)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = (w * w).sum()
            loss.backward()
            optimizer.step()
        return loss

    with np.errstate(all="ignore"):
        assert not np.isfinite(train().item())  # it does not come back to a number unseen
        with nag.detect_anomaly():
            with pytest.raises(nag.AnomalyError) as error:
                train()
    assert re.search(r"the result of multiply.*holds infinity.*test_beginners_", str(error.value))


def test_seeds():
    x = np.ones((2, 3), np.float32)
    assert nn.Linear(3, 2, rng=0)(x).tolist() == nn.Linear(3, 2, rng=0)(x).tolist()
    state = np.random.get_state()
    try:
        made = []
        for _ in range(2):
            np.random.seed(0)  # is not asked
            made.append(nn.Linear(3, 2).weight.tolist())
        assert made[0] != made[1]
    finally:
        np.random.set_state(state)
    for layer in (nn.Linear, nn.Embedding, nn.Dropout):
        assert re.search(r"`rng`[:,]?\s\(?a seed, a numpy\s+Generator, or\s+None", layer.__doc__)
    with pytest.raises(AttributeError, match=r"default_rng\(0\); nag.nn.Linear\(3, 2, rng=rng\)"):
        nag.manual_seed(0)
    with pytest.raises(TypeError, match="Linear: rng is a seed .*, a numpy Generator, or None"):
        nn.Linear(3, 2, rng="0")


# ---- looking at numbers


def test_a_tensor_rounded_by_python():
    assert round(leaf([1.234, -2.346]), 2).tolist() == [1.23, -2.35]
    assert round(leaf(2.5)).item() == 2.0


def test_a_number_and_a_vector_in_a_text():
    loss = leaf([1.0, 2.0]).sum()
    assert f"{loss:.2f}" == "3.00" and loss.item() == 3.0
    with pytest.raises(TypeError, match=r"no format '.2f'.*np.array2string"):
        f"{leaf([1.0, 2.0]):.2f}"
    with pytest.raises(ValueError, match="only a Tensor of one element has an item"):
        leaf([1.0, 2.0]).item()
