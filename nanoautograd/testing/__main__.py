"""Checks a gradient from a shell.

python -m nanoautograd.testing my_module:my_function --shapes 3,4 4
python -m nanoautograd.testing my_module:Square.apply --shapes 3,4 --framework torch --order 2
python -m nanoautograd.testing my_module:f --vjp my_module:f_vjp --shapes "()" --show
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .gradcheck import CheckRefused, gradcheck
from .report import GradientError, plural
from .subjects import NoValue


def named(text: str) -> Any:
    """What "module:name.name" stands for."""
    module, colon, names = text.partition(":")
    if not (module and colon and names):
        raise argparse.ArgumentTypeError(f"{text!r} is no module:function")
    path = Path(module)
    if path.suffix == ".py" or path.name != module:
        folder = f" in the folder {path.parent}" if path.name != module else ""
        raise argparse.ArgumentTypeError(
            f"{text!r} names a file, and a module is meant: {path.stem}:{names}, without .py"
            + folder
        )
    try:
        found = importlib.import_module(module)
        for name in names.split("."):
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
    p.add_argument("--max-calls", type=int, metavar="N", help="of the function, at most")
    p.add_argument("--seconds", type=float, metavar="S", help="that the check takes, at most")
    p.add_argument("--report", metavar="FILE", help="write a page of HTML about a failure")
    p.add_argument("--show", action="store_true", help="show that page in the browser")
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
            max_calls=o.max_calls,
            seconds=o.seconds,
            **more,
        )
    except GradientError as e:
        print(f"{type(e).__name__}: {e}")
        return pages(e, o)
    except NoValue as e:
        advice = f"the inputs are drawn from {o.low:g} to {o.high:g}: try "
        advice += "--low 0.1" if o.low <= 0 and o.high > 0.1 else "another --low or --high"
        print(f"{type(e).__name__}: {e} ({advice})", file=sys.stderr)
        return 2
    except (CheckRefused, ValueError, TypeError) as e:
        is_known = isinstance(e, CheckRefused) or o.framework or o.vjp
        advice = "" if is_known else " (a function of PyTorch or JAX takes --framework)"
        print(f"{type(e).__name__}: {e}{advice}", file=sys.stderr)
        return 2
    print(
        f"right: {plural(result.checks, 'derivative')}; a relative mistake of "
        f"{result.sharpness:.0e} would have been seen"
    )
    return 0


def pages(error: GradientError, o: argparse.Namespace) -> int:
    """Writes and shows the pages that were asked for; returns the exit status."""
    try:
        if o.report is not None:
            print(f"a page about this failure: {error.show(o.report)}")
        if o.show:
            error.show()
    except OSError as e:
        print(f"no page about this failure: {e}", file=sys.stderr)
        return 2
    return 1


if __name__ == "__main__":
    sys.exit(main())
