"""The table of all models: what each reaches, beside its baseline.

    python -m models.table                      runs every preset, one after another, in some hours,
                                                and prints the table
    python -m models.table --texts python FILE  the language models on both texts
    python -m models.table rnn gpt              these presets alone

Each run goes to a folder of its own in --runs. What has finished with these options is not run
again, and what was interrupted goes on, so the command can be repeated. Presets whose data is not
installed are left out, and named with the command that installs it.
"""

import json
import math
import subprocess
import sys
from pathlib import Path

from nanoautograd.checkpoint import read_file

from ..data import install
from ..tasks import PRESETS
from .finetune import NOTHING, is_run
from .options import Parser, completed, folder_path, parse, preset_name

LONGEST = 1_000_000  # bytes of a result.json; it has a thousand
HEAD = ("task", "preset", "parameters", "score", "baseline", "published", "seconds", "command")


def on_any_text(preset):
    return PRESETS[preset].__module__.endswith(".language")


def runs(presets, texts, folder):
    """(folder of the run, preset, words of its command) of every row."""
    for preset in presets:
        if on_any_text(preset):
            for text in texts:
                words = [preset] if text == "python" else [preset, "--data", text]
                yield folder / f"{preset}-{Path(text).stem}", preset, words
        else:
            yield folder / preset, preset, [preset]


def doubt(result):
    """What is to be said beside the score of a result, in a few words; "" where there is nothing:
    of what is held out, the share that the weights it began with had read before."""
    share = result.get("seen")  # None in those of older versions, too
    if share is None and is_run(result["options"].get("pretrained", NOTHING)):
        return " (whether seen before is not known)"
    return f" ({share:.2%} of what is held out seen before)" if share else ""


def row(run, result, preset, words):
    """The cells of a finished run."""
    task, (what, score) = PRESETS[preset], result["baseline"]
    about = task.about + (f" ({run.partition('-')[2]})" if on_any_text(preset) else "")
    metric, seconds = result["metric"], result["seconds"]
    return (
        about,
        preset,
        f"{result['parameters']:,}",
        f"{metric} **{result['scores'][metric]:.4g}**{doubt(result)}",
        f"{score:.4g} ({what})",
        task.published.get(run, ""),
        "resumed" if seconds is None else f"{seconds:,}",
        f"`python train.py {' '.join(words)}`",
    )


def steps_of(result, wanted):
    """How many steps a run of these options takes: fewer than were asked for only where it has
    waited for a better score as long as --patience says."""
    best = result.get("best") or {"waited": 0}
    if 0 < wanted.patience <= best["waited"]:
        return min(result["to_step"], wanted.steps)
    return wanted.steps


def read_result(path, words):
    """The content of the result.json that the run of these words has written; None where it has
    not: there is none, or it is damaged, of other options or other steps than were taken, or has
    scores that are no numbers."""
    if not path.exists():
        return None
    wanted, _ = parse(words)
    try:
        result = json.loads(read_file(path, LONGEST))
        metric, (what, score) = result["metric"], result["baseline"]
        numbers = [result["scores"][metric], score, result["parameters"]]
        if result["seconds"] is not None:
            numbers.append(result["seconds"])
        is_whole = (
            completed(result["options"], vars(wanted)).items() <= vars(wanted).items()
            and result.get("to_step", wanted.steps) == steps_of(result, wanted)
            and not result.get("changed")  # its options, on the way
            and metric == PRESETS[wanted.preset].metric
            and isinstance(what, str)
            and all(type(n) in (int, float) and math.isfinite(n) for n in numbers)
            and (result.get("seen") is None or 0 <= result["seen"] <= 1)
        )
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    return result if is_whole else None


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


def markdown(rows):
    """A table, its head first, of tuples of strings."""
    head, *others = [[cell.replace("|", "\\|") for cell in cells] for cells in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *others])


def main(argv=None):
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
        default=["python"],
        metavar="TEXT",
        help="what the language models learn to write on: each as --data (default: python)",
    )
    p.add_argument(
        "--runs",
        type=folder_path,
        default=Path("runs/table"),
        metavar="FOLDER",
        help="folder of the runs (default: runs/table)",
    )
    o = p.parse_args(argv)
    names = [Path(text).stem for text in o.texts]
    if len(set(names)) < len(names):
        p.error(f"two of the --texts have the same name: {', '.join(names)}")
    rows, missing, failed = [HEAD], [], []
    for folder, preset, words in runs(o.presets, o.texts, o.runs):
        if packages := PRESETS[preset].missing(preset):
            missing.append(f"{preset} is left out: {install(*packages)}")
            continue
        result = read_result(folder / "result.json", words)
        if result is None:
            print(f"=== {preset}: {folder}", file=sys.stderr, flush=True)
            status = subprocess.run(command(words, folder), stdout=sys.stderr).returncode
            if status:
                failed.append(f"{preset} ended with status {status}")
                continue
            result = read_result(folder / "result.json", words)
            if result is None:
                failed.append(
                    f"{preset} has left no whole result in {folder}, or one of steps or options "
                    "that were changed on the way: delete the folder to run it anew"
                )
                continue
        if len(words) > 1 and Path(words[-1]).exists():  # a file on this machine
            words = [*words[:-1], "FILE"]
        rows.append(row(folder.name, result, preset, words))
    print(markdown(rows))
    print(*missing, *failed, sep="\n")
    return 1 if failed else 0
