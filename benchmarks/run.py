"""The order of a run: passes over all cases, each case with new processes in each pass.

Passes come one after the other, not case after case, so that those of one case lie far apart in
time, and its interval holds what the machine does meanwhile. After each case the report is kept;
what is there already, from a run that was interrupted, is not measured again.
"""

import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import environment, growth, imports, report, throughput
from .cases import ALL, MODELS, OPERATIONS, PRECISIONS, SWEEP, make
from .clock import measure, requests
from .process import PeerError, Processes
from .registry import OURS, ROOFLINE, peer
from .report import Report, Row


def tiny(o: Namespace) -> bool:
    """Is this a trial, at the size tiny alone?"""
    return o.sizes == ["tiny"]


def cases(o: Namespace) -> list[tuple[str, str, str, dict[str, Any], str]]:
    """(name, size, precision, sizes, kind) of all that is to be measured, models first, then
    operations, then the points of growth."""
    found = []
    for names, known, kind in ((o.models, MODELS, "model"), (o.ops, OPERATIONS, "operation")):
        for name in [] if names is None else names or known:
            for size in sizes_of(o, name):
                every = [o.dtype] if o.dtype else PRECISIONS.get((name, size), ("float32",))
                found += [(name, size, p, make(name, size).sizes, kind) for p in every]
    if o.growth:
        found += [
            (name, size, o.dtype or "float32", sizes, what)
            for name, size, sizes, what in growth.points(growth.TINY if tiny(o) else growth.SWEEPS)
        ]
    return found


def sizes_of(o: Namespace, name: str) -> list[str]:
    """The sizes at which a case is measured: those asked for that it has; else a sweep, or, if it
    has other sizes (from --cases), all but tiny."""
    has = ALL[name][1]
    usual = [*SWEEP, *["gpu"] * (o.backend == "cupy")]
    if o.sizes or set(has) & {*SWEEP, "gpu"}:
        return [size for size in o.sizes or usual if size in has]
    return [size for size in has if size != "tiny"] or list(has)


def peers_of(o: Namespace) -> tuple[list[str], dict[str, str]]:
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


def peers_of_growth(o: Namespace, names: Sequence[str]) -> list[str]:
    """Those whose growth is measured: ours and the two that most people use."""
    return [n for n in names if n.partition("@")[0] in (o.backend, "torch", "jax")]


ENDED = "; all that stands here was measured before"  # in the line that says what ended a run


def begin(o: Namespace, found: Report) -> list[str]:
    """Fill a report with what is known before anything is measured. Raises PeerError."""
    (names, absent), precision, libraries = peers_of(o), o.dtype or "float32", {}
    with Processes(names, o.threads, precision, o.files, o.limit) as processes:
        for name, process in processes.running.items():
            try:
                libraries[name] = process.ask("hello")
            except PeerError as e:
                absent[name] = str(e)
    if o.backend not in libraries:
        raise PeerError(f"--backend {o.backend} cannot be used: {absent[o.backend]}")
    about = environment.environment(o.threads, precision, libraries)
    if found and (other := different(found["environment"], about)):
        raise PeerError(f"{o.json} cannot be resumed: {other}")
    if not found:
        found |= {
            "schema": report.SCHEMA,
            "command": "python -m benchmarks " + o.words,
            "environment": {**about, "seconds": 0, "load during": about["load before"]},
            "settings": {
                name: getattr(o, name)
                for name in ("passes", "rounds", "seconds", "quick", "limit", "threads")
            },
            "absent": absent,
            "rows": [],
            "errors": [],
        }
    found["errors"] = [e for e in found["errors"] if not e.endswith(ENDED)]  # it is resumed
    return list(libraries)


def different(was: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """What is not the same in two environments, of what decides about figures; or None."""
    for name in ("processor", "processors", "gpu", "threads", "precision", "python", "commit"):
        if was[name] != now[name]:
            return f"{name} was {was[name]}, and is {now[name]}"
    for name, library in was["libraries"].items():
        if name not in now["libraries"]:
            return f"{name} is not here"
        if library["versions"] != (versions := now["libraries"][name]["versions"]):
            return f"of {name} the versions were {library['versions']}, and are {versions}"


def run(
    o: Namespace, found: Report, keep: Callable[[], None], progress: Callable[[int], Any]
) -> None:
    """Fill a report, a dict, with what is measured. Raises PeerError where nothing can be.

    keep: called when something was added. progress: called with how much is to do, gives a bar.
    """
    names = begin(o, found)
    rows = {(r["case"], r["size"], r["precision"]): r for r in found["rows"]}
    for name, size, precision, sizes, kind in cases(o):
        if (name, size, precision) not in rows:
            case = make(name, sizes)
            one = report.row(name, size, precision, case, o.backend, kind)
            rows[name, size, precision] = one
            found["rows"].append(one)
    keep()
    todo = [
        (number, group)
        for number in range(o.passes)
        for group in groups([r for r in rows.values() if r["passes"] <= number])
    ]
    with progress(sum(len(group) for _, group in todo)) as bar:
        for number, group in todo:
            group = [r for r in group if o.backend not in r["errors"]]  # it failed before
            if not group:
                continue
            peers = names if group[0]["kind"] in KINDS else peers_of_growth(o, names)
            with Processes(peers, o.threads, group[0]["precision"], o.files, o.limit) as processes:
                for r in group:
                    measure_row(o, processes, r, bar, f"pass {number + 1} of {o.passes}")
                    keep()
        rest(o, found, keep, bar.set_postfix_str)


KINDS = "model", "operation"


def groups(rows: Sequence[Row]) -> list[list[Row]]:
    """A model leaves much behind in a process, so each has new ones, as a point of growth has;
    operations of one precision share theirs."""
    shared = {}
    for r in rows:
        key = r["precision"] if r["kind"] == "operation" else (r["case"], r["size"], r["precision"])
        shared.setdefault(key, []).append(r)
    return list(shared.values())


def measure_row(o: Namespace, processes: Processes, r: Row, bar: Any, what: str) -> None:
    """A pass of one row."""
    case = make(r["case"], r["sizes"])
    title = report.title(r)
    build = {n: b for n, b in requests(processes, r["case"], case).items() if n not in r["errors"]}
    measured, errors = measure(
        processes,
        build,
        case.tolerance,
        o.rounds,
        o.seconds,
        show=lambda text: bar.set_postfix_str(f"{what}: {title}: {text}"),
    )
    report.add(r, measured, errors)
    bar.update()
    if bar.disable:  # there is no terminal
        ours = report.seconds(r, r["main"])
        notes = [f"{1e3 * ours} ms"] if ours else []
        notes += [*r["marks"], *(f"{name} failed" for name in errors)]
        print(f"{what}: {title}: {'; '.join(notes)}", file=sys.stderr, flush=True)


def rest(
    o: Namespace, found: Report, keep: Callable[[], None], show: Callable[[str], None]
) -> None:
    """What is measured in other ways."""
    if o.imports and "imports" not in found:
        found["imports"], errors = imports.measure(o.rounds * o.passes, show, o.vs, o.limit)
        found["errors"] += [f"import {name}: {text}" for name, text in errors.items()]
        keep()
    done = [f["preset"] for f in found.get("training", ())]
    for preset in ("rnn", "gpt") if o.training else ():
        if preset in done:
            continue
        try:
            steps = 4 if tiny(o) else 300
            found.setdefault("training", []).append(
                throughput.measure(
                    *(preset, steps, o.passes, o.threads, OURS[o.backend], show, o.limit)
                )
            )
        except PeerError as e:
            found["errors"].append(f"train.py {preset}: {e}")
        keep()
    if o.text:
        train_until(o, found, keep, show)


def train_until(
    o: Namespace, found: Report, keep: Callable[[], None], show: Callable[[str], None]
) -> None:
    """Adds to the report how long a GPT trained until it predicted the text well enough."""
    from . import time_to_loss

    every = ("float32", "tf32", "bfloat16") if o.backend == "cupy" else ("float32",)
    done = [f["precision"] for f in found.setdefault("time to loss", [])]
    for precision in [o.dtype] if o.dtype else every:
        if precision in done:
            continue
        words = "--device", OURS[o.backend], "--precision", precision
        try:
            found["time to loss"].append(
                time_to_loss.measure(time_to_loss.sizes(o.text, tiny(o), *words), o.threads, show)
            )
        except Exception as e:  # hours may have passed: the rest is not lost
            found["errors"].append(f"time to loss in {precision}: {type(e).__name__}: {e}")
        keep()
