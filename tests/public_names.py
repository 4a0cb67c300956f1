"""What is public, by name: the function that a name stands for, and calls of it that work, with
some of their arguments replaced by anything."""

import numpy as np
from hypothesis import strategies as st
from public_arguments import FLOATS, LEAVES, TENSORS, Leaf, anything, made, squared_sum

import nanoautograd as nag
from nanoautograd import functional, optim
from nanoautograd.testing.operations import OPERATIONS
from nanoautograd.testing.programs import Value


def transform(name):
    def called(f, *args, **options):
        return getattr(nag, name)(f, **options)(*args)

    return called


def pulled(f, x, v):
    y, pull = nag.vjp(f, x)
    return y, pull(v)


def steps(name):
    def called(params, *args, gradient=1.0, **options):
        optimizer = getattr(optim, name)(params, *args, **options)
        for p in [p for group in optimizer.param_groups for p in group["params"]]:
            p.grad = np.full(p.shape, gradient)
        optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())
        optimizer.zero_grad()

    return called


def clipped(*args, **options):
    for p in args[0] if isinstance(args[0], list) else ():
        if isinstance(p, nag.Tensor) and p.requires_grad:
            p.grad = np.ones(p.shape)
    optim.clip_grad_norm_(*args, **options)


def assigned(name):
    def called(self, value):
        setattr(self, name, value)

    return called


def method(name):
    def called(self, *args, **options):
        return getattr(self, name)(*args, **options)

    return called


def in_place(name):
    def called(self, *args):
        y = self * 1  # a leaf that requires a gradient refuses
        result = getattr(y, name)(*args)
        return y if name == "__setitem__" else result

    return called


X, M, S = LEAVES[:3]
WEIGHTS = [Leaf(np.array([0.5, -0.2])), Leaf(np.array([[0.1]]))]
# Calls that work, of what is not in the table of operations.
BASES = {
    "arange": [([3], {"dtype": "float32"}), ([0.5, 3.0, 0.25], {"requires_grad": True})],
    "cat": [([[X, X]], {}), ([[M, M]], {"dim": 1})],
    "eye": [([2, 3], {"requires_grad": True})],
    "flatten": [([M], {"start_dim": 0, "end_dim": -1})],
    "full": [([(2, 3), 0.5], {"dtype": "float32"}), ([2, FLOATS[:2]], {})],
    "linspace": [([0.0, 1.0, 5], {"device": "cpu"})],
    "ones": [([2, 3], {"dtype": "float32"})],
    "unsqueeze": [([M, 1], {})],
    "zeros": [([2, 3], {}), ([(2, 3)], {"requires_grad": True})],
    "Tensor": [([FLOATS], {"dtype": "float32"}), ([FLOATS], {"requires_grad": True})],
    "array_equal": [([X, X], {})],
    "allclose": [([X, X], {"rtol": 0.1})],
    "isclose": [([X, X], {"atol": 0.1})],
    "autograd.grad": [([S, S], {}), ([[S, S], [S]], {"grad_outputs": [0.5, 2.0]})],
    "bincount": [([made("np.array([2, 0, 0])")], {"weights": X}), ([TENSORS[3]], {})],
    "from_dlpack": [([made("x.copy()")], {})],
    "full_like": [([M, 2.0], {}), ([M, S], {"dtype": "float32"})],
    "function": [([nag.sin.forward], {})],
    "custom_vjp": [(["f", np.sin, np.cos, np.sin], {})],
    "grad": [([squared_sum, X], {}), ([squared_sum, X, M], {"argnums": (0, 1)})],
    "hessian": [([squared_sum, X], {})],
    "hvp": [([squared_sum, [X], [X]], {})],
    "jacobian": [([nag.sin, X], {"argnums": 0})],
    "jvp": [([nag.sin, [X], [X]], {})],
    "load": [(["abc"], {})],
    "save": [(["saved", {"a": X}], {})],
    "searchsorted": [([made("np.array([0.0, 1.0])"), X], {"side": "left"})],
    "value_and_grad": [([squared_sum, X], {}), ([squared_sum, X, M], {"argnums": 1})],
    "vjp": [([nag.sin, X, X], {})],
    "optim.SGD": [([WEIGHTS], {"lr": 0.1, "momentum": 0.9})],
    "optim.Adam": [([WEIGHTS], {"lr": 0.1, "betas": (0.9, 0.99)})],
    "optim.AdamW": [([WEIGHTS], {"lr": 0.1, "weight_decay": 0.1})],
    "optim.clip_grad_norm_": [([WEIGHTS, 0.5], {"norm_type": 2.0})],
    "optim.learning_rate": [([3, 0.1, 10], {"warmup": 2, "decay": "linear"})],
    "Tensor.backward": [([S], {}), ([X], {"gradient": FLOATS})],
    "Tensor.flatten": [([M], {"start_dim": 0, "end_dim": -1})],
    "Tensor.type_as": [([M, made("np.float32(1)")], {})],
    "Tensor.unsqueeze": [([M, 1], {})],
    "Tensor.view": [([M, 3, 2], {})],
    "Tensor.requires_grad_": [([X, True], {})],
    "Tensor.grad=": [([X, made("x.copy()")], {})],
    "Tensor.data=": [([X, made("x.copy()")], {})],
    "Tensor.requires_grad=": [([made("nag.Tensor(x)"), True], {})],
    "Tensor.__setitem__": [([M, 0, 1.5], {}), ([M, made("slice(1)"), X], {})],
    "Tensor.__iadd__": [([M, X], {})],
    "Tensor.__imul__": [([M, X], {})],
    "Tensor.__ipow__": [([M, 2], {})],
    "Tensor.__format__": [([S, ".2f"], {})],
}
SPECIAL = {
    **{name: transform(name) for name in ("grad", "value_and_grad", "jacobian", "hessian")},
    **{f"optim.{name}": steps(name) for name in ("SGD", "Adam", "AdamW")},
    "vjp": pulled,
    "optim.clip_grad_norm_": clipped,
}
# What is not called here: modules, what lives for a `with` block, and exceptions.
LEFT_OUT = {
    "autograd",
    "backends",
    "checkpoint",
    "cuda",
    "functional",
    "nn",
    "optim",
    "testing",
    "typing",
} | {
    *("detect_anomaly", "enable_grad", "no_grad", "keep_memory", "set_num_threads"),
    *("AnomalyError", "GraphError", "ShapeError"),
}
OPERATORS = [
    f"__{side}{name}__"
    for name in "add sub mul truediv pow matmul mod floordiv and or xor".split()
    for side in ("", "r", "i")
]
OPERATORS += [f"__{name}__" for name in "eq ne lt le gt ge neg pos abs invert".split()]
OPERATORS += [f"__{name}__" for name in "getitem setitem array float format deepcopy".split()]
METHODS = [
    name for name in dir(nag.Tensor) if name[0] != "_" and callable(getattr(nag.Tensor, name))
]
ASSIGNED = ("grad=", "data=", "requires_grad=")
# Those whose purpose is to give the value without its history, or a part of it.
WITHOUT_HISTORY = {
    f"Tensor.{name}"
    for name in "detach item tolist data= requires_grad= requires_grad_ __deepcopy__".split()
}
WITHOUT_HISTORY |= {"functional.embedding"}  # the row padding_idx has the gradient 0

NAMES = (
    sorted(set(nag.__all__) - LEFT_OUT)
    + ["autograd.grad"]
    + [f"functional.{name}" for name in functional.__all__]
    + [f"optim.{n}" for n in ("SGD", "Adam", "AdamW", "clip_grad_norm_", "learning_rate")]
    + [f"Tensor.{name}" for name in (*METHODS, *OPERATORS, *ASSIGNED)]
)


def called(name):
    """The function that a name stands for."""
    if name in SPECIAL:
        return SPECIAL[name]
    *place, last = name.split(".")
    if place != ["Tensor"]:
        home = nag
        for part in place:
            home = getattr(home, part)
        return getattr(home, last)
    if last in ASSIGNED:
        return assigned(last[:-1])
    changes = last == "__setitem__" or last.startswith("__i") and last != "__invert__"
    return (in_place if changes else method)(last)


def row_of(name):
    """The row of the table of operations that has calls for a name, or None."""
    last = name.removeprefix("Tensor.").strip("_")
    full = dict(sub="subtract", mul="multiply", truediv="divide", pow="power", mod="remainder")
    for known in (name, last, full.get(last), full.get(last[1:]), last[1:]):
        if known in OPERATIONS:
            return OPERATIONS[known]
    return None


def filled(arg, inputs):
    """An argument of an instruction as a recipe."""
    if isinstance(arg, Value):
        return Leaf(inputs[arg.number])
    if isinstance(arg, list | tuple):
        return type(arg)(filled(a, inputs) for a in arg)
    return arg


@st.composite
def calls(draw, name, strange=anything):
    """(args, options): recipes for a call that works, in which some arguments were replaced."""
    row = row_of(name)
    if name in BASES:
        args, options = draw(st.sampled_from(BASES[name]))
    elif row is not None:
        program = draw(row.calls)
        step = program.instructions[0]
        args = [filled(a, program.inputs) for a in step.args]
        options = {key: filled(a, program.inputs) for key, a in step.options.items()}
    else:
        args = [draw(st.sampled_from(LEAVES)), *draw(st.lists(strange, max_size=2))]
        options = {}
    args, options = [*args], {**options}
    if name.startswith("Tensor.") and isinstance(args[0], float):
        args[0] = S
    first = 1 if name.startswith("Tensor.") else 0  # the Tensor itself stays
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(first, len(args) + len(options)))
        keys = [*range(len(args)), *options]
        if place < len(args):
            args[place] = draw(strange)
        elif place < len(keys):
            options[keys[place]] = draw(strange)
        elif draw(st.booleans()):
            args.append(draw(strange))
        else:
            options[draw(st.sampled_from(["axis", "dtype", "keepdims", "out", "where"]))] = draw(
                strange
            )
    return args, options
