"""Time operations and training steps beside other libraries and the roofline.

python -m benchmarks                            all that is here to compare with
python -m benchmarks --models lstm --vs torch   this step, beside PyTorch
python -m benchmarks --ops --sizes small        all operations, at one size
python -m benchmarks --backend cupy --vs torch  on the GPU
python -m benchmarks --json A.json --plot DIR   also keep the figures, draw them
python -m benchmarks compare A.json B.json      what got slower from A to B
python -m benchmarks pair BEFORE AFTER          the same of two checkouts
"""

import sys

from models.training import terminal

if __name__ == "__main__":  # before what takes long to import
    terminal.prepare("python -m benchmarks")

import argparse
import math
import os
import shlex
import time
from importlib.util import find_spec
from pathlib import Path

from . import compare, crossover, growth, imports, pair, throughput
from .cases import ALL, MODELS, OPERATIONS, PRECISIONS, SWEEP, make
from .clock import PeerError, Processes, measure
from .registry import OTHERS, OURS, ROOFLINE, peer
from .report import environment, load, row, save, tables, usable


def options(argv):
    p = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        "--models",
        nargs="*",
        metavar="NAME",
        help=f"training steps; all, if none is named: {', '.join(MODELS)}",
    )
    p.add_argument(
        "--ops",
        nargs="*",
        metavar="NAME",
        help=f"operations; all, if none is named: {', '.join(OPERATIONS)}",
    )
    p.add_argument("--growth", action="store_true", help="how time and memory grow with each size")
    p.add_argument("--imports", action="store_true", help="how long imports take")
    p.add_argument(
        "--gradcheck", action="store_true", help="gradient checks, beside other libraries'; alone"
    )
    p.add_argument(
        "--training",
        action="store_true",
        help="what train.py adds to the bare step: data, metrics, progress",
    )
    p.add_argument(
        "--text",
        metavar="FILE",
        help="train a GPT on this text until its validation "
        "loss is 1.47, as nanoGPT's of tinyshakespeare.txt after 3 minutes on an A100",
    )
    p.add_argument(
        "--sizes",
        nargs="+",
        choices=("tiny", *SWEEP, "gpu"),
        metavar="SIZE",
        help=f"tiny, small, medium, large, gpu; by default {' '.join(SWEEP)}, and with "
        "--backend cupy also gpu",
    )
    p.add_argument(
        "--backend",
        choices=list(OURS),
        default="numpy",
        help="what ours computes with (strict: the fake of CuPy, to try it)",
    )
    p.add_argument(
        "--vs",
        nargs="*",
        choices=("numpy", *OTHERS),
        metavar="PEER",
        help=f"the peers: {', '.join(OTHERS)}, and with --backend cupy numpy; by default those "
        "that are installed",
    )
    p.add_argument(
        "--threads",
        type=int,
        default=usable(),
        metavar="N",
        help="threads that each library may use (default: all processors)",
    )
    p.add_argument(
        "--dtype",
        choices=("float32", "float64", "tf32", "bfloat16"),
        help="precision; by default float32, with --backend cupy and size gpu also others for some",
    )
    p.add_argument(
        "--rounds",
        type=int,
        default=9,
        metavar="N",
        help="turns that each library has, whose median counts (default: 9)",
    )
    p.add_argument(
        "--seconds",
        type=float,
        default=0.5,
        metavar="X",
        help="time that a library has in each round (default: 0.5)",
    )
    p.add_argument("--json", metavar="FILE", help="keep the figures, and the median of each round")
    p.add_argument("--plot", metavar="FOLDER", help="draw pictures")
    o = p.parse_args(argv)
    for given, known in ((o.models, MODELS), (o.ops, OPERATIONS)):
        for name in given or ():
            if name not in known:
                p.error(f"there is no {name!r}; there are {', '.join(known)}")
    if o.threads < 1 or o.rounds < 1 or not 0 < o.seconds < math.inf:
        p.error("--threads, --rounds and --seconds must be above 0, and finite")
    if o.text and o.dtype == "float64":
        p.error("--text trains in float32, tf32 or bfloat16, not in float64")
    if o.training and o.dtype not in (None, "float32"):
        p.error(f"--training is train.py, which computes in float32, not in {o.dtype}")
    if o.models is None and o.ops is None and not (o.growth or o.imports or o.training or o.text):
        o.models, o.ops, o.imports = [], [], True
    if o.vs is None:
        o.vs = [*["numpy"] * (o.backend == "cupy"), *OTHERS]
    elif o.backend == "numpy" and "numpy" in o.vs:
        p.error("--vs numpy: it is what ours computes with; give --backend cupy")
    some = o.sizes
    o.sizes = o.sizes or [*SWEEP, *["gpu"] * (o.backend == "cupy")]
    for name in [name for names in (o.models, o.ops) for name in names or ()]:
        if some and not set(some) & set(ALL[name][1]):
            p.error(f"{name} has no size {' or '.join(some)}; it has {', '.join(ALL[name][1])}")
    return o


def prepare(o):
    """Raises PeerError where the report could not be kept in the end."""
    missing = [
        name
        for name in ("tqdm", "threadpoolctl", *["matplotlib"] * bool(o.plot))
        if not find_spec(name)
    ]
    if missing:
        raise PeerError(
            f"{', '.join(missing)} is not installed; all that is needed: pip install '.[bench]'"
        )
    try:
        if o.text:
            from . import time_to_loss

            time_to_loss.characters(Path(o.text), time_to_loss.sizes(o.text, tiny(o)).block_size)
        if o.plot:
            Path(o.plot).mkdir(parents=True, exist_ok=True)
        if o.json and Path(o.json).is_dir():
            raise IsADirectoryError(f"--json {o.json} is a folder; give the name of a file")
        for folder in (o.json and Path(o.json).parent, o.plot):
            if folder and not (Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK)):
                raise OSError(f"nothing can be written to {folder}, which must be a folder")
    except (OSError, ValueError) as e:
        raise PeerError(str(e)) from None


def tiny(o):
    """Is this a trial, at the size tiny alone?"""
    return o.sizes == ["tiny"]


def wanted(o):
    """The names of the cases, models first."""
    return [
        name
        for names, known in ((o.models, MODELS), (o.ops, OPERATIONS))
        if names is not None
        for name in names or known
    ]


def peers_of(o):
    """(names of the peers, ours first; {name: why it is not here})."""
    where = "" if o.backend == "numpy" else f"@{o.backend}"
    names = [o.backend, *["captured"] * (o.backend == "cupy")]
    names += ["manual" + where, "by hand" + where]
    for name in o.vs:
        is_on_host = o.backend != "cupy" or name in ("autograd", "numpy")
        names.append(name if is_on_host else name + "@cuda")
    names += [name + where for name in ROOFLINE]
    if why := peer(o.backend).absent():
        raise PeerError(f"--backend {o.backend} cannot be used: {why}")
    absent = {name: why for name in names if (why := peer(name).absent())}
    return [name for name in names if name not in absent], absent


def run(o, report, progress):
    """Fills the report, a dict, with what was measured so far. Raises PeerError where nothing can
    be."""
    before, (names, absent) = load(), peers_of(o)
    precision, libraries = o.dtype or "float32", {}
    with Processes(names, o.threads, precision) as processes:
        for name, process in processes.running.items():
            try:
                libraries[name] = process.ask("hello")
            except PeerError as e:
                absent[name] = str(e)
    if o.backend not in libraries:
        raise PeerError(f"--backend {o.backend} cannot be used: {absent[o.backend]}")
    names = list(libraries)
    report |= {
        "command": "python -m benchmarks " + shlex.join(sys.argv[1:]),
        "environment": environment(o.threads, precision, libraries, before),
        "absent": absent,
        "rows": [],
        "errors": [],
    }
    todo = [
        (name, size, p)
        for name in wanted(o)
        for size in o.sizes
        if size in ALL[name][1]
        for p in ([o.dtype] if o.dtype else PRECISIONS.get((name, size), ("float32",)))
    ]
    # A model leaves much behind in a process, so each has new ones; operations share theirs.
    groups = [[one] for one in todo if one[0] in MODELS]
    groups += [
        [one for one in todo if one[0] in OPERATIONS and one[2] == p]
        for p in dict.fromkeys(p for _, _, p in todo)
    ]
    with progress(len(todo)) as bar:
        for group in filter(None, groups):
            with Processes(names, o.threads, group[0][2]) as processes:
                for name, size, p in group:
                    case = make(name, size)
                    measured, errors = measure(
                        processes,
                        name,
                        case,
                        o.rounds,
                        o.seconds,
                        show=lambda text: bar.set_postfix_str(f"{name} {size}: {text}"),
                    )
                    report["rows"].append(row(name, size, p, case, o.backend, measured, errors))
                    bar.update()
                    if bar.disable:  # there is no terminal
                        done = f"{len(report['rows'])} of {len(todo)}: {name} {size}"
                        print(done, file=sys.stderr)
        show = bar.set_postfix_str
        if o.backend == "cupy":
            report["crossover"] = crossover.crossovers(report["rows"])
        if o.growth:
            sweeps = growth.TINY if tiny(o) else growth.SWEEPS
            grown = [n for n in names if n.partition("@")[0] in (o.backend, "torch", "jax")]
            report["growth"], errors = growth.sweep(grown, o, precision, sweeps, show)
            report["errors"] += errors
        if o.imports:
            report["imports"], errors = imports.measure(o.rounds, show, o.vs)
            report["errors"] += [f"import {name}: {text}" for name, text in errors.items()]
        for preset in ("rnn", "gpt") if o.training else ():
            try:
                report.setdefault("training", []).append(
                    throughput.measure(
                        preset, 4 if tiny(o) else 300, o.rounds, o.threads, OURS[o.backend], show
                    )
                )
            except PeerError as e:
                report["errors"].append(f"train.py {preset}: {e}")
        if o.text:
            train_until(o, report, show)


def train_until(o, report, show):
    """Adds to the report how long a GPT trained until it predicted the text well enough."""
    from . import time_to_loss

    every = ("float32", "tf32", "bfloat16") if o.backend == "cupy" else ("float32",)
    report["time to loss"] = []
    for precision in [o.dtype] if o.dtype else every:
        try:
            report["time to loss"].append(
                time_to_loss.measure(
                    time_to_loss.sizes(
                        o.text, tiny(o), "--device", OURS[o.backend], "--precision", precision
                    ),
                    o.threads,
                    show,
                )
            )
        except Exception as e:  # hours may have passed: the rest is not lost
            report["errors"].append(f"time to loss in {precision}: {type(e).__name__}: {e}")


def main(argv):
    if argv[:1] == ["compare"]:
        return compare.main(argv[1:])
    if argv[:1] == ["pair"]:
        return pair.main(argv[1:])
    o, report, begin, status = options(argv), {}, time.perf_counter(), 0
    try:
        prepare(o)
        if o.gradcheck:
            from . import gradients

            return gradients.main(o.rounds, lambda text: print(text, file=sys.stderr))
        from tqdm import tqdm

        run(o, report, lambda total: tqdm(total=total, unit="case", disable=None))
    except PeerError as e:
        return f"python -m benchmarks: {e}"
    except KeyboardInterrupt:
        if not report:
            raise
        status = 130
        report["errors"].append("interrupted; what follows was measured before")
    except Exception as e:
        if not report:
            raise
        status = 1
        report["errors"].append(
            f"broken off by {type(e).__name__}: {e}; what follows was measured before"
        )
    report["environment"]["seconds"] = round(time.perf_counter() - begin)
    print(tables(report))
    if o.json:
        save(report, o.json)
    if o.plot:
        from .pictures import draw

        print("pictures:", *draw(report, o.plot))
    return status


if __name__ == "__main__":
    terminal.run("python -m benchmarks", lambda: main(sys.argv[1:]))
