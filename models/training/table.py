"""The table of all models: what each reaches over several seeds, beside its baseline.

    python -m models.table                      runs every preset with each seed, one after another,
                                                in many hours, and prints the table
    python -m models.table --texts python FILE  the language models on both texts
    python -m models.table rnn gpt              these presets alone
    python -m models.table --seeds 0 1 2 3 4    more seeds
    python -m models.table --save RESULTS       and writes what they reached to a file, beside what
                                                it holds of others
    python -m models.table --from RESULTS       prints the table of such a file, and runs nothing

Each run goes to a folder of its own in --runs, such as gpt-python-1. What has finished with these
options is not run again, and what was interrupted goes on, so the command can be repeated, and the
table completed over days. Where the seed makes no difference, as in counting, one run is made.
Presets whose data is not installed are left out, and named with the command that installs it; so
are results in a file that were made with other options than the presets have now.

A score is the mean over the seeds ± their standard deviation. "better by" is what it is better than
its baseline by, in the same way, from the differences of the same runs: above 0 is better, and
"not clear" says that it is no more than the deviation. The seconds are the median.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from ..data import DataError, install
from ..tasks import PRESETS
from ..tasks.language import TEXTS
from ..tasks.task import number
from .cells import HEAD, markdown, row
from .options import Parser, folder_path, preset_name
from .results import (
    Run,
    differences,
    on_any_text,
    read_result,
    read_results,
    save_results,
    uses_seed,
)


def runs_of(preset, texts, seeds):
    """All runs of a preset: on each text if it is a language model, and with each seed if that
    makes a difference."""
    return [
        Run(preset, text, seed)
        for text in (texts if on_any_text(preset) else [None])
        for seed in (seeds if uses_seed(preset, text) else [None])
    ]


def command(words, folder):
    """What begins or goes on with the run of these words, in this folder."""
    return [
        sys.executable,
        str(Path(__file__).parents[2] / "train.py"),
        *words,
        "--resume",
        "--out",
        str(folder),
    ]


def finished(run, folder):
    """The result of a run, which is begun, or goes on, if it has not finished. Raises RuntimeError
    where there is none in the end."""
    result = read_result(folder / "result.json", run.words)
    if result is not None:
        return result
    print(f"=== {run.name}: {folder}", file=sys.stderr, flush=True)
    status = subprocess.run(command(run.words, folder), stdout=sys.stderr).returncode
    if status:
        raise RuntimeError(f"{run.name} ended with status {status}")
    result = read_result(folder / "result.json", run.words)
    if result is None:
        raise RuntimeError(
            f"{run.name} has left no whole result in {folder}, or one of steps or options that "
            "were changed on the way: delete the folder to run it anew"
        )
    return result


def read_arguments(argv):
    p = Parser("python -m models.table", description=__doc__.partition("\n")[0])
    p.add_argument(
        "presets",
        nargs="*",
        type=preset_name,
        default=list(PRESETS),
        metavar="preset",
        help="those to run; all, if none is given",
    )
    p.add_argument(
        "--texts",
        nargs="+",
        metavar="TEXT",
        help="what the language models learn to write on: each as --data (default: python; with "
        "--from, those of the file)",
    )
    p.add_argument(
        "--seeds",
        nargs="+",
        type=number(int, least=0),
        default=[0, 1, 2],
        metavar="N",
        help="each run is made with each of these seeds (default: 0 1 2)",
    )
    p.add_argument(
        "--runs",
        type=folder_path,
        default=Path("runs/table"),
        metavar="FOLDER",
        help="folder of the runs (default: runs/table)",
    )
    file = p.add_mutually_exclusive_group()
    file.add_argument(
        "--save",
        type=Path,
        metavar="RESULTS",
        help="write what the runs reached to this file, beside what it holds of others",
    )
    file.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="RESULTS",
        help="print the table of this file, and run nothing",
    )
    o = p.parse_args(argv)
    for what, values in (
        ("--seeds", o.seeds),
        ("--texts", [Path(text).stem for text in o.texts or ()]),
    ):
        if len(set(values)) < len(values):
            p.error(f"two of the {what} are the same: {', '.join(map(str, values))}")
    for text in o.texts or ():
        if text not in TEXTS and Path(text).stem in TEXTS:
            p.error(f"--texts {text}: {Path(text).stem} is another text; rename the file")
    if o.source and not o.source.exists():
        p.error(f"--from {o.source}: there is no such file")
    return o


def run_all(o):
    """({run: result} of those that have finished, what is to be said of the others). Raises
    DataError, and OSError, where the file to --save to is damaged or cannot be written."""
    results, notes = {}, []
    if o.save:
        save_results(o.save, {})  # rather than after hours
    for preset in o.presets:
        if packages := PRESETS[preset].missing(preset):
            notes.append(f"{preset} is left out: {install(*packages)}")
            continue
        for run in runs_of(preset, o.texts or ["python"], o.seeds):
            try:
                results[run] = finished(run, o.runs / run.name)
            except RuntimeError as error:
                notes.append(str(error))
            else:
                if o.save:
                    save_results(o.save, {run: results[run]})
    return results, notes


def in_words(name, seeds, wanted):
    """A row of which the results of some seeds are lacking, or of all."""
    if seeds == [None] or len(seeds) == len(wanted):
        return name
    return f"{name} (seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))})"


def read_all(o):
    """The same, of those in the file --from that were asked for. Raises DataError."""
    found = {run.name: (run, result) for run, result in read_results(o.source).items()}
    unknown = [name for name, (run, _) in found.items() if run.preset not in PRESETS]
    texts = dict.fromkeys(run.text for run, _ in found.values() if run.text)
    texts = o.texts or list(texts) or ["python"]
    results, others, lacking = {}, {}, {}  # others: {(row, why): seeds}, lacking: {row: seeds}
    for run in (run for preset in o.presets for run in runs_of(preset, texts, o.seeds)):
        name, (_, result) = replace(run, seed=None).name, found.get(run.name, (None, None))
        if result is None:
            lacking.setdefault(name, []).append(run.seed)
        elif why := differences(result, run.words, () if run.text is None else ("data",)):
            others.setdefault((name, ", ".join(why)), []).append(run.seed)
        else:
            results[run] = result
    notes = [f"{name} is left out: there is no such preset" for name in unknown]
    for (name, why), seeds in others.items():
        notes.append(f"{in_words(name, seeds, o.seeds)} is left out: {why}")
    if lacking:
        rows = [in_words(name, seeds, o.seeds) for name, seeds in lacking.items()]
        notes.append(f"{o.source} has no result of {', '.join(rows)}")
    return results, notes


def main(argv=None):
    o = read_arguments(argv)
    try:
        results, notes = read_all(o) if o.source else run_all(o)
    except (DataError, OSError) as error:
        return f"models.table: {error}"
    rows = {}
    for run, result in results.items():
        rows.setdefault((run.preset, run.text), {})[run] = result
    print("\n".join([markdown([HEAD, *map(row, rows.values())]), *notes]))
    return 1 if notes and not o.source else 0
