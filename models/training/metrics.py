"""What is noted down during training: a file of JSON lines, event files for TensorBoard, and a
picture."""

import json
import math
import os
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np

from nanoautograd.checkpoint import naming, read_file, write_whole

matplotlib.use("Agg")  # pictures go to files, not to a screen


class Metrics:
    """A file with one JSON object a line, each with a "step".

    When a run is resumed after step `step`, the lines up to it stay; those after it are dropped,
    for they will come again. So the file of a run that was killed is that of one that was not.
    Lines that were damaged are not dropped but moved to the file `aside`; `damaged` counts them.
    With a folder `tensorboard` all goes into event files there too, by the package tensorboardX
    (ImportError where it is missing).
    """

    def __init__(self, path, step=0, tensorboard=None):
        self.events = _event_files(tensorboard, step) if tensorboard else None
        self.path, self.aside = Path(path), Path(f"{path}.damaged")
        found = read_file(self.path).splitlines(True) if self.path.exists() else []
        lines = found[:] if step else []
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()  # the run was killed while it wrote this
        steps = [_step(line) for line in lines]
        damaged = [line for line, s in zip(lines, steps) if s is None]
        self.damaged = len(damaged)
        if damaged:
            with naming(self.aside), open(self.aside, "ab") as file:
                file.writelines(damaged)
        kept = [line for line, s in zip(lines, steps) if s is not None and s <= step]
        if kept != found:
            write_whole(self.path, b"".join(kept))
        self.file = open(self.path, "a")

    def note(self, step, **values):
        """Add a line of finite numbers."""
        with naming(self.path):
            self.file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items() if self.events else ():
            self.events.add_scalar(name.replace("validation_", "validation/"), value, step)

    def sync(self):
        """Bring all lines to the disk: before a checkpoint, which relies on them."""
        with naming(self.path):
            self.file.flush()
            os.fsync(self.file.fileno())
        if self.events:
            self.events.flush()

    def close(self):
        with naming(self.path):
            self.file.close()
        if self.events:
            self.events.close()


def require_tensorboard():
    """The package `tensorboardX`. Raises ImportError, with what to do, where it is missing."""
    try:
        import tensorboardX
    except ImportError:
        raise ImportError(
            "event files for TensorBoard need the package tensorboardX: pip install tensorboardX"
        ) from None
    return tensorboardX


def _event_files(folder, step):
    # What came after `step` will come again. Names alone differ by the second, and by the step.
    return require_tensorboard().SummaryWriter(
        str(folder), purge_step=step + 1, filename_suffix=f".{step}"
    )


def _step(line):
    """The step of a line, None where it is not one that `note` writes."""
    try:
        m = json.loads(line)
        return m["step"] if all(map(math.isfinite, m.values())) else None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return None


def draw_curves(path, png, title, metric="loss", baseline=None):
    """Draw the losses of a metrics file over the steps into a PNG, and beside them the score
    `metric`, if it is another, with a line where the score `baseline` is. Returns `png`."""
    from matplotlib import pyplot as plt

    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    training = np.array([(m["step"], m["loss"]) for m in lines if "loss" in m])
    panels = 1 if metric == "loss" else 2
    fig, axes = plt.subplots(
        1, panels, figsize=(7 * panels, 5), dpi=120, layout="constrained", squeeze=False
    )
    ax = axes[0, 0]
    if len(training):
        steps, losses = training.T
        window = max(1, len(losses) // 50)
        mean = np.ones(window) / window
        ax.plot(steps, losses, color="tab:blue", alpha=0.25, linewidth=0.8)
        ax.plot(
            np.convolve(steps, mean, "valid"),
            np.convolve(losses, mean, "valid"),
            color="tab:blue",
            label=f"training, mean of {window} steps",
        )
        seen = [m["validation_loss"] for m in lines if "validation_loss" in m]
        low = np.min([losses.min(), *seen])
        high = np.max([np.percentile(losses, 98), *seen[-1:]])  # the curve, more than its fall
        ax.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low) + 1e-9)
    for ax, name in zip(axes[0], ("loss", metric)):
        points = [(m["step"], m[f"validation_{name}"]) for m in lines if f"validation_{name}" in m]
        if points:
            ax.plot(*zip(*points), "o-", color="tab:orange", markersize=4, label="validation")
            ax.annotate(
                f"{points[-1][1]:.4g}",
                points[-1],
                xytext=(0, 8),
                ha="right",
                textcoords="offset points",
                color="tab:orange",
            )
        if name != "loss":
            ax.margins(y=0.1)  # room for the number above
            if baseline is not None:
                ax.axhline(baseline, color="0.5", linestyle="--", label="baseline")
        ax.set(xlabel="step", ylabel=name)
        ax.grid(alpha=0.3)
        if ax.lines:
            ax.legend()
    fig.suptitle(title)
    save_figure(fig, png)
    plt.close(fig)
    return png


def save_figure(figure, path, **options):
    """Draw a figure of matplotlib into a file, whole: what was there before stays until then."""
    picture = BytesIO()
    figure.savefig(picture, format=Path(path).suffix.removeprefix("."), **options)
    write_whole(path, picture.getvalue())
