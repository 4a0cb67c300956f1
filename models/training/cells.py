"""The table of models: from the results of runs to cells.

A row is of one preset, on one text, and its results are those of several seeds. What differs by the
seed is given as its mean ± the standard deviation of a sample. A model and its baseline are
compared by the differences of the same runs, for some seeds hold out what is harder than others do.
"""

from statistics import mean, median, stdev

from ..tasks import PRESETS
from ..tasks.language import TEXTS
from .finetune import NOTHING, is_run

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


def doubt(result):
    """What is to be said beside the score of a result, in a few words; "" where there is nothing:
    of what is held out, the share that the weights it began with had read before."""
    share = result.get("seen")  # None in those of older versions, too
    if share is None and is_run(result["options"].get("pretrained", NOTHING)):
        return " (whether seen before is not known)"
    return f" ({share:.2%} of what is held out seen before)" if share else ""


def deviation(values):
    """Of a sample; 0 of one number, and of numbers that rounding alone tells apart."""
    found = stdev(values) if len(values) > 1 else 0
    return found if found > 1e-6 * abs(mean(values)) else 0


def spread(values):
    """The mean of some numbers ± their deviation, both to the second digit of that; the mean alone,
    to four digits, where there is none."""
    found = deviation(values)
    if not found:
        return f"{mean(values):.4g}"
    decimals = 1 - int(f"{found:.1e}".partition("e")[2])
    return " ± ".join(f"{round(x, decimals):.{max(decimals, 0)}f}" for x in (mean(values), found))


def comparison(gains, seed):
    """What a model is better by than its baseline, in runs of several seeds, and whether that is
    clear. seed: of one of the runs, None where they have none."""
    if mean(gains) <= deviation(gains):
        return f"{spread(gains)} (not clear)"
    return spread(gains) + " (one seed)" * (len(gains) == 1 and seed is not None)


def row(results):
    """The cells of the runs of a row: {run: result}."""
    run, first = next(iter(results.items()))
    task, text, found = PRESETS[run.preset], run.text, results.values()
    sizes = [result["parameters"] for result in found]
    names, baselines = zip(*(result["baseline"] for result in found))
    what = names[0] if len(set(names)) == 1 else f"with seed {run.seed}: {names[0]}"
    scores = [result["scores"][task.metric] for result in found]
    sign = 1 if task.larger_is_better else -1
    gains = [sign * (ours - theirs) for ours, theirs in zip(scores, baselines)]
    doubts = "".join(dict.fromkeys(map(doubt, found)))
    seconds = [result["seconds"] for result in found if result["seconds"] is not None]
    words = [run.preset, *(["--data", text if text in TEXTS else "FILE"] if text else [])]
    if text == "python":  # which is read without being asked for
        del words[1:]
    return (
        task.about + (f" ({text})" if text else ""),
        run.preset,
        " to ".join(f"{n:,}" for n in sorted({min(sizes), max(sizes)})),
        f"{task.metric} **{spread(scores)}**{doubts}",
        f"{spread(baselines)} ({what})",
        comparison(gains, run.seed),
        task.published.get(f"{run.preset}-{text}" if text else run.preset, ""),
        f"{median(seconds):,.0f}" if seconds else "resumed",
        f"`python train.py {' '.join(words)}`",
    )


def markdown(rows):
    """A table, its head first, of tuples of strings."""
    head, *others = [[cell.replace("|", "\\|") for cell in cells] for cells in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *others])
