"""The processes of peers answer, or say why not, and end for certain, with what they started."""

import os
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest

from benchmarks import process
from benchmarks.process import ROOT, PeerError, Process, Processes

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")


@pytest.fixture
def numpy_process():
    with Processes(["numpy"], 1, "float32") as processes:
        yield processes.running["numpy"]


def test_a_process_says_what_it_is_and_what_is_wrong_with_a_request(numpy_process):
    found = numpy_process.ask("hello")
    assert found["versions"]["numpy"] == np.__version__ and found["blas"]
    with pytest.raises(PeerError, match="KeyError: 'nothing'"):
        numpy_process.ask("build", case="nothing", sizes={})
    with pytest.raises(PeerError, match="AttributeError"):
        numpy_process.ask("juggle")
    assert numpy_process.reading().own > 0


@POSIX
def test_the_signal_that_killed_a_process_is_named(numpy_process):
    numpy_process.ask("hello")
    numpy_process.process.kill()
    with pytest.raises(PeerError, match="numpy died by SIGKILL, as where memory runs out"):
        numpy_process.ask("hello")
    with pytest.raises(PeerError, match="numpy died"):
        numpy_process.reading()
    assert not numpy_process.is_alive


def test_who_does_not_answer_in_time_is_ended_with_what_it_started(monkeypatch):
    """In the place of a worker, a program that starts another, tells its number, and sleeps."""
    program = (
        "import subprocess, sys, time; input();"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print('{\"number\": %d}' % p.pid, flush=True); time.sleep(600)"
    )
    start = subprocess.Popen

    def popen(command, **options):
        return start([sys.executable, "-c", program], **options)

    monkeypatch.setattr(process.subprocess, "Popen", popen)
    one = Process("numpy", 1, "float32", limit=60.0)
    try:
        child = psutil.Process(one.ask("hello")["number"])
        one.limit = 0.2
        with pytest.raises(PeerError, match="did not answer 'measure' within 0.2 seconds"):
            one.ask("measure")
        assert not one.is_alive
        gone, alive = psutil.wait_procs([child], timeout=60)
        assert not alive
    finally:
        one.close()


def test_a_peer_says_what_it_does_not_have():
    with Processes(["numpy"], 1, "bfloat16") as processes:
        with pytest.raises(PeerError, match="numpy has no bfloat16"):
            processes.running["numpy"].ask("hello")


def test_another_process_takes_the_place_of_one_that_died(numpy_process):
    processes = Processes([], 1, "float32")
    processes.running["ours"] = numpy_process
    numpy_process.kill()
    processes.replace("ours")
    with processes:
        assert processes.running["ours"].ask("hello")["versions"]


def test_a_program_that_does_not_end_is_ended():
    with pytest.raises(PeerError, match="did not end within 0.1 seconds"):
        process.output([sys.executable, "-c", "import time; time.sleep(600)"], None, limit=0.1)


@POSIX
@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGKILL", None)]
)
def test_a_signal_to_the_program_alone_ends_all_of_its_processes(number, tmp_path):
    """While a step of ten minutes is on its way."""
    (tmp_path / "slow.py").write_text(
        "import time\n"
        "from dataclasses import dataclass\n"
        "from benchmarks.case import Case, Work\n"
        "@dataclass(frozen=True)\n"
        "class Slow(Case):\n"
        "    seconds: int\n"
        "    def arrays(self, dtype): return {}\n"
        "    def work(self): return Work()\n"
        "    def ours(self, peer, arrays):\n"
        "        print('builds', flush=True)\n"
        "        open(__file__ + '.begun', 'w').close()\n"
        "        return lambda: time.sleep(self.seconds)\n"
        "CASES = {'slow': (Slow, {'tiny': {'seconds': 600}})}\n"
    )
    words = ["--cases", str(tmp_path / "slow.py"), "--sizes", "tiny", "--vs", "--threads", "1"]
    program = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *words, "--json", str(tmp_path / "a.json")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # no terminal sends the signal to the others too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell may ignore it
    )
    try:
        account, begun = psutil.Process(program.pid), tmp_path / "slow.py.begun"
        while not begun.exists():
            with pytest.raises(subprocess.TimeoutExpired):  # it has not ended
                program.wait(0.1)
        children = account.children(recursive=True)
        program.send_signal(number)
        printed, _ = program.communicate(timeout=60)
    finally:
        program.kill()
    if number not in (signal.SIGINT, signal.SIGTERM):
        assert program.returncode == -number
    else:
        assert program.returncode == 130, printed
        assert "interrupted" in printed and "--resume" in printed
    gone, alive = psutil.wait_procs(children, timeout=60)
    assert children and not alive
