"""The table of all models: what each reaches, beside what it has to beat.

    python -m models.table                      runs every preset, one after another, in some hours,
                                                and prints the table
    python -m models.table --texts python FILE  the language models on both texts
    python -m models.table rnn gpt              these presets alone

Each run goes to a folder of its own in --runs. What has finished with these options is not run
again, and what was interrupted goes on, so the command can be repeated. Presets whose data is not
installed are left out, and named with the command that installs it.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from nanoautograd.data import install

from .run import parse
from .tasks import PRESETS

HEAD = ("task", "preset", "parameters", "score", "to beat", "published", "seconds", "command")


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


def row(run, result, preset, words):
    """The cells of a finished run."""
    task, (what, score) = PRESETS[preset], result["baseline"]
    about = task.about + (f" ({run.partition('-')[2]})" if on_any_text(preset) else "")
    metric, seconds = result["metric"], result["seconds"]
    return (
        about,
        preset,
        f"{result['parameters']:,}",
        f"{metric} **{result['scores'][metric]:.4g}**",
        f"{score:.4g} ({what})",
        task.published.get(run, ""),
        "resumed" if seconds is None else f"{seconds:,}",
        f"`python train.py {' '.join(words)}`",
    )


def finished(result, words):
    """Whether the run of this command has a result already, whole and not one of other options."""
    if not result.exists():
        return False
    wanted, _ = parse(words)
    try:
        return json.loads(result.read_text())["options"].items() <= vars(wanted).items()
    except (ValueError, LookupError, TypeError, AttributeError):
        return False


def command(words, folder):
    """What begins or goes on with the run of these words, in this folder."""
    return [
        sys.executable,
        str(Path(__file__).parents[1] / "train.py"),
        *words,
        "--resume",
        "--out",
        str(folder),
    ]


def markdown(rows):
    """A table, its head first, of tuples of strings."""
    head, *others = [[cell.replace("|", "\\|") for cell in cells] for cells in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *others])


def main():
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument(
        "presets",
        nargs="*",
        default=list(PRESETS),
        metavar="preset",
        help="those to run; all, if none is given",
    )
    p.add_argument("--texts", nargs="+", default=["python"], help="for the language models")
    p.add_argument("--runs", type=Path, default=Path("runs/table"), help="folder of the runs")
    o = p.parse_args()
    unknown = [preset for preset in o.presets if preset not in PRESETS]
    if unknown:
        p.error(f"there is no preset {unknown[0]!r}; there are {', '.join(PRESETS)}")
    names = [Path(text).stem for text in o.texts]
    if len(set(names)) < len(names):
        p.error(f"two of the --texts have the same name: {', '.join(names)}")
    rows, missing, failed = [HEAD], [], []
    for folder, preset, words in runs(o.presets, o.texts, o.runs):
        if packages := PRESETS[preset].missing(preset):
            missing.append(f"{preset} is left out: {install(*packages)}")
            continue
        result = folder / "result.json"
        if not finished(result, words):
            print(f"=== {preset}: {folder}", file=sys.stderr, flush=True)
            status = subprocess.run(command(words, folder), stdout=sys.stderr).returncode
            if status:
                failed.append(f"{preset} ended with status {status}")
                continue
        if len(words) > 1 and Path(words[-1]).exists():  # a file on this machine
            words = [*words[:-1], "FILE"]
        rows.append(row(folder.name, json.loads(result.read_text()), preset, words))
    print(markdown(rows))
    print(*missing, *failed, sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
