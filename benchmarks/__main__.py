"""Time operations and training steps beside other libraries and the roofline.

python -m benchmarks                            all that is here to compare with
python -m benchmarks --models lstm --vs torch   this step, beside PyTorch
python -m benchmarks --ops --sizes small        all operations, at one size
python -m benchmarks --quick --ops softmax      a first look
python -m benchmarks --backend cupy --vs torch  on the GPU
python -m benchmarks --json A.json --plot DIR   also keep the figures, draw them
python -m benchmarks --resume A.json            go on with an interrupted run
python -m benchmarks new NAME                   write a case, to begin with
python -m benchmarks --cases NAME.py            measure it
python -m benchmarks compare A.json B.json      what got slower from A to B
python -m benchmarks history A.json B.json ...  how the figures went
python -m benchmarks pair BEFORE AFTER          the same of two checkouts
"""

import sys

from models.training import terminal

from .needed import missing

if __name__ == "__main__":  # before what takes long to import
    terminal.prepare("python -m benchmarks")
    if why := missing():
        sys.exit(f"python -m benchmarks: {why}")

import argparse
import math
import os
import shlex
import signal
import time
from pathlib import Path

from nanoautograd.checkpoint import write_whole

from . import compare, history, new, outside, page, pair, quiet, report
from .cases import ALL, MODELS, OPERATIONS, SWEEP
from .environment import now, usable
from .process import LIMIT, PeerError
from .registry import ADDED, OTHERS, OURS
from .run import ENDED, run, tiny
from .tables import tables

QUICK = {"passes": 2, "rounds": 1, "seconds": 0.1}
FULL = {"passes": 5, "rounds": 3, "seconds": 0.3}


def parser():
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
        "--passes",
        type=int,
        metavar="N",
        help=f"times that all is measured, each with new processes (default: {FULL['passes']})",
    )
    p.add_argument(
        "--rounds",
        type=int,
        metavar="N",
        help=f"turns that each library has in a pass (default: {FULL['rounds']})",
    )
    p.add_argument(
        "--seconds",
        type=float,
        metavar="X",
        help=f"time that a library has in each round (default: {FULL['seconds']})",
    )
    p.add_argument(
        "--quick",
        action="store_true",
        help="a first look: {passes} passes of {rounds} round, {seconds} seconds".format(**QUICK),
    )
    p.add_argument(
        "--limit",
        type=float,
        default=LIMIT,
        metavar="X",
        help="seconds that one request to a library may take; then it is ended (default: 600)",
    )
    p.add_argument(
        "--cases", nargs="+", default=[], metavar="FILE", help="cases of your own, measured too"
    )
    p.add_argument(
        "--peer", nargs="+", default=[], metavar="FILE", help="a library of your own, beside ours"
    )
    p.add_argument(
        "--json", metavar="FILE", help="keep all that was measured, after each case; a new file"
    )
    p.add_argument(
        "--resume",
        metavar="FILE",
        help="go on with the run that this file of --json holds, with its options; the only option",
    )
    p.add_argument("--csv", metavar="FILE", help="write the figures as comma-separated values")
    p.add_argument("--markdown", metavar="FILE", help="write the tables")
    p.add_argument("--html", metavar="FILE", help="write a page: tables to sort, and pictures")
    p.add_argument("--plot", metavar="FOLDER", help="draw pictures")
    return p


def options(argv):
    """The options, checked and completed: also `files` (of --cases and --peer), `words` (the
    command) and `found` (the report of a run that is resumed)."""
    p = parser()
    o = p.parse_args(argv)
    if o.resume:
        if len(argv) > 2:
            p.error("--resume FILE is the only option: the others are those of the run")
        return resumed(p, o.resume)
    o.words, o.found = shlex.join(argv), {}
    if o.quick and (o.passes or o.rounds or o.seconds):
        p.error("--quick is what --passes, --rounds and --seconds would say; give one or the other")
    for name, usual in (QUICK if o.quick else FULL).items():
        if getattr(o, name) is None:
            setattr(o, name, usual)
    o.files = [str(Path(f).resolve()) for f in (*o.cases, *o.peer)]
    try:
        added = [outside.load(f) for f in o.files]
    except (OSError, ValueError) as e:
        p.error(str(e))
    own_cases = [name for cases, _ in added for name in cases]
    own_peers = [name for _, peers in added for name in peers]
    for given, known in ((o.models, MODELS), (o.ops, OPERATIONS)):
        for name in given or ():
            if name not in known:
                p.error(f"there is no {name!r}; there are {', '.join(known)}")
    if o.threads < 1 or o.passes < 1 or o.rounds < 1 or not 0 < o.seconds < math.inf:
        p.error("--threads, --passes, --rounds and --seconds must be above 0, and finite")
    if not o.limit > 0:
        p.error(f"--limit must be above 0, not {o.limit}")
    if o.text and o.dtype == "float64":
        p.error("--text trains in float32, tf32 or bfloat16, not in float64")
    if o.training and o.dtype not in (None, "float32"):
        p.error(f"--training is train.py, which computes in float32, not in {o.dtype}")
    nothing = o.models is None and o.ops is None
    if nothing and not (own_cases or o.growth or o.imports or o.training or o.text):
        o.models, o.ops, o.imports = [], [], True
    for name in own_cases:  # those of --cases are always measured; an empty list stands for all
        names, known = ("models", MODELS) if name in MODELS else ("ops", OPERATIONS)
        given = getattr(o, names)
        if given != []:
            setattr(o, names, list(dict.fromkeys([*(given or ()), name])))
    peers = "numpy", *OTHERS, *ADDED
    if o.vs is None:
        o.vs = [*["numpy"] * (o.backend == "cupy"), *OTHERS]
    elif o.backend == "numpy" and "numpy" in o.vs:
        p.error("--vs numpy: it is what ours computes with; give --backend cupy")
    o.vs = list(dict.fromkeys([*o.vs, *own_peers]))
    if unknown := [name for name in o.vs if name not in peers]:
        p.error(f"there is no peer {unknown[0]!r}; there are {', '.join(peers)}")
    sizes = list(dict.fromkeys(size for _, of_case in ALL.values() for size in of_case))
    if unknown := [size for size in o.sizes or () if size not in sizes]:
        p.error(f"there is no size {unknown[0]!r}; there are {', '.join(sizes)}")
    for name in [name for names in (o.models, o.ops) for name in names or ()]:
        if o.sizes and not set(o.sizes) & set(ALL[name][1]):
            p.error(f"{name} has no size {' or '.join(o.sizes)}; it has {', '.join(ALL[name][1])}")
    return o


def resumed(p, path):
    """The options of the run that a file holds; `found` is its report."""
    try:
        found = report.read(path)
    except (OSError, report.ReportError) as e:
        p.error(f"--resume: {e}")
    o = options(shlex.split(found["command"])[3:])
    o.json, o.found = path, found
    return o


def prepare(o):
    """Raises PeerError where the report could not be kept in the end."""
    if (o.plot or o.html) and (why := missing("matplotlib")):
        raise PeerError(why)
    try:
        if o.text:
            from . import time_to_loss

            time_to_loss.characters(Path(o.text), time_to_loss.sizes(o.text, tiny(o)).block_size)
        if o.plot:
            Path(o.plot).mkdir(parents=True, exist_ok=True)
        files = {name: getattr(o, name) for name in ("json", "csv", "markdown", "html")}
        for name, file in files.items():
            if file and Path(file).is_dir():
                raise IsADirectoryError(f"--{name} {file} is a folder; give the name of a file")
        if o.json and not o.found and Path(o.json).exists():
            raise FileExistsError(
                f"--json {o.json} is there already; give another name, or --resume {o.json} to go "
                "on with that run"
            )
        for folder in (*(Path(file).parent for file in files.values() if file), o.plot):
            if folder and not (Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK)):
                raise OSError(f"nothing can be written to {folder}, which must be a folder")
    except (OSError, ValueError) as e:
        raise PeerError(str(e)) from None


def interrupt(number, frame):
    raise KeyboardInterrupt


def main(argv):
    others = {"compare": compare, "history": history, "new": new, "pair": pair}
    if argv and argv[0] in others:
        return others[argv[0]].main(argv[1:])
    o = options(argv)
    found, begin = o.found, time.perf_counter()
    before = found["environment"]["seconds"] if found else 0

    def keep():
        """After each case, so that whatever ends the run, nothing is lost."""
        e = found["environment"]
        e["seconds"] = round(before + time.perf_counter() - begin)
        e["load during"] = max(filter(None, (e["load during"], quiet.load())), default=None)
        e["until"] = now()
        if o.json:
            report.save(found, o.json)

    ended = None
    former = signal.signal(signal.SIGTERM, interrupt)
    try:
        prepare(o)
        if o.gradcheck:
            from . import gradients

            return gradients.main(o.passes * o.rounds, lambda text: print(text, file=sys.stderr))
        from tqdm import tqdm

        run(o, found, keep, lambda total: tqdm(total=total, unit="case", disable=None))
    except PeerError as e:
        return f"python -m benchmarks: {e}"
    except KeyboardInterrupt:
        if not found:
            raise
        ended = "interrupted"
    except Exception as e:
        if not found:
            raise
        ended = f"broken off by {type(e).__name__}: {e}"
    finally:
        signal.signal(signal.SIGTERM, former)
    if ended:
        found["errors"].append(ended + ENDED)
    keep()
    write(o, found)
    if ended:
        if o.json:
            print(f"python -m benchmarks --resume {shlex.quote(o.json)} goes on", file=sys.stderr)
        return 130 if ended == "interrupted" else 1
    return 1 if found["errors"] or any(r["errors"] for r in found["rows"]) else 0


def write(o, found):
    """Print the tables, and write what else is asked for."""
    text = tables(found)
    print(text)
    if o.markdown:
        write_whole(o.markdown, text.encode())
    if o.csv:
        write_whole(o.csv, page.comma_separated(found).encode())
    if o.html:
        write_whole(o.html, page.page(found).encode())
    if o.plot:
        from .pictures import draw

        print("pictures:", *draw(found, o.plot))


if __name__ == "__main__":
    terminal.run("python -m benchmarks", lambda: main(sys.argv[1:]))
