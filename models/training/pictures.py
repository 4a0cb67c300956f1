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
            ax.text(
                j,
                i,
                f"{value:.{decimals}f}",
                ha="center",
                va="center",
                fontsize=9,
                color="white" if abs(value) > 0.6 * limits[1] else "black",
            )
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
    fig = draw_table(
        100 * counts / np.maximum(1, totals)[:, None],
        [f"{name} ({n:,})" for name, n in zip(names, totals)],
        names,
        f"{np.trace(counts) / len(truth):.1%} of {len(truth):,} {things} right",
        "Blues",
        (0, 100),
    )
    fig.axes[0].set(xlabel="predicted (% of the row)", ylabel=f"truth ({things})")
    return fig


def draw_attention(panels, symbol, target, columns=3, cell=0.2):
    """A figure with two pictures for each text, one below the other: where the decoder looks as it
    writes, and where each symbol of the text looks in the text. panels: (title, S symbols of the
    text, T of the target, α (S, S), β (T, S)), symbols being strings or the characters of one.
    symbol: what one is, "character"; target: what is written, "the ISO date"; for the legend."""
    from matplotlib.figure import Figure

    S, T = (max(len(panel[i]) for panel in panels) for i in (1, 2))
    letters = max(len(s) for panel in panels for s in (*panel[1], *panel[2]))  # of the longest
    margin = (letters + 2) * cell / 2 if letters > 1 else 2 * cell  # for symbols beside a side
    wide, high = S * cell + 2 * cell + margin, (T + S + 3) * cell + 2 * margin  # of one text
    size = columns * wide + cell, -(-len(panels) // columns) * high + 6 * cell  # in inches
    fig = Figure(figsize=size, dpi=120)
    for i, (title, text, answer, alpha, beta) in enumerate(panels):
        row, column = divmod(i, columns)
        left, top = column * wide + cell + margin, size[1] - row * high - 5 * cell - margin
        fig.text(left / size[0], (top + margin) / size[1], title, fontsize=13)
        for weights, down, colours in ((beta, answer, "Blues"), (alpha, text, "Oranges")):
            width, height = len(text) * cell, len(down) * cell
            ax = fig.add_axes(
                [left / size[0], (top - height) / size[1], width / size[0], height / size[1]]
            )
            ax.imshow(weights, cmap=colours, vmin=0.0, vmax=1.0, aspect="auto")
            across, down = ([s.replace(" ", "\u2423") for s in side] for side in (text, down))
            ax.set_xticks(range(len(across)), across, rotation=90 if letters > 1 else 0)
            ax.set_yticks(range(len(down)), down)
            ax.set_xticks(np.arange(len(across) + 1) - 0.5, minor=True)
            ax.set_yticks(np.arange(len(down) + 1) - 0.5, minor=True)
            ax.grid(which="minor", color="0.92", linewidth=0.6)
            ax.tick_params(which="both", length=0, top=True, labeltop=True, labelbottom=False)
            ax.spines[:].set_color("0.75")
            top -= height + margin
    for y, colour, text in (
        (
            1.8,
            "tab:blue",
            f"Blue: where the decoder looks as it writes each {symbol} (down) of {target}",
        ),
        (
            3.4,
            "tab:orange",
            f"Orange: where each {symbol} of the text (down) looks in the text: self-attention",
        ),
    ):
        fig.text(0.5, 1 - y * cell / size[1], text, ha="center", fontsize=14, color=colour)
    return fig
