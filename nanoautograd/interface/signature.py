"""Signatures: how the arguments of a call of an operation find their places."""

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

from ..safety.checks import option
from ..safety.in_place import IMMUTABLE
from ..safety.names import keyword_hint


def parameters(f: Callable) -> tuple[tuple[str, ...], tuple[str, ...], str | None, dict[str, Any]]:
    """The names of its parameters by position, of those by keyword alone, of *arrays or None, and
    the defaults. (inspect.signature tells the same, too slowly for hundreds of rules.)"""
    if not isinstance(f, FunctionType) or hasattr(f, "__wrapped__"):
        found = inspect.signature(f).parameters.values()
        return (
            tuple(p.name for p in found if p.kind is p.POSITIONAL_OR_KEYWORD),
            tuple(p.name for p in found if p.kind is p.KEYWORD_ONLY),
            next((p.name for p in found if p.kind is p.VAR_POSITIONAL), None),
            {p.name: p.default for p in found if p.default is not p.empty},
        )
    code, defaults = f.__code__, f.__defaults__ or ()
    n, m = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    names = code.co_varnames
    variadic = names[m] if code.co_flags & inspect.CO_VARARGS else None
    given = dict(zip(names[n - len(defaults) : n], defaults)) | (f.__kwdefaults__ or {})
    return names[:n], names[n:m], variadic, given


class Signature:
    """Of `forward`: what stands by position may be an array, what is keyword-only is an option."""

    def __init__(self, name: str, forward: Callable) -> None:
        self.name, self.forward = name, forward
        self.names, self.keywords, self.variadic, self.defaults = parameters(forward)
        self.keyword_set = frozenset(self.keywords)
        self.option_defaults = {k: v for k, v in self.defaults.items() if k in self.keyword_set}

    def __str__(self) -> str:
        signature = inspect.signature(self.forward)
        bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        return f"{self.name}{inspect.Signature(bare)}"

    def bind(self, args: tuple, given: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """(all arguments by position, all options by keyword), with the defaults filled in.

        Raises TypeError for what does not fit the signature.
        """
        for key, value in given.items():
            if key in self.keyword_set and type(value) not in IMMUTABLE:
                if (plain := option(self.name, key, value)) is not value:
                    given = given | {key: plain}
        options = given if len(given) == len(self.keyword_set) else self.option_defaults | given
        if len(args) == len(self.names) and options.keys() == self.keyword_set:  # as most calls are
            return args, options
        values, missing = self.defaults | given, self.names[len(args) :]
        fits = self.variadic or len(args) <= len(self.names)
        # Only what is missing, or an option, is given by keyword; and all of those have a value.
        if fits and given.keys() <= {*missing, *self.keywords} <= values.keys():
            return (*args, *map(values.get, missing)), {k: values[k] for k in self.keywords}
        raise TypeError(f"{self.name} {self.misfit(args, given)}; its signature is {self}")

    def misfit(self, args: tuple, given: dict[str, Any]) -> str:
        """What is wrong with the arguments of a call that does not fit."""
        if unknown := [key for key in given if key not in {*self.names, *self.keywords}]:
            hint = keyword_hint(self.forward, given)
            return f"has no argument {', '.join(unknown)}" + (f": write {hint}" if hint else "")
        if not self.variadic and len(args) > len(self.names):
            return f"got more by position than {', '.join(self.names) or 'nothing'}"
        if twice := [name for name in self.names[: len(args)] if name in given]:
            return f"got {', '.join(twice)} by position and by keyword"
        have = {*self.names[: len(args)], *given, *self.defaults}
        lacks = [name for name in (*self.names, *self.keywords) if name not in have]
        return f"lacks {', '.join(lacks)}"


def rule_reads(rule: Callable) -> tuple[str, ...]:
    """The names of all parameters of a rule; the first is g."""
    positional, by_keyword, variadic, _ = parameters(rule)
    return (*positional, *by_keyword, *(["*" + variadic] if variadic else []))
