"""What all layers share: parameters that are found by name, saved and loaded, moved between
devices; and modules made of modules."""

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from inspect import isroutine
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np

from ..backends import array_namespace, device_of, is_array, is_float, to_device
from ..core.tensor import Tensor
from ..interface.array_interface import array_of
from ..kernels.cuda.runtime.capture_context import current
from ..safety.arguments import check_operand
from ..safety.names import explain_missing
from ..safety.options import check_dtype, check_flags, check_numbers, check_sizes, generator
from ..typing import Array, ArrayLike, DTypeLike, P, R, Seed
from .held import CONTAINERS, LAZY, MAPPINGS, PLAIN, held_by, library_of


class Parameter(Tensor):
    """A Tensor that a Module finds among its attributes, and an optimiser changes."""

    __slots__ = ()

    def __init__(
        self,
        data: ArrayLike,
        requires_grad: bool = True,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        check_operand(data, "Parameter")
        if dtype is not None:
            check_dtype("Parameter", dtype)
        super().__init__(data, requires_grad=requires_grad, dtype=dtype, device=device)


def _inside(holder: Any, path: str = "", above: tuple = ()) -> Iterator[tuple]:
    """What Module._members gives, of a Module or of a list, tuple or dict in it."""
    held = vars(holder) if isinstance(holder, Module) else holder
    for key, value in held.items() if isinstance(held, MAPPINGS) else enumerate(held):
        if type(value) in PLAIN:
            continue
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, (Tensor, Module)):
            yield name, value, holder, key
        elif isinstance(value, CONTAINERS) and all(value is not one for one in above):
            yield from _inside(value, name, (*above, value))


def learns(value: object) -> bool:
    """Whether the value is a Parameter or a Module, or holds one, in lists, tuples and dicts."""
    if isinstance(value, CONTAINERS):
        return any(learns(one) for _, one, *_ in _inside([value]))
    return isinstance(value, (Parameter, Module))


def _holds(value: object, module: "Module") -> bool:
    """Whether a Parameter or Module is a Module that holds `module`."""
    return isinstance(value, Module) and any(one is module for _, one, _ in value._branches())


def _nameless(name: str, value: Any, holder: Any) -> str:
    """What is wrong with a value that an attribute holds in `holder`, where it has no name."""
    if isinstance(value, LAZY):
        return (
            f"{name} holds a {type(value).__name__}, and nobody can see which Modules it will "
            "give; keep a list of them"
        )
    return (
        f"{name} holds a {type(value).__name__} in a {type(holder).__name__}, where it has no "
        "name, and would be neither learnt nor saved; keep it in a list or a dict, or as an "
        "attribute, too"
    )


def arrays_of(who: str, state_dict: Any) -> dict[str, Any]:
    """The dict with Tensors, lists and numbers as arrays. Raises TypeError if it is none."""
    if not isinstance(state_dict, dict):
        raise TypeError(
            f"{who}: takes what state_dict() returned, a dict of names and arrays; got "
            f"{type(state_dict).__name__}"
        )
    given = {name: array_of(a) for name, a in state_dict.items()}
    return {name: a if is_array(a) else np.asarray(a) for name, a in given.items()}


def fitting(
    problem: str, wanted: dict[str, Array], given: dict[str, Array], lines: list[str]
) -> dict[str, Array]:
    """{name: array}: copies of those arrays in `given` that are wanted, each on the device and in
    the dtype of the array wanted[name]. Raises ValueError with the problem, the lines that are
    there, and one for each array that does not fit."""
    new: dict[str, Any] = {}
    firsts: dict[int, str] = {}
    for name, like in wanted.items():
        if name not in given:
            continue
        a = given[name]
        if a.shape != like.shape:
            lines.append(f"mis-shaped: {name} is {a.shape}, the model has {like.shape}")
        elif a.dtype.kind not in "biuf" and not is_float(a.dtype):
            lines.append(f"no real numbers: {name} is {a.dtype}, the model has {like.dtype}")
        else:
            xp, a = array_namespace(like), to_device(a, device_of(like))
            with np.errstate(over="ignore"):
                new[name] = xp.array(a, dtype=like.dtype)
            if a.dtype != like.dtype and (xp.isfinite(a) & ~xp.isfinite(new[name])).any():
                lines.append(f"too large: {name} has numbers above the largest {like.dtype}")
            first = firsts.setdefault(id(like), name)
            x, y = new[first], new[name]
            if not ((x == y) | ((x != x) & (y != y))).all():
                lines.append(f"not the same: {first} and {name}, one parameter of the model")
    if lines:
        raise ValueError(f"{problem}:\n  " + "\n  ".join(lines))
    return new


if TYPE_CHECKING:
    Result = TypeVar("Result", covariant=True)

    class _Forward(Protocol[P, Result]):
        """A module, by its `forward`: what that takes and returns, so does a call."""

        def forward(self, *args: P.args, **kwargs: P.kwargs) -> Result: ...


class Module:
    """A part of a model: its attributes that are Parameters or Modules are found by name, also in
    lists, tuples and dicts: `self.layers = [Linear(2, 3)]` holds "layers.0.weight".

    A subclass sets them in `__init__` and defines `forward`; calling the module calls that.
    """

    training = True

    if not TYPE_CHECKING:  # a checker says so itself

        def __new__(cls, *args, **options):
            if args and cls.__init__ is object.__init__:
                name = cls.__name__
                raise TypeError(f"{name}() takes no arguments; it is called later: {name}()(x)")
            return super().__new__(cls)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, value in vars(cls).items():
            if learns(value) or (name == "__slots__" and value):
                raise TypeError(
                    f"{cls.__name__}.{name}: a Module finds what is set on itself, in __init__, as "
                    f"self.name = ...; not in the body of the class, nor in __slots__"
                )

    optional_parameters: tuple[str, ...] = ()  # names of attributes: a Parameter, or None

    def __setattr__(self, name: str, value: Any) -> None:
        """Raises TypeError for a value that would take the place of a Parameter or Module, which an
        optimiser and `state_dict` then missed, or of a method of Module."""
        here, old = f"{type(self).__name__}.{name}", vars(self).get(name)
        method = None if name == "__class__" else getattr(Module, name, None)
        if method is not None and (learns(value) or callable(method) and not isroutine(value)):
            raise TypeError(f"{here} is part of every Module; give the attribute another name")
        emptied = value is None or isinstance(value, CONTAINERS) and not value
        if (learns(old) or name in self.optional_parameters) and not (learns(value) or emptied):
            kind = "a Parameter or None" if old is None else f"of type {type(old).__name__}"
            raise TypeError(
                f"{here} is {kind}; in its place {type(value).__name__} "
                "would be neither learnt nor saved: assign an nn.Parameter, a Module, or None"
                + (f"; or set its numbers, {here}.data = ..." if isinstance(old, Tensor) else "")
            )
        super().__setattr__(name, value)

    __getattr__ = explain_missing("Module")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def __call__(self: "_Forward[P, R]", *args: P.args, **kwargs: P.kwargs) -> R:
        if current.context is not None:
            current.context.module(self)
        return self.forward(*args, **kwargs)

    def _members(self, path: str = "") -> Iterator[tuple]:
        """(dotted name, value, holder, key) of each Tensor and Module among the attributes, also in
        lists, tuples and dicts at any depth: the value is that attribute, or holder[key]. What
        those Modules hold is not listed."""
        return _inside(self, path)

    def _branches(self, path: str = "", above: tuple = ()) -> Iterator[tuple]:
        """(name, module, its `_members`) of this one and, depth first, all inside it. A module that
        is also inside itself, as a child that knows its parent, is not entered again."""
        held, above = [*self._members(path)], (*above, self)
        yield path, self, held
        for name, value, *_ in held:
            if isinstance(value, Module) and all(value is not one for one in above):
                yield from value._branches(name, above)

    def _tree(self, path: str = "") -> list[tuple]:
        """The same as a list. Raises TypeError if a Parameter or Module is held where it has no
        name, and has none elsewhere; but for a Module that holds this one."""
        tree = [*self._branches(path)]
        named = {id(self), *(id(value) for *_, held in tree for _, value, *_ in held)}
        for place, module, _ in tree:
            for key, attribute in vars(module).items():
                name = f"{place}.{key}" if place else key
                for value, holder in held_by(attribute, (Parameter, Module)):
                    if library := library_of(value):
                        raise TypeError(
                            f"{type(module).__name__}.{key} holds a {type(value).__name__} of "
                            f"{library}, which would be neither learnt nor saved here: take a "
                            "layer of nanoautograd.nn, and its weights by load_state_dict"
                        )
                    if id(value) not in named and not _holds(value, self):
                        raise TypeError(_nameless(name, value, holder))
        return tree

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """Pairs (name, module): this one and, depth first, all inside it; names are dotted
        paths."""
        return ((name, module) for name, module, _ in self._tree(prefix))

    def named_parameters(self, remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Pairs (dotted name, Parameter); a parameter that is used in two places comes once, or,
        with remove_duplicate=False, under each of its names.

        Warns of a Tensor that requires a gradient and is no Parameter. Raises ValueError for two
        parameters of one name.
        """
        seen, names = set(), set()
        for _, _, held in self._tree():
            for name, value, *_ in held:
                if not isinstance(value, Parameter):
                    if isinstance(value, Tensor) and value.requires_grad and value.is_leaf:
                        warnings.warn(
                            f"{type(self).__name__}: {name} requires a gradient and is no "
                            "Parameter, so it is not listed; nn.Parameter(...) would be",
                            stacklevel=2,
                        )
                elif id(value) not in seen:
                    if remove_duplicate:
                        seen.add(id(value))
                    if name in names:
                        raise ValueError(
                            f"{type(self).__name__}: two parameters are called {name!r}"
                        )
                    names.add(name)
                    yield name, value

    def parameters(self) -> list[Parameter]:
        """The Parameters of this module and all inside it, each once."""
        return [p for _, p in self.named_parameters()]

    def train(self, mode: bool = True) -> Self:
        """Set `training` here and in all modules inside. Returns the module. Raises TypeError for a
        mode that is not True or False."""
        if not isinstance(mode, (bool, np.bool_)):
            raise TypeError(
                f"{type(self).__name__}.train: sets whether the module is in training, True or "
                f"False; got {type(mode).__name__}"
            )
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """The same as `train(False)`."""
        return self.train(False)

    def to(self, device: str) -> Self:
        """Move all parameters to `device`, in place: optimisers keep their hold on them. Gradients
        are dropped. Returns the module."""
        for p in self.parameters():
            p.grad = None
            p.data = to_device(p.data, device)
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze all parameters (False), or have them learn again (True): one that is frozen gets
        no gradient, and nothing is kept for it. An optimiser takes none that is. Returns the
        module."""
        for p in self.parameters():
            if not requires_grad:
                p.grad = None
            p.requires_grad = requires_grad
        return self

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.parameters():
            p.grad = None

    def state_dict(self) -> dict[str, Array]:
        """{dotted name: array}: copies of all parameters, on the device where they are."""
        return {name: p.data.copy() for name, p in self.named_parameters(remove_duplicate=False)}

    def load_state_dict(self, state_dict: Mapping[str, ArrayLike], strict: bool = True) -> None:
        """Copy arrays (or Tensors) into the parameters of the same names, cast to their dtype.

        Raises TypeError for what is no dict, ValueError that lists every missing, unexpected and
        mis-shaped key, and every array that the dtype cannot hold, before anything is changed; with
        `strict=False` missing and unexpected ones are left alone.
        """
        check_flags("load_state_dict", strict=strict)
        slots = dict(self.named_parameters(remove_duplicate=False))
        wanted = {name: p.data for name, p in slots.items()}
        who, lines = f"{type(self).__name__}.load_state_dict", []
        given = arrays_of(who, state_dict)
        if strict:
            lines += [f"missing: {n} {a.shape}" for n, a in wanted.items() if n not in given]
            lines += [f"unexpected: {n} {a.shape}" for n, a in given.items() if n not in wanted]
        new = fitting(f"{who}: the weights are of another model", wanted, given, lines)
        for name, array in new.items():
            slots[name].data = array

    @recursive_repr()
    def __repr__(self) -> str:
        inside = [
            f"({name}): {value!r}"
            for name, value, *_ in self._members()
            if isinstance(value, Module)
        ]
        body = "".join("\n  " + line.replace("\n", "\n  ") for line in inside)
        return f"{type(self).__name__}({self.extra_repr()}{body}{chr(10) if inside else ''})"

    def extra_repr(self) -> str:
        """What `repr` shows of the options; a subclass defines it."""
        return ""


def _no_module(name: str, given: object) -> str:
    """What is wrong with something that stands where a Module is meant, and what would be right."""
    if isinstance(given, type) and issubclass(given, Module):
        return f"{name!r} is the class {given.__name__}: write {given.__name__}()"
    if isinstance(given, Iterable) and not isinstance(given, (str, Tensor)):
        kind = type(given).__name__
        return f"{name!r} is of type {kind}: give those in it one by one, as Sequential(*layers)"
    text = f"{name!r} is of type {type(given).__name__}"
    if callable(given):
        called = getattr(given, "__name__", "it")
        text = f"{name!r} is a function, {called}: its layer is "
        text += LAYERS.get(called, f"a Module whose forward calls {called}")
    return text


LAYERS = {
    "tanh": "nn.Tanh()",
    "sigmoid": "nn.Sigmoid()",
    "relu": "nn.ReLU()",
    "gelu": "nn.GELU()",
    "silu": "nn.SiLU()",
}


class ModuleList(Module):
    """Modules in a row, named "0", "1", ...: what is done with them is up to who holds the list."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        if not isinstance(modules, Iterable):
            raise TypeError(f"ModuleList takes a sequence of Modules; got {modules!r:.100}")
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> Self:
        """Put a Module at the end. Returns the list."""
        self._put(str(len(self)), module)
        return self

    def _put(self, name: str, module: object) -> None:
        if hasattr(self, name):
            raise ValueError(f"{type(self).__name__}: the name {name!r} is taken; choose another")
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: takes Modules; {_no_module(name, module)}")
        setattr(self, name, module)

    def __iter__(self) -> Iterator[Any]:
        return (value for value in vars(self).values() if isinstance(value, Module))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: Any) -> Any:
        """The module with that number, or the ModuleList of a slice of them."""
        modules = list(self)[index]
        return ModuleList(modules) if isinstance(index, slice) else modules


class Sequential(ModuleList):
    """Modules one after the other: each gets what the one before returned.

    layers: Modules, which are named "0", "1", ..., or one dict of names and Modules.
    """

    def __init__(self, *layers: Module | dict[str, Module]) -> None:
        named = (
            layers[0]
            if len(layers) == 1 and isinstance(layers[0], dict)
            else dict(zip(map(str, range(len(layers))), layers))
        )
        for name, layer in named.items():
            self._put(name, layer)

    def forward(self, x: Any) -> Any:
        for layer in self:
            x = layer(x)
        return x

    def __getitem__(self, index: Any) -> Any:
        """The layer with that number, or the Sequential of a slice of them."""
        found = super().__getitem__(index)
        return Sequential(*found) if isinstance(index, slice) else found


def check_module(name: str, module: object) -> None:
    """Raises TypeError for what is no Module."""
    if not isinstance(module, Module):
        raise TypeError(f"{name} takes a Module; got {type(module).__name__}")


def uniform(rng: Seed, bound: float, *shape: int, dtype: DTypeLike) -> Parameter:
    """A Parameter drawn from U(−bound, bound)."""
    rng = generator("uniform", rng)
    check_numbers("uniform", bound=bound)
    for n in shape:
        check_sizes("uniform", size=n)
    return Parameter(rng.uniform(-bound, bound, shape), dtype=dtype)


def xavier_uniform(rng: Seed, *shape: int, dtype: DTypeLike) -> Parameter:
    """A Parameter (outputs, inputs) drawn from U(−√(6/(outputs + inputs)), the same positive)
    (Glorot & Bengio 2010, equation 16)."""
    for n in shape:
        check_sizes("xavier_uniform", size=n)
    return uniform(rng, math.sqrt(6.0 / max(1, sum(shape))), *shape, dtype=dtype)
