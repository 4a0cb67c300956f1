"""The folder of a run: one process at a time works in it, and none is lost."""

import os
import tempfile
from contextlib import contextmanager

from nanoautograd.checkpoint import tidy

from .finetune import is_run
from .metrics import Metrics, require_tensorboard
from .options import OptionError

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there
    fcntl = None


def check(o):
    """Find out before the work begins that --out can be written to, and that no run is lost."""
    if (o.out / "checkpoint.json").exists() and not (o.resume or o.overwrite):
        raise FileExistsError(
            f"{o.out} holds a run already. To use what it has learnt, add --generate TEXT; to go "
            "on with it, --resume (and more --steps, if it has finished); to replace it, "
            "--overwrite; to keep it and start another, --out FOLDER"
        )
    if is_run(o.pretrained) and os.path.realpath(o.pretrained) == os.path.realpath(o.out):
        raise OptionError(
            f"the run would begin with the weights in {o.out} and be written over "
            "them; give another --out"
        )
    if o.tensorboard:
        require_tensorboard()
    tempfile.TemporaryFile(dir=o.out).close()
    if o.resume and not (o.out / "checkpoint.json").exists():
        print(f"there is no checkpoint in {o.out} yet: starting from the beginning")


def begin(o, start, save):
    """What a run keeps in its folder before its first step, or goes on with after step `start`;
    save(0) writes a checkpoint. A run that is overwritten is there until then. Returns the
    Metrics."""
    goes_on = o.resume and (o.out / "checkpoint.json").exists()
    if goes_on:
        tidy(o.out)
    else:
        (o.out / "metrics.jsonl").touch()  # beside every checkpoint
        save(0)
    if not goes_on or start < o.steps:
        (o.out / "result.json").unlink(missing_ok=True)
    events = o.out / "tensorboard" if o.tensorboard else None
    metrics = Metrics(o.out / "metrics.jsonl", start, tensorboard=events)
    if metrics.damaged:
        print(f"{metrics.damaged} damaged lines of {metrics.path} were moved to {metrics.aside}")
    return metrics


@contextmanager
def lock(folder):
    """Make the folder, and let one process at a time work in it. Raises OptionError where another
    does, or a file is in the way. The folder itself is locked: the lock ends with the process, and
    leaves no file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise OptionError(f"{folder} cannot be a folder, for a file is in the way") from None
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OptionError(
                f"a run is at work in {folder}; wait for its end, or stop it"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)
