"""The table of all models: what each reaches over several seeds, beside its baseline.

    python -m models.table                      runs every preset with each seed, one after another,
                                                in many hours, and prints the table
    python -m models.table --texts python FILE  the language models on both texts
    python -m models.table rnn gpt              these presets alone
    python -m models.table --save RESULTS       and writes what they reached to a file
    python -m models.table --from RESULTS       prints the table of such a file, and runs nothing

Each run goes to a folder of its own in --runs. What has finished with these options is not run
again, and what was interrupted goes on, so the command can be repeated. Presets whose data is not
installed are left out, and named with the command that installs it.

A score is the mean over the seeds ± their standard deviation. "better by" is what it is better than
its baseline by, in the same way, from the differences of the same runs.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import mean, median, stdev

from ..data import install
from ..tasks import PRESETS
from ..tasks.language import TEXTS
from ..tasks.task import number
from .finetune import NOTHING, is_run
from .options import Parser, folder_path, preset_name
from .results import Run, learns, on_any_text, read_result, save_results, up_to_date

HEAD = (
    "task",
    "preset",
    "parameters",
    "score",
    "baseline",
    "better by",
    "published",
    "seconds",
    "command",
)


def runs_of(preset, texts, seeds):
    """All runs of a preset: on each text if it is a language model, and with each seed."""
    texts, seeds = texts if on_any_text(preset) else [None], seeds if learns(preset) else [None]
    return [Run(preset, text, seed) for text in texts for seed in seeds]


def doubt(result):
    """What is to be said beside the score of a result, in a few words; "" where there is nothing:
    of what is held out, the share that the weights it began with had read before."""
    share = result.get("seen")  # None in those of older versions, too
    if share is None and is_run(result["options"].get("pretrained", NOTHING)):
        return " (whether seen before is not known)"
    return f" ({share:.2%} of what is held out seen before)" if share else ""


def spread(values):
    """The mean of some numbers, and their standard deviation, to two digits of it."""
    if len(set(values)) == 1:
        return f"{values[0]:.4g}"
    deviation = f"{stdev(values):#.2g}".removesuffix(".")
    decimals = len(deviation.partition("e")[0].partition(".")[2])
    return f"{mean(values):.{decimals}f} ± {deviation}"


def row(results):
    """The cells of the runs of a row that have finished: {run: result}."""
    run, first = next(iter(results.items()))
    task, text, (what, _) = PRESETS[run.preset], run.text, first["baseline"]
    scores = [result["scores"][task.metric] for result in results.values()]
    baselines = [result["baseline"][1] for result in results.values()]
    sign = 1 if task.larger_is_better else -1
    gains = [sign * (ours - theirs) for ours, theirs in zip(scores, baselines)]
    is_clear = mean(gains) > (stdev(gains) if len(gains) > 1 else 0)
    seconds = [result["seconds"] for result in results.values() if result["seconds"] is not None]
    words = [run.preset, *(["--data", text if text in TEXTS else "FILE"] if text else [])]
    if text == "python":  # which is read without being asked for
        del words[1:]
    return (
        task.about + (f" ({text})" if text else ""),
        run.preset,
        f"{first['parameters']:,}",
        f"{task.metric} **{spread(scores)}**{doubt(first)}",
        f"{spread(baselines)} ({what})",
        spread(gains) + ("" if is_clear else " (not clear)"),
        task.published.get(f"{run.preset}-{text}" if text else run.preset, ""),
        f"{median(seconds):,.0f}" if seconds else "resumed",
        f"`python train.py {' '.join(words)}`",
    )


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


def markdown(rows):
    """A table, its head first, of tuples of strings."""
    head, *others = [[cell.replace("|", "\\|") for cell in cells] for cells in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *others])


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
    if o.source and not o.source.exists():
        p.error(f"--from {o.source}: there is no such file")
    return o


def run_all(o):
    """({run: result} of those that have finished, what is to be said of the others)."""
    results, notes = {}, []
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
    """The same, of those in the file --from that were asked for."""
    found, notes = up_to_date(o.source)
    texts = o.texts or list(dict.fromkeys(run.text for run in found if run.text))
    wanted = [run for preset in o.presets for run in runs_of(preset, texts, o.seeds)]
    named = {run.name: result for run, result in found.items()}
    lacking = {}  # {row: seeds}
    for run in wanted:
        if run.name not in named:
            lacking.setdefault(replace(run, seed=None).name, []).append(run.seed)
    if lacking:
        rows = [in_words(name, seeds, o.seeds) for name, seeds in lacking.items()]
        notes.append(f"{o.source} has no result of {', '.join(rows)}")
    return {run: named[run.name] for run in wanted if run.name in named}, notes


def main(argv=None):
    o = read_arguments(argv)
    results, notes = read_all(o) if o.source else run_all(o)
    rows = {}
    for run, result in results.items():
        rows.setdefault((run.preset, run.text), {})[run] = result
    print(markdown([HEAD, *map(row, rows.values())]))
    print(*notes, sep="\n")
    return 1 if notes and not o.source else 0
