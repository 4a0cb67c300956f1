"""Checks a gradient from a shell.

python -m nanoautograd.testing my_module:my_function --shapes 3,4 4
python -m nanoautograd.testing my_module:Square.apply --shapes 3,4 --framework torch --order 2
python -m nanoautograd.testing my_module:f --vjp my_module:f_vjp --shapes "()"
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from .gradcheck import CheckRefused, gradcheck
from .report import GradientError


def named(text: str) -> Any:
    """What "module:name.name" stands for."""
    module, colon, path = text.partition(":")
    if not (module and colon and path):
        raise argparse.ArgumentTypeError(f"{text!r} is no module:function")
    try:
        found = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError) as e:
        raise argparse.ArgumentTypeError(f"{text}: {e}") from None
    return found


def shape(text: str) -> tuple[int, ...]:
    """(3, 4) for "3,4", () for "()"."""
    try:
        sizes = tuple(int(n) for n in text.strip("()").split(",") if n.strip())
    except ValueError:
        sizes = (-1,)
    if any(n < 0 for n in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is no shape, such as 3,4 or ()")
    return sizes


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    p = argparse.ArgumentParser(
        prog="python -m nanoautograd.testing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("function", type=named, metavar="MODULE:FUNCTION")
    p.add_argument(
        "--shapes",
        nargs="+",
        type=shape,
        required=True,
        metavar="SHAPE",
        help="of the arguments: 3,4 is a matrix, () a number",
    )
    p.add_argument("--low", type=float, default=-2.0, help="inputs are at least that (-2)")
    p.add_argument("--high", type=float, default=2.0, help="and below that (2)")
    p.add_argument("--seed", type=int, default=0, help="of the inputs and directions (0)")
    p.add_argument("--order", type=int, choices=(1, 2), default=1, help="2: also the gradient's")
    p.add_argument("--entries", action="store_true", help="every entry by itself")
    p.add_argument("--forward-mode", action="store_true", help="also compare forward mode")
    p.add_argument("--framework", choices=("torch", "jax"), help="whose function it is")
    p.add_argument("--vjp", type=named, metavar="MODULE:FUNCTION", help="a gradient by hand")
    o = p.parse_args(argv)
    if not -np.inf < o.low < o.high < np.inf:
        p.error(f"--low {o.low} must be below --high {o.high}, both finite")
    return o


def main(argv: Sequence[str] | None = None) -> int:
    sys.path.insert(0, os.getcwd())  # where my_module is looked for first
    o = options(argv)
    rng = np.random.default_rng(o.seed)
    inputs = [np.asarray(rng.uniform(o.low, o.high, s)) for s in o.shapes]
    more = {"framework": o.framework} if o.framework else {}
    if o.framework == "jax":
        jax: Any = importlib.import_module("jax")
        jax.config.update("jax_enable_x64", True)
    if o.vjp is not None:
        more["vjp"] = o.vjp
    try:
        result = gradcheck(
            o.function,
            inputs,
            order=o.order,
            entries=o.entries,
            seed=o.seed,
            forward_mode=o.forward_mode,
            **more,
        )
    except GradientError as e:
        print(f"{type(e).__name__}: {e}")
        return 1
    except (CheckRefused, ValueError, TypeError) as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return 2
    print(
        f"right: {result.checks} derivatives; a relative mistake of {result.sharpness:.0e} would "
        "have been seen"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
