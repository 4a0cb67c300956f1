"""The processes of peers: started, asked with a time limit, ended for certain."""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from . import quiet
from .registry import peer

ROOT = Path(__file__).parents[1]
LIMIT = 600.0  # seconds that one request may take
PATIENCE = 1.0  # seconds that a process has to end by itself


class PeerError(Exception):
    """A peer could not do what it was asked for."""


@contextmanager
def restricted(threads: int) -> Iterator[None]:
    """A process that is started within it may use as many processors as threads: also libraries
    that are not asked then make no more threads than that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(processors)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, processors)


def output(
    command: Sequence[str], environment: Mapping[str, str] | None, limit: float = LIMIT
) -> str:
    """What a program writes. Raises PeerError where it fails, with the end of what it says, or
    takes more than `limit` seconds."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        raise PeerError(f"did not end within {limit:g} seconds (--limit)") from None
    if done.returncode:
        why = (done.stderr or done.stdout)[-500:].strip() or "failed without a word"
        raise PeerError(" ".join(filter(None, [ended(done.returncode), why])))
    return done.stdout


def ended(status: int | None) -> str:
    """By which signal a process was ended, if it was."""
    if status is None or status >= 0:
        return ""
    name = signal.Signals(-status).name
    return f"by {name}" + ", as where memory runs out:" * (name == "SIGKILL")


class Process:
    """The process of a peer (worker.py), of this checkout or of that in another folder.

    files: those of --cases and --peer. limit: seconds that a request may take.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        precision: str,
        folder: Path = ROOT,
        files: Sequence[str] = (),
        limit: float = LIMIT,
    ) -> None:
        self.name, self.peer, self.limit = name, peer(name), limit
        self.again = lambda: Process(name, threads, precision, folder, files, limit)
        self.errors = tempfile.TemporaryFile("w+")
        environment = {**os.environ, **self.peer.environment(threads)}
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(folder), os.environ.get("PYTHONPATH")])
        )
        with restricted(threads):
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.worker", name, str(threads), precision, *files],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                text=True,
                env=environment,
                cwd=folder,  # where python -m looks first
            )
        self.account = psutil.Process(self.process.pid)
        self.lines = queue.SimpleQueue()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        """Hands each line on: a queue can be waited for with a time limit on every system, a pipe
        cannot."""
        with suppress(ValueError):  # the pipe is closed
            for line in self.process.stdout:
                self.lines.put(line)
        self.lines.put("")

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """The answer. Raises PeerError where it is an error, where the process has died, and where
        it takes longer than the limit; then it is killed."""
        try:
            self.process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self.process.stdin.flush()
            line = self.lines.get(timeout=self.limit)
        except OSError:
            line = ""
        except queue.Empty:
            self.kill()
            raise PeerError(
                f"{self.name} did not answer {do!r} within {self.limit:g} seconds (--limit)"
            ) from None
        if not line:
            with suppress(subprocess.TimeoutExpired):  # its pipe is closed, so it is about to end
                self.process.wait(PATIENCE)
            self.errors.seek(0)
            how = ended(self.process.poll())
            words = [f"{self.name} died", how, self.errors.read()[-500:].strip()]
            raise PeerError(" ".join(words[:2]).rstrip(" :") + ": " + words[2])
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def reading(self) -> quiet.Reading:
        """A quiet.Reading of now. Raises PeerError where the process has died."""
        try:
            return quiet.reading(self.account)
        except psutil.Error:
            raise PeerError(f"{self.name} died") from None

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def dismiss(self) -> None:
        """Ask it to end."""
        with suppress(OSError):  # of a request that it did not live to read
            self.process.stdin.close()

    def kill(self) -> None:
        """End it and all that it has started."""
        with suppress(psutil.Error):
            for one in self.account.children(recursive=True):
                with suppress(psutil.Error):
                    one.kill()
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.dismiss()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        self.errors.close()


class Processes:
    """Those of several peers: {label: Process}. They end with the block."""

    def __init__(
        self,
        names: Sequence[str] | Mapping[str, str | Path],
        threads: int,
        precision: str,
        files: Sequence[str] = (),
        limit: float = LIMIT,
    ) -> None:
        """names: of the peers, which are the labels too; or {label: the name of a peer}; or {label:
        the folder of a checkout, a Path}, whose NumPy is then the peer."""
        self.precision, self.running = precision, {}
        try:
            for label in names:
                name, folder = names[label] if isinstance(names, dict) else label, ROOT
                if isinstance(name, Path):
                    name, folder = "numpy", name
                self.running[label] = Process(name, threads, precision, folder, files, limit)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.running.values():
            process.dismiss()
        for process in self.running.values():
            process.close()

    def replace(self, label: str) -> None:
        """A new process in place of one that died."""
        self.running[label].close()
        self.running[label] = self.running[label].again()
