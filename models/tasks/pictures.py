"""Pictures that several tasks draw: figures that belong to their caller alone. (Those of pyplot are
kept in a global list, and may open windows.)"""

import numpy as np


def figure(width, height, rows=1, columns=1):
    """A figure of this many inches, and its axes in a flat array."""
    from matplotlib.figure import Figure
    fig = Figure(figsize=(width, height), dpi=120, layout="constrained")
    return fig, fig.subplots(rows, columns, squeeze=False).ravel()


def draw_table(values, rows, columns, title, colours, limits):
    """A figure of a table of numbers as colours, between these limits, with the numbers in it.
    What rounds to 0 is not written, and what is not finite not drawn."""
    side = 2.5 + 0.5 * len(columns)
    fig, (ax,) = figure(side + 1.5, side)
    ax.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1])
    decimals = 0 if limits[1] > 10 else 1
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value) and round(value, decimals):
            ax.text(j, i, f"{value:.{decimals}f}", ha="center", va="center", fontsize=9,
                    color="white" if abs(value) > 0.6 * limits[1] else "black")
    ax.set_xticks(range(len(columns)), columns, rotation=90)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_title(title)
    ax.spines[:].set_visible(False)
    return fig


def draw_confusion(names, truth, predicted, things):
    """A figure of how often each class (a row) was taken for which (a column), as shares of the
    row. names: of the C classes. truth, predicted: integers (n,) below C. things: what n counts."""
    C = len(names)
    counts = np.bincount(np.asarray(truth) * C + predicted, minlength=C * C).reshape(C, C)
    totals = counts.sum(axis=1)
    fig = draw_table(100 * counts / np.maximum(1, totals)[:, None],
                     [f"{name} ({n:,})" for name, n in zip(names, totals)], names,
                     f"{np.trace(counts) / len(truth):.1%} of {len(truth):,} {things} right",
                     "Blues", (0, 100))
    fig.axes[0].set(xlabel="predicted (% of the row)", ylabel=f"truth ({things})")
    return fig
