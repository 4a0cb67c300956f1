"""A disk that fails, or a kill, at the n-th call to the operating system, for every n: a run begun,
overwritten or resumed is afterwards the old one or the new one, and goes on to the same end."""

import builtins
import errno
import io
import json
import os
import shutil
from itertools import count
from pathlib import Path

import pytest

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")

import train  # noqa: E402
from models.tasks.language import Language  # noqa: E402
from nanoautograd.checkpoint import load_checkpoint, write_whole  # noqa: E402

CALLS = ["open", "fsync", "replace", "rename", "unlink", "remove", "mkdir", "rmdir", "truncate"]


class Killed(BaseException):
    """Stands for SIGKILL: nothing that comes after it reaches the disk."""


class Disk:
    """Within it the n-th call that concerns a folder raises an error; after a kill, all later ones
    too. `calls` counts them."""

    def __init__(self, folder, n, error):
        self.folder, self.n, self.error, self.calls = str(folder), n, error, 0

    def fail(self, *path):
        """Count a call, and raise where it is the one. path: as the system tells it, if the call
        has one and no open file."""
        self.calls += 1
        if self.calls == self.n or self.calls > self.n and self.error is Killed:
            if self.error is Killed:
                raise Killed
            raise OSError(self.error, os.strerror(self.error), *path)

    def concerns(self, path):
        return isinstance(path, int) or os.path.abspath(path).startswith(self.folder)

    def __enter__(self):
        self.patch = pytest.MonkeyPatch()
        for name in CALLS:
            self.patch.setattr(os, name, self.failing(getattr(os, name)))
        opened = self.opening(open)
        self.patch.setattr(builtins, "open", opened)
        self.patch.setattr(io, "open", opened)  # pathlib's
        return self

    def __exit__(self, *_):
        self.patch.undo()

    def failing(self, function):
        def call(path, *args, **kwargs):
            if self.concerns(path):
                self.fail(*[path] * (not isinstance(path, int)))
            return function(path, *args, **kwargs)

        return call

    def opening(self, function):
        def call(path, mode="r", *args, **kwargs):
            if isinstance(path, int) or not self.concerns(path):
                return function(path, mode, *args, **kwargs)
            self.fail(path)
            file = function(path, mode, *args, **kwargs)
            return file if mode in ("r", "rb") else File(file, self)

        return call


class File:
    """A file to write to, of a Disk; what fails has written the first half."""

    def __init__(self, file, disk):
        self.file, self.disk = file, disk

    def write(self, data):
        try:
            self.disk.fail()
        except BaseException:
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            raise
        return self.file.write(data)

    def flush(self):
        self.disk.fail()
        self.file.flush()

    def fileno(self):
        return self.file.fileno()

    def close(self):
        self.file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "file"
    for error in errno.ENOSPC, errno.EIO, Killed:
        seen = []
        for n in count(1):
            path.write_bytes(b"old")
            with Disk(tmp_path, n, error) as disk:
                try:
                    write_whole(path, b"the new content")
                except OSError as e:
                    assert str(tmp_path) in str(e)
                except Killed:
                    pass
            seen.append(path.read_bytes())
            write_whole(path, b"again")
            assert os.listdir(tmp_path) == ["file"]
            if disk.calls < n:
                break
        assert set(seen) == {b"old", b"the new content"} and seen == sorted(seen)


# ---- a run of train.py


@pytest.fixture
def words(tmp_path, monkeypatch):
    """The command of a tiny run, in which little but its folder takes time."""
    monkeypatch.setattr(Language, "baseline", lambda self: ("nothing", 1.0))
    monkeypatch.setattr(Language, "show", lambda self, model, out: [])
    monkeypatch.setattr("models.training.evaluation.draw_curves", lambda *args: [])
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # the disk need not be real
    (tmp_path / "text.txt").write_text("abcd" * 100)
    sizes = "--hidden 4 --embedding 4 --batch 2 --block-size 8"
    loop = "--warmup 0 --steps 2 --evaluate-every 2 --threads 1"
    return ["--data", str(tmp_path / "text.txt"), *f"{sizes} {loop}".split()]


def made(folder):
    """All that a run has made: its arrays and step, its metrics, scores and options."""
    document = json.loads((folder / "checkpoint.json").read_text())
    result = json.loads((folder / "result.json").read_text())
    return (
        document["sha256"],
        document["state"],
        (folder / "metrics.jsonl").read_text(),
        {name: value for name, value in result.items() if name != "seconds"},
    )


BEFORE = {  # what there is before; then a run of seed 1 is begun there, or gone on with
    "nothing": (None, []),
    "another run": (["--seed", "2"], ["--overwrite"]),
    "its beginning": (["--seed", "1"], ["--resume"]),
}


@pytest.mark.parametrize("error", [errno.ENOSPC, Killed])
@pytest.mark.parametrize("before", BEFORE)
def test_a_run_is_the_old_or_the_new_one_and_goes_on(words, tmp_path, capsys, before, error):
    first, options = BEFORE[before]
    new = [*words, "--seed", "1", *options]
    template, folder, straight = tmp_path / "template", tmp_path / "run", tmp_path / "straight"
    ends = {}  # seed: what a run that nothing disturbs makes
    if first:
        assert train.main([*words, *first, "--out", str(template)]) is None
        ends[int(first[1])] = made(template)
    if before == "its beginning":
        stop_after(1, [*words, *first, "--out", str(template), "--overwrite"])
    assert train.main([*new[: -len(options) or None], "--out", str(straight)]) is None
    ends[1] = made(straight)
    seen = []  # what each n has left: the seed and the step of the run, None for no run
    for n in count(1):
        shutil.rmtree(folder, ignore_errors=True)
        if first:
            shutil.copytree(template, folder)
        with Disk(folder, n, error) as disk:
            try:
                status = train.main([*new, "--out", str(folder)])
            except Killed:
                status = "killed"
        if disk.calls < n:
            assert status is None
            break
        if error is not Killed and status is not None:
            assert status.startswith("train.py: ") and os.strerror(error) in status
            assert str(folder) in status  # of which file
        assert "Traceback" not in capsys.readouterr().err
        if not (folder / "checkpoint.json").exists():
            assert not first  # else it is lost
            seen.append(None)
            assert (
                train.main([*words, *new[len(words) :], "--resume", "--out", str(folder)]) is None
            )
        else:
            state = load_checkpoint(folder)[1]
            seen.append((state["options"]["seed"], state["step"]))
            assert train.main(["--resume", "--out", str(folder), "--threads", "1"]) is None
        seed = 1 if seen[-1] is None else seen[-1][0]
        assert made(folder) == ends[seed]
        names = {"checkpoint.json", "metrics.jsonl", "result.json"}
        assert {p.name for p in Path(folder).iterdir()} == {
            *names,
            f"checkpoint-{ends[seed][0][:16]}.safetensors",
        }
    assert made(folder) == ends[1]
    ways = {"nothing": {None, (1, 0)}, "another run": {(2, 2), (1, 0)}, "its beginning": {(1, 1)}}
    assert set(seen) == {*ways[before], (1, 2)}


def stop_after(step, words):
    """Train, until a Ctrl-C comes in this step."""
    batch = Language.batch

    def stopping(task, i):
        if i == step - 1:
            os.kill(os.getpid(), 2)
        return batch(task, i)

    with pytest.MonkeyPatch().context() as patch:
        patch.setattr(Language, "batch", stopping)
        assert train.main(words) == 130
