"""What a Module holds is found wherever it is kept, and not lost by accident."""

import copy
import pickle
import warnings
from collections import ChainMap, OrderedDict, UserDict, UserList, defaultdict, deque, namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd import nn
from nanoautograd.nn import (
    Dropout,
    Identity,
    Linear,
    LoRALinear,
    Module,
    ModuleList,
    Parameter,
    Sequential,
    add_adapters,
    load_random_state,
    merge_adapters,
)
from nanoautograd.optim import SGD, AveragedModel

Pair = namedtuple("Pair", "first second")


def holding(**attributes):
    """A Module with these attributes."""
    module = Module()
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def parameter(value=1.0):
    return Parameter(np.full(2, value))


leaves = st.sampled_from(["parameter", "module", "number", "array", "tensor", "text"])
containers = st.sampled_from(
    [
        list,
        tuple,
        deque,
        UserList,
        lambda values: UserDict(enumerate(values)),
        lambda values: ChainMap(dict(enumerate(values))),
        lambda values: Pair(*[*values, 0, 0][:2]),
        lambda values: {f"k{i}": value for i, value in enumerate(values)},
        lambda values: OrderedDict(enumerate(values)),
        lambda values: defaultdict(list, enumerate(values)),
    ]
)
trees = st.recursive(
    leaves, lambda inner: st.tuples(containers, st.lists(inner, max_size=3)), max_leaves=8
)


def built(tree, found):
    """What the tree describes; `found` gets the Parameters that are in it."""
    if isinstance(tree, tuple):
        container, values = tree
        made = [built(value, found) for value in values]
        if container(made).__class__ is Pair:
            found[:] = [p for p in found if not any(p is q for q in inside(made[2:]))]
        return container(made)
    made = {
        "parameter": lambda: parameter(),
        "module": lambda: Linear(1, 1),
        "number": lambda: 3,
        "array": lambda: np.ones(2),
        "tensor": lambda: nag.Tensor([1.0]),
        "text": lambda: "text",
    }[tree]()
    found.extend(inside(made))
    return made


def inside(value):
    """All Parameters in a value, by another way than the library's."""
    if isinstance(value, Parameter):
        return [value]
    if isinstance(value, Module):
        return inside(list(vars(value).values()))
    if isinstance(value, (dict, UserDict, ChainMap)):
        return inside(list(value.values()))
    if isinstance(value, (list, tuple, deque, UserList)):
        return [p for one in value for p in inside(one)]
    return []


@given(st.lists(trees, max_size=4))
def test_all_that_is_held_is_found(described):
    found = []
    values = [built(tree, found) for tree in described]
    model = holding(**{f"a{i}": value for i, value in enumerate(values)})
    assert {id(p) for p in model.parameters()} == {id(p) for p in found}
    names = list(model.state_dict())
    assert len(names) == len(found)
    for p in found:
        p.data = p.data + 1.0
    fresh = copy.deepcopy(model)
    for p in fresh.parameters():
        p.data = p.data * 0.0
    fresh.load_state_dict(model.state_dict())
    for (name, p), (other, q) in zip(model.named_parameters(), fresh.named_parameters()):
        assert name == other and p is not q and np.array_equal(p.data, q.data)
    assert list(pickle.loads(pickle.dumps(fresh)).state_dict()) == names
    assert all(m.training is False for _, m in model.eval().named_modules())


def test_names_are_those_of_a_module_list():
    plain, listed = Module(), Module()
    plain.layers = [Linear(2, 3, rng=0)]
    listed.layers = ModuleList([Linear(2, 3, rng=0)])
    plain.layers.append(Linear(3, 1, rng=1))
    listed.layers.append(Linear(3, 1, rng=1))
    assert list(plain.state_dict()) == list(listed.state_dict())
    assert "(layers.1): Linear(3, 1" in repr(plain)
    plain.layers[:] = []
    assert plain.parameters() == []


def test_what_is_in_a_list_learns(backend):
    class Net(Module):
        def __init__(self):
            self.layers = [Linear(2, 2, rng=0)]
            self.layers.append({"scale": Parameter(np.ones(2), dtype=np.float32)})
            self.drops = (Dropout(0.5, rng=0),)

        def forward(self, x):
            return self.drops[0](self.layers[0](x)) * self.layers[1]["scale"]

    net = Net().to(backend.device)
    before = {name: backend.numpy(a).copy() for name, a in net.state_dict().items()}
    assert list(before) == ["layers.1.scale", "layers.0.weight", "layers.0.bias"]
    x = backend.array(np.ones((8, 2)), np.float32)
    net(x).sum().backward()
    SGD(net.parameters(), lr=0.1).step()
    for name, a in net.state_dict().items():
        assert not np.array_equal(backend.numpy(a), before[name]), name
    assert np.array_equal(backend.numpy(net.eval()(x)), backend.numpy(net(x)))  # no dropout
    assert list(nag.nn.random_state(net)) == ["drops.0"]


def test_a_module_inside_itself_is_not_entered_again():
    parent, child = Module(), Linear(1, 1)
    parent.child, parent.me, parent.ring = child, parent, [child]
    parent.ring.append(parent.ring)
    child.parent = parent
    assert [n for n, _ in parent.named_modules()] == ["", "child", "ring.0"]
    assert list(parent.state_dict()) == [
        "child.weight", "child.bias", "ring.0.weight", "ring.0.bias"
    ]  # fmt: skip
    assert len(parent.parameters()) == 2 and "..." in repr(parent)
    assert not child.eval().training


def test_what_cannot_be_found_is_refused():
    assert holding(words={"a", 1}).parameters() == []
    with pytest.raises(ValueError, match=r"two parameters are called 'a\.1'"):
        holding(a={1: parameter(), "1": parameter()}).state_dict()
    with pytest.raises(TypeError, match="Net.layers: a Module finds what is set on itself"):
        type("Net", (Module,), {"layers": [Linear(1, 1)]})
    with pytest.raises(TypeError, match="Net.__slots__"):
        type("Net", (Module,), {"__slots__": ("weight",)})
    model = holding(w=nag.Tensor([1.0], requires_grad=True))
    with pytest.warns(UserWarning, match="w requires a gradient and is no Parameter"):
        assert model.parameters() == []
    model.w = model.w * 2  # the result of a computation, kept
    with warnings.catch_warnings(action="error"):
        model.parameters()


others = st.sampled_from(
    [
        lambda: np.ones((2, 3)),
        lambda: nag.Tensor(np.ones((2, 3))),
        lambda: nag.Tensor(np.ones((2, 3)), requires_grad=True),
        lambda: Parameter(np.ones((2, 3))) * 2,
        lambda: 1.0,
        lambda: "text",
        lambda: [np.ones(3)],
        lambda: {"a": nag.Tensor([1.0])},
    ]
)


@pytest.mark.filterwarnings("ignore:.*is no Parameter")
@given(others, st.sampled_from(["weight", "layer", "list"]))
def test_the_place_of_a_parameter_is_kept(other, name):
    model = holding(weight=parameter(), layer=Linear(1, 1), list=[parameter(), 3])
    before = model.state_dict()
    with pytest.raises(TypeError, match=f"Module.{name} is of type .* neither learnt nor saved"):
        setattr(model, name, other())
    assert list(model.state_dict()) == list(before)
    setattr(model, name, new := parameter())
    assert any(p is new for p in model.parameters())
    setattr(model, name, None)
    setattr(model, name, other())  # there is nothing to lose any more
    setattr(model, name, new)
    delattr(model, name)
    setattr(model, name, other())
    assert all(p is not new for p in model.parameters())


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda: nn.Linear(2, 3, bias=False), "bias"),
        (lambda: nn.LayerNorm(3, elementwise_affine=False), "weight"),
        (lambda: nn.LayerNorm(3, bias=False), "bias"),
        (lambda: nn.RMSNorm(3, elementwise_affine=False), "weight"),
        (lambda: nn.MultiheadAttention(4, 2, bias=False), "in_proj_bias"),
        (lambda: nn.MultiheadAttention(4, 2, kdim=3), "in_proj_weight"),
    ],
)
def test_where_a_parameter_may_be_an_array_may_not(make, name):
    """It would be computed with, and not learnt."""
    layer = make()
    assert getattr(layer, name) is None
    for other in (np.ones(3), nag.Tensor([1.0], requires_grad=True), 1.0):
        with pytest.raises(TypeError, match=f"{name} is a Parameter or None; in its place"):
            setattr(layer, name, other)
    parameter = nn.Parameter(np.ones(3))
    setattr(layer, name, parameter)
    assert any(p is parameter for p in layer.parameters())


def test_updates_in_place_keep_the_parameter():
    model = Linear(2, 2, rng=0)
    weight = model.weight
    with nag.no_grad():
        model.weight -= 1.0
    model.weight.data -= 1.0
    model.weight.data = np.zeros((2, 2))
    assert model.weight is weight and len(model.parameters()) == 2
    model.layers = [Linear(1, 1)]
    model.layers = []  # to be filled anew
    model.layers.append(Linear(1, 1))
    assert len(model.parameters()) == 4


@pytest.mark.parametrize("name", [n for n in dir(Module) if not n.startswith("__")])
def test_names_that_every_module_has_are_taken(name):
    with pytest.raises(TypeError, match=f"Module.{name} is part of every Module"):
        setattr(Module(), name, Linear(1, 1))
    with pytest.raises(ValueError, match=f"the name '{name}' is taken"):
        Sequential({name: Linear(1, 1)})
    if callable(getattr(Module, name)):
        with pytest.raises(TypeError, match="give the attribute another name"):
            setattr(Module(), name, [1, 2])


def test_modes_that_are_none():
    model = Linear(1, 1)
    for mode in (None, 1, "no", np.ones((2, 2))):
        with pytest.raises(TypeError, match="Linear.train: sets whether"):
            model.train(mode)
    assert model.training is True


def test_a_method_can_be_replaced_by_another():
    model = Linear(1, 1)
    model.forward = lambda x: x
    assert model(3) == 3


def test_a_name_in_a_list_of_modules_is_given_once():
    layers = Sequential({"1": Identity()})
    with pytest.raises(ValueError, match="Sequential: the name '1' is taken"):
        layers.append(Linear(1, 1))
    with pytest.raises(ValueError, match="the name 'append' is taken"):
        Sequential({"append": Linear(1, 1)})


def test_adapters_in_lists_and_of_shared_layers():
    shared = Linear(3, 3, rng=0, dtype=np.float64)
    model = holding(layers=[shared, {"a": Linear(3, 3, rng=1, dtype=np.float64)}], last=shared)
    assert add_adapters(model, 1, rng=0) == ["layers.0", "layers.1.a", "last"]
    assert isinstance(model.layers[1]["a"], LoRALinear) and model.layers[0] is model.last
    assert len([p for p in model.parameters() if p.requires_grad]) == 4
    model.last.lora_B.data = np.ones((3, 1))
    x = np.random.default_rng(0).standard_normal((2, 3))
    before = model.last(x).data
    merge_adapters(model)
    assert type(model.layers[0]) is Linear and model.layers[0] is model.last
    np.testing.assert_allclose(model.last(x).data, before, rtol=1e-12)
    model = holding(first=Linear(2, 2), pair=(Linear(2, 2),))
    with pytest.raises(TypeError, match="pair.0 is in a tuple"):
        add_adapters(model, 1)
    assert type(model.first) is Linear and model.first.weight.requires_grad


@pytest.mark.parametrize("state", [None, 3, [1], "weights", np.ones(2)])
def test_states_that_are_none(state):
    model = Linear(2, 1)
    for f in (model.load_state_dict, AveragedModel(model).load_state_dict):
        with pytest.raises(TypeError, match="takes what state_dict.. returned, a dict of names"):
            f(state)
    with pytest.raises(TypeError, match="takes what random_state.. returned, a dict"):
        load_random_state(model, state)


@pytest.mark.parametrize(
    "array, line",
    [
        (np.full((1, 2), 1e300), "too large: weight has numbers above the largest float32"),
        (np.ones((1, 2), complex), "no real numbers: weight is complex128"),
        (np.array([["a", "b"]]), "no real numbers: weight is <U1"),
        (None, r"mis-shaped: weight is \(\), the model has \(1, 2\)"),
    ],
)
def test_arrays_that_a_weight_cannot_hold(array, line):
    model = Linear(2, 1, rng=0)
    before = model.state_dict()
    with pytest.raises(ValueError, match=line):
        model.load_state_dict({"weight": array, "bias": np.ones(1)})
    for name, a in model.state_dict().items():
        assert np.array_equal(a, before[name])
    model.load_state_dict({"weight": [[np.nan, np.inf]], "bias": np.ones(1, np.int64)})
    assert np.isinf(model.weight.data[0, 1]) and model.bias.data[0] == 1.0


def test_two_names_of_one_weight_get_one_array():
    model = holding(a=Linear(2, 2, bias=False), b=Linear(2, 2, bias=False))
    model.b.weight = model.a.weight
    state = model.state_dict()
    state["a.weight"][0, 0] = state["b.weight"][0, 0] = np.nan
    model.load_state_dict(state)
    state["b.weight"][1, 1] += 1.0
    with pytest.raises(ValueError, match="not the same: a.weight and b.weight"):
        model.load_state_dict(state)
    model.load_state_dict({"b.weight": state["b.weight"]}, strict=False)
    assert np.array_equal(model.a.weight.data, state["b.weight"], equal_nan=True)


def test_float32_weights_compute_with_float64_data_in_float64():
    assert Linear(2, 2)(np.ones((1, 2))).dtype == np.float64
    assert Linear(2, 2)(np.ones((1, 2), np.float32)).dtype == np.float32
