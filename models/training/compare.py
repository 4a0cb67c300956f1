"""Which of several settings is best: tables, words and pictures of the scores of repeated runs.

With n scores s_i of a setting, one a fold of cross-validation or a seed,

    mean = Σ_i s_i / n,    standard error = √(Σ_i (s_i - mean)² / (n (n - 1))).

All settings are judged by the same folds, some of which are harder than others. So two settings are
compared by the n differences between their scores: they are called different where the mean of the
differences is more than twice its standard error. That is too sure of itself, for the training sets
of folds overlap (Dietterich 1998); and from few scores the error itself is not known well.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from .pictures import figure

CLEAR = 2.0  # standard errors that make a difference


@dataclass
class Setting:
    """Some values of options, and what its runs have reached.

    values: {option: as typed}. words: the preset and all options, for train.py. scores: of the runs
    that have finished, one a fold and seed, always in the same order. baselines: the
    scores of their baselines. seconds: of those that were not interrupted. failures: why the others
    have failed. doubts: what is to be said beside their scores, each thing once.
    """

    values: dict
    words: list
    scores: list = field(default_factory=list)
    baselines: list = field(default_factory=list)
    seconds: list = field(default_factory=list)
    failures: list = field(default_factory=list)
    doubts: list = field(default_factory=list)

    @property
    def mean(self):
        return mean(self.scores)

    @property
    def error(self):
        return standard_error(self.scores)

    def __str__(self):
        return ", ".join(f"{name} {value}" for name, value in self.values.items())


def mean(x):
    """NaN where there is nothing."""
    return float(np.mean(x)) if len(x) else math.nan


def standard_error(x):
    """Of the mean of x; NaN for fewer than two values."""
    return float(np.std(x, ddof=1) / math.sqrt(len(x))) if len(x) > 1 else math.nan


def rank(settings, larger_is_better):
    """From best to worst; behind all others those of which a run has failed, and in front of these
    those whose mean is no finite number."""
    sign = -1.0 if larger_is_better else 1.0

    def place(s):
        is_known = math.isfinite(s.mean)
        return len(s.failures), not is_known, sign * s.mean if is_known else 0.0

    return sorted(settings, key=place)


def tied(a, b):
    """Whether the scores of two settings, of the same folds and seeds, do not differ clearly."""
    d = np.subtract(a.scores, b.scores)
    return abs(mean(d)) <= CLEAR * standard_error(d)


def verdict(settings):
    """Whether the first of the ranked settings is better than the others, in words."""
    best, others = settings[0], [s for s in settings[1:] if not s.failures]
    if not others:
        return "There is nothing to compare it with."
    if len(best.scores) < 2:
        return (
            "One run each: how much of the differences is chance cannot be told; --folds or "
            "--repeat would show it."
        )
    near = [i for i, s in enumerate(others, start=2) if tied(best, s)]
    if not near:
        return (
            f"Number 1 differs from every other by more than {CLEAR:g} standard errors of the "
            "difference."
        )
    return (
        f"Numbers {', '.join(map(str, [1, *near[:-1]]))} and {near[-1]} cannot be told apart: "
        f"the scores of 1 differ from theirs by no more than {CLEAR:g} standard errors of the "
        "difference, in the mean over the same runs."
    )


def rows(settings, metric):
    """The table of the ranked settings, its head first: tuples of strings."""
    table = [("", *settings[0].values, metric, "of each run", "baseline", "seconds")]
    for i, s in enumerate(settings, start=1):
        error = f" ± {s.error:.2g}" if len(s.scores) > 1 else ""
        why = f"{len(s.failures)} failed: {s.failures[0]}" if s.failures else ""
        table.append(
            (
                str(i),
                *s.values.values(),
                why or f"**{s.mean:.4g}**{error}{''.join(s.doubts)}",
                " ".join(f"{score:.4g}" for score in s.scores),
                f"{mean(s.baselines):.4g}" if s.baselines else "",
                f"{mean(s.seconds):.0f}" if s.seconds else "resumed" * bool(s.scores),
            )
        )
    return table


# --------------------------------------------------------------------------------------- pictures


def draw(settings, grid, metric, larger_is_better):
    """A figure of the mean scores, without what has failed. grid: {option: its values}. Of two
    options a map; else a panel for each: one option with its standard errors and, in grey, all
    scores; of more, in grey, the means of all settings, and their mean for each value."""
    settings = [s for s in settings if not s.failures]
    if len(grid) == 2:
        return draw_map(settings, grid, metric, larger_is_better)
    columns = min(3, len(grid))
    count = -(-len(grid) // columns)  # of rows
    fig, axes = figure(max(5.5, 4.0 * columns), 4.0 * count, count, columns)
    for ax in axes[len(grid) :]:
        ax.remove()
    for i, (ax, (name, values)) in enumerate(zip(axes, grid.items())):
        for x, value in enumerate(values):
            found = [s for s in settings if s.values[name] == value]
            grey = [y for s in found for y in (s.scores if len(grid) == 1 else [s.mean])]
            ax.plot([x] * len(grey), grey, "o", color="0.65", markersize=4)
            error = found[0].error if len(grid) == 1 and found else math.nan
            ax.errorbar(
                x,
                mean([s.mean for s in found]),
                error if error >= 0 else None,
                fmt="o",
                color="tab:blue",
                capsize=6,
            )
        means = [mean([s.mean for s in settings if s.values[name] == value]) for value in values]
        ax.plot(range(len(values)), means, color="tab:blue")
        ax.set(xlabel=name, xlim=(-0.5, len(values) - 0.5), ylabel=metric * (i % columns == 0))
        ax.set_xticks(range(len(values)), values, rotation=30 * (len("".join(values)) > 30))
        ax.grid(axis="y", color="0.9")
        ax.spines[["top", "right"]].set_visible(False)
    fig.suptitle(
        "blue: mean ± standard error; grey: each run"
        if len(grid) == 1
        else "grey: mean of each setting; blue: mean of these",
        fontsize=10,
    )
    return fig


def draw_map(settings, grid, metric, larger_is_better):
    """Means and standard errors for each pair of values of two options; the darker, the better."""
    (down, rows), (across, columns) = grid.items()
    means = np.full((len(rows), len(columns)), np.nan)
    fig, (ax,) = figure(2.5 + 1.2 * len(columns), 1.8 + 0.9 * len(rows))
    for s in settings:
        means[rows.index(s.values[down]), columns.index(s.values[across])] = s.mean
    best, worst = (
        f(means) for f in ((np.nanmax, np.nanmin) if larger_is_better else (np.nanmin, np.nanmax))
    )
    darkness = (means - worst) / ((best - worst) or 1.0)  # from 0 to 1
    ax.imshow(darkness, cmap="Blues", vmin=-0.2, vmax=1.2, aspect="auto")
    for s in settings:
        i, j = rows.index(s.values[down]), columns.index(s.values[across])
        error = f"\n± {s.error:.2g}" if len(s.scores) > 1 else ""
        ax.text(
            j,
            i,
            f"{s.mean:.4g}{error}",
            ha="center",
            va="center",
            color="white" if darkness[i, j] > 0.6 else "black",
        )
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.set(xlabel=across, ylabel=down, title=metric)
    ax.spines[:].set_visible(False)
    return fig
