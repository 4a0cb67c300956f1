"""Which values of the options are best: a grid of runs of train.py, and their comparison.

    python -m models.search topics --grid lr=2e-3,8e-3 hidden=64,128 --folds 5
    python -m models.search gpt --grid layers=2,4 --repeat 3 --steps 500

All combinations of the values, the settings, are run; all other options go to train.py as they are.
What is best is printed as a table, drawn, and kept in --runs, with a folder for each run. The
command can be repeated: what has finished with these options is not run again, what was interrupted
goes on, and what has failed is tried again.

Each run computes with one thread where --threads does not say otherwise, and so does the command
that is printed as the best: another number of threads rounds otherwise, and would reach a slightly
different score.
"""

import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from nanoautograd.checkpoint import CheckpointError, load_checkpoint, open_file, write_whole

from ..data import install
from ..tasks import PRESETS
from ..tasks.task import number
from .cells import doubt, markdown
from .compare import Setting, draw, rank, rows, verdict
from .folder import lock
from .metrics import save_figure
from .options import (
    OptionError,
    Parser,
    attribute,
    check_state,
    cores,
    did_you_mean,
    folder_path,
    momentary,
    option,
    parse,
    parser,
    preset_name,
)
from .results import read_result
from .table import command

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL")}
LONGEST = 100_000  # bytes at the end of a log, in which its last line is
SEEN = (
    "What is held out in a run with (... seen before) was in part read by the run of --pretrained: "
    "its score is too good, and no estimate for new texts. Hold out here what was held out there: "
    "the same --validation, and no --folds."
)
OF_ONE_RUN = {"out", "resume", "overwrite", "list", "generate"}


@dataclass
class Run:
    """One run of train.py: its preset and options, and its folder."""

    words: list
    folder: Path

    def result(self):
        """The content of result.json; None where the run has not finished."""
        return read_result(self.folder / "result.json", self.words)

    def failure(self):
        """Why it has not finished: what its last line says."""
        try:
            with open_file(self.folder / "log.txt") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - LONGEST))
                text = log.read().decode(errors="replace")
        except OSError:
            text = ""
        lines = [line.strip() for line in re.split("[\r\n]", text) if line.strip()]
        last = lines[-1].removeprefix("train.py: ").partition(". ")[0] if lines else "no output"
        return last[:300]


# ------------------------------------------------------------------------------------ what to run


def read_grid(texts):
    """["lr=1e-3,4e-3", ...] -> {"lr": ["1e-3", "4e-3"], ...}. Raises OptionError."""
    grid = {}
    for text in texts:
        name, _, values = text.partition("=")
        name, values = name.replace("-", "_"), values.split(",")
        if not name or "=" not in text:
            raise OptionError(
                f"--grid takes OPTION=VALUE,VALUE,... such as lr=1e-3,4e-3; got {text!r}"
            )
        if name in grid or len(set(values)) < len(values):
            raise OptionError(f"--grid {text}: the same comes twice")
        grid[name] = values
    return grid


def words_of(name, value, default):
    """An option of train.py as it is typed there."""
    if isinstance(default, bool):
        if value not in ("true", "false"):
            raise OptionError(f"{option(name)} takes true or false in a grid; got {value!r}")
        return [option(name)] if value == "true" else [f"--no-{option(name)[2:]}"] * default
    return (
        [option(name), *value.split()] if isinstance(default, list) else [f"{option(name)}={value}"]
    )


def plan(preset, grid, folds=0, repeat=1, folder=Path("runs/search"), rest=()):
    """[(Setting, its Runs), ...] of the grid; folds and repeat as in the command, rest: the other
    words for train.py. All are checked, before anything runs: raises OptionError, or SystemExit
    where the preset's own parser refuses a word."""
    fixed = {attribute(word.partition("=")[0]) for word in rest if word.startswith("--")}
    if fixed & OF_ONE_RUN:
        raise OptionError(f"{option(min(fixed & OF_ONE_RUN))} is for one run, not for a search")
    if "threads" not in fixed:
        rest = [*rest, "--threads=1"]
    first = parse([preset, *rest])[0].seed
    options = vars(parser(preset).parse_args([]))
    seeds = [[f"--seed={first + i}"] for i in range(repeat)] if repeat > 1 else [[]]
    parts = [[f"--validation={k}/{folds}"] for k in range(1, folds + 1)] or [[]]
    names = [*grid, *["validation"] * (folds > 0), *["seed"] * (repeat > 1)]
    for name in names:
        if name not in options or name in momentary(preset) | {"preset"}:
            raise OptionError(
                f"the preset {preset} has no option {option(name)} that makes a difference to a run"
                + (did_you_mean(name, options) or f"; python train.py {preset} --help shows all")
            )
        # --seed beside --repeat is the first of the seeds.
        if names.count(name) > 1 or name in fixed and (name in grid or name != "seed"):
            raise OptionError(
                f"{option(name)} is to be varied, and is given twice: by itself, by "
                "--grid, by --folds or by --repeat"
            )
    settings, known = [], {}
    for combination in itertools.product(*grid.values()):
        values = dict(zip(grid, combination))
        varied = [
            word for name, value in values.items() for word in words_of(name, value, options[name])
        ]
        words = [preset, *varied, *rest]
        setting = Setting(values, words)
        same = known.setdefault(repr(parse(words)[0]), setting)
        if same is not setting:
            raise OptionError(f"--grid has the same setting twice: {same}, and {setting}")
        settings.append(
            (
                setting,
                [
                    Run([*words, *part, *seed], folder.joinpath(safe(varied), safe([*part, *seed])))
                    for seed in seeds
                    for part in parts
                ],
            )
        )
    folders = set()
    for run in (run for _, runs in settings for run in runs):
        if run.folder in folders:
            raise OptionError(
                f"two runs would have the folder {run.folder}; search their values "
                "one after the other, with another --runs"
            )
        folders.add(run.folder)
        check(run)
    return settings


def safe(words):
    """The name of a folder for them."""
    return re.sub(r"[^\w.=+-]+", "_", " ".join(words).replace("--", "")) or "run"


def check(run):
    """Raise OptionError if the folder of a run that has not finished holds one that is at work, or
    one with other options, some of which --resume would change."""
    if run.result() is None and run.folder.exists():
        with lock(run.folder):  # a search that was killed does not end its runs
            pass
    if run.result() is None and (run.folder / "checkpoint.json").exists():
        wanted = vars(parse(run.words)[0])
        try:
            state = check_state(load_checkpoint(run.folder)[1], run.folder)
            kept = state["options"]
        except CheckpointError as e:
            raise OptionError(f"{e}; delete the folder, or choose another with --runs") from None
        for name in kept:
            if kept[name] != wanted[name]:
                raise OptionError(
                    f"{run.folder} holds a run with {option(name)} {kept[name]}, not "
                    f"{wanted[name]}; choose another folder with --runs"
                )
        if state.get("changed"):
            raise OptionError(
                f"{run.folder} holds a run whose options were changed on the way, by --resume; "
                "choose another folder with --runs"
            )


# ---------------------------------------------------------------------------------------- running


class Jobs:
    """Runs in processes of their own, which a signal stops."""

    def __init__(self):
        self.signal, self.children = None, set()

    def __call__(self, run):
        """Begin or go on with a run, and wait for it; what it prints goes to log.txt."""
        if self.signal:
            return
        run.folder.mkdir(parents=True, exist_ok=True)
        with (run.folder / "log.txt").open("ab") as log:
            # In a session of its own: a terminal's Ctrl-C reaches it through `catch_signals` alone.
            child = subprocess.Popen(
                command(run.words, run.folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **ONE_THREAD},
                start_new_session=True,
            )
        self.children.add(child)
        if self.signal:  # it came since that was asked above
            child.send_signal(self.signal)
        child.wait()
        self.children.discard(child)

    @contextmanager
    def catch_signals(self):
        """Within it, at Ctrl-C or SIGTERM the runs at work save what they have, and none begins."""

        def handle(number, frame):
            if self.signal:  # a second one would end them at once
                return
            self.signal = number
            os.write(2, b"\nstopping: the runs at work save what they have\n")
            for child in list(self.children):
                child.send_signal(number)

        former = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for n, handler in former.items():
                signal.signal(n, handler)


def execute(runs, jobs):
    """Run what has not finished, so many at a time. Returns the number of the signal that stopped
    it, or None."""
    from tqdm import tqdm

    todo, job = [run for run in runs if run.result() is None], Jobs()
    with (
        job.catch_signals(),
        ThreadPoolExecutor(jobs) as pool,
        tqdm(total=len(runs), initial=len(runs) - len(todo), unit="run", disable=None) as bar,
    ):
        waiting = {pool.submit(job, run): run for run in todo}
        for future in as_completed(waiting):
            run = waiting[future]
            future.result()  # raises what went wrong in the thread
            if not job.signal:
                bar.update()
                if run.result() is None:
                    bar.write(f"{run.folder} has failed: {run.failure()}", file=sys.stderr)
                elif bar.disable:  # there is no terminal
                    print(f"{run.folder} has finished", file=sys.stderr)
    return job.signal


def collect(settings):
    """Put into each Setting what its runs have reached."""
    for setting, runs in settings:
        for run in runs:
            result = run.result()
            if result is None:
                setting.failures.append(run.failure())
                continue
            setting.scores.append(result["scores"][result["metric"]])
            if doubt(result) and doubt(result) not in setting.doubts:
                setting.doubts.append(doubt(result))
            setting.baselines.append(result["baseline"][1])
            if result["seconds"] is not None:
                setting.seconds.append(result["seconds"])


# ----------------------------------------------------------------------------------------- report


def report(settings, preset, folds, repeat):
    """The table of the ranked settings and what follows from it, as markdown."""
    task, best = PRESETS[preset], settings[0]
    over = " and ".join([f"{folds} folds"] * (folds > 0) + [f"{repeat} seeds"] * (repeat > 1))
    parts = [
        f"{preset} ({task.about}): {task.metric}, "
        f"{'larger' if task.larger_is_better else 'smaller'} is better; "
        + (f"mean ± standard error over {over}." if over else "one run each."),
        markdown(rows(settings, task.metric)),
    ]
    if best.failures:
        return "\n\n".join([*parts, "There is no setting of which all runs have finished."]) + "\n"
    o, _ = parse(best.words)
    return "\n\n".join(
        [
            *parts,
            verdict(settings),
            *[SEEN] * any(s.doubts for s in settings),
            "The best setting, "
            + (
                f"trained once more, not on a fold but with --validation {o.validation}:"
                if folds
                else f"with the first of the seeds, {o.seed}:"
                if repeat > 1
                else "as it was run:"
            ),
            f"    python train.py {shlex.join(best.words)}",
            "The settings were chosen by these scores of what is held out, which favours the "
            "winner: on data that had no part in the choice, expect a little less.\n",
        ]
    )


def main(argv=None):
    """Run the command line. Returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    p = Parser(
        "python -m models.search",
        description=__doc__.partition("\n")[0],
        epilog="All other options go to train.py: python train.py PRESET --help.",
    )
    p.add_argument("preset", type=preset_name, help="as for train.py")
    p.add_argument(
        "--grid",
        nargs="+",
        required=True,
        metavar="OPTION=VALUE,...",
        help="options of the preset, and the values to try; where one value is several "
        "words, in quotes: betas='0.9 0.99,0.9 0.999'",
    )
    p.add_argument(
        "--folds",
        type=number(int, least=2),
        default=0,
        metavar="K",
        help="cross-validation: train each setting K times, and judge it by another "
        "K-th of the data each time",
    )
    p.add_argument(
        "--repeat",
        type=number(int, least=1),
        default=1,
        metavar="SEEDS",
        help="train each setting with so many seeds, from --seed on",
    )
    p.add_argument(
        "--jobs",
        type=number(int, least=1),
        default=cores(),
        help="runs side by side (default: one a core)",
    )
    p.add_argument(
        "--runs",
        type=folder_path,
        metavar="FOLDER",
        help="folder of the runs and the table (default: runs/search-PRESET)",
    )
    o, rest = p.parse_known_args(argv)
    for name in (word.partition("=")[0] for word in rest if word.startswith("--")):
        is_of_a_run = name in parser(o.preset)._option_string_actions
        if not is_of_a_run and (meant := did_you_mean(name, p._option_string_actions)):
            p.error(f"there is no option {name}{meant}")
    folder, task = o.runs or Path("runs", f"search-{o.preset}"), PRESETS[o.preset]
    for package in ("safetensors", "tqdm", "matplotlib"):
        if find_spec(package) is None:
            p.error(f"the package {package} is missing: pip install -e '.[train]'")
    try:
        if packages := task.missing(o.preset):
            raise OptionError(f"what {o.preset} needs is missing: {install(*packages)}")
        grid = read_grid(o.grid)
        settings = plan(o.preset, grid, o.folds, o.repeat, folder, rest)
        runs = [run for _, of_setting in settings for run in of_setting]
        stopped = execute(runs, o.jobs)
    except (OptionError, OSError) as e:
        p.error(e)
    if stopped:
        left = sum(run.result() is None for run in runs)
        print(
            f"stopped with {left} of {len(runs)} runs left; the same command goes on: "
            f"python -m models.search {shlex.join(argv)}",
            file=sys.stderr,
        )
        return 128 + stopped
    collect(settings)
    ranked = rank([setting for setting, _ in settings], task.larger_is_better)
    text = report(ranked, o.preset, o.folds, o.repeat)
    write_whole(folder / "table.md", text.encode())
    write_whole(
        folder / "results.json",
        json.dumps(
            {"metric": task.metric, "settings": [asdict(s) for s in ranked]}, indent=1
        ).encode(),
    )
    print(text)
    if not ranked[0].failures:
        figure = draw(ranked, grid, task.metric, task.larger_is_better)
        save_figure(figure, folder / "search.png")
        print(f"{folder / 'search.png'} shows it")
    return 1 if ranked[0].failures else 0
