"""Mutants of the kernels, each with one mistake, to see whether the tests would notice.

Each place where one can be made becomes a switch, `mutant == 7 ? wrong : right`, so that a kernel
with all of its mutants is compiled once; the variable MUTANT says which one runs, and 0 is the
kernel as it is. As a program, `mutants.py TITLE 7 8 9`, it runs the examples of a case for each of
these numbers under AddressSanitizer, and prints those with which nothing goes wrong.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from cases import ALL
from comparing import compare, drawn

from nanoautograd.kernels.cuda import emulator
from nanoautograd.kernels.cuda.runtime import source as sources

# (right, wrong): a barrier or a wait is not there; an index that begins with a thread's number is
# shifted; a loop goes one too far, or a condition is not asked; a table is read one place too far;
# a 1 in a formula is a 2.
BARRIER = r"\b(?:__syncthreads|__syncwarp|cp_async_wait<\w+>|grid_barrier)\([^;{]*\)(?=;)"
WRONG = (
    (BARRIER, "void()"),
    (r"(?<== )threadIdx\.x(?=; )", r"\g<0> + 1"),
    (r"(?<=blockDim\.[xy] \+ )threadIdx\.[xy](?=[;)])", r"\g<0> + 1"),
    (r"(?<=; )(\w+) < (\w+)(?=; )", r"\1 <= \2"),
    (r"(?<=if \()([\w().]+) < (\w+)(?=\))", "true"),
    (r"(?<=if \()(\w+) >= ([\w *]+)(?=\) return;)", r"\1 > \2"),
    (r"(?<=\] <= )blockIdx\.x", r"\g<0> + 1"),
    (r"(?<![\w.])1(?= - \w)", "2"),
)


class Mutant(NamedTuple):
    file: str
    line: int
    right: str
    wrong: str

    @property
    def is_barrier(self):
        return self.wrong == "void()"

    def __str__(self):
        return f"{self.file}:{self.line}: {self.right} -> {self.wrong}"


def plant(folder=None):
    """All mutants, of which the first has the number 1. Writes the kernels with their switches to
    folders of the same names in this one."""
    mutants = []
    if folder:
        for name in ("sources", "naive"):
            (folder / name).mkdir()
    cuda = sources.HERE.parent
    for path in sorted([*sources.HERE.glob("*.cu*"), *cuda.glob("naive/*.cu")]):
        name = path.relative_to(cuda).as_posix()  # sources/softmax.cu
        file = name.removeprefix("sources/")
        text, done, to = path.read_text("utf-8"), "", 0
        if path.suffix == ".cu":
            done = '#include <cstdlib>\nstatic const int mutant = atoi(getenv("MUTANT"));\n'
        places = [(m, wrong) for right, wrong in WRONG for m in re.finditer(right, text)]
        for match, wrong in sorted(places, key=lambda place: place[0].start()):
            before = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
            if "//" in before or before.startswith("#") or match.start() < to:
                continue
            mutants.append(
                Mutant(
                    file,
                    text.count("\n", 0, match.start()) + 1,
                    match[0],
                    match.expand(wrong),
                )
            )
            done += (
                f"{text[to : match.start()]}(mutant == {len(mutants)} ? "
                f"{mutants[-1].wrong} : {match[0]})"
            )
            to = match.end()
        if folder:
            (folder / name).write_text(done + text[to:], "utf-8")
    return mutants


def run(case, *numbers):
    """In a process of its own, into which AddressSanitizer was loaded first."""
    library = subprocess.run(
        ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert os.path.isabs(library), "g++ has no AddressSanitizer here"
    environment = {
        **os.environ,
        "LD_PRELOAD": library,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "ASAN_OPTIONS": "detect_leaks=0",
        "OPENBLAS_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, __file__, case.title, *map(str, numbers)],
        env=environment,
        capture_output=True,
        text=True,
    )


def unnoticed(case, number):
    """Does nothing show that the kernels are wrong? In yet another process: they may write where
    they should not, and bring it down."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] == 0
    os.environ["MUTANT"] = str(number)
    try:
        with_seeds(case, 6 if number else 2)
        os._exit(0)
    except (AssertionError, emulator.KernelError, IndexError) as problem:
        print(problem, file=sys.stderr, flush=True)
    finally:
        os._exit(1)


def with_seeds(case, n):
    for shape in case.examples:
        for seed in range(n):
            args, options = drawn(case, shape, "float32", seed)
            with emulator.emulated(seed=seed, sanitize=True):
                compare(case, args, options)


if __name__ == "__main__":
    del os.environ["LD_PRELOAD"]  # compilers go without
    with tempfile.TemporaryDirectory() as folder:
        plant(Path(folder))
        sources.HERE = Path(folder) / "sources"
        of = next(case for case in ALL if case.title == sys.argv[1])
        print(*[number for number in map(int, sys.argv[2:]) if unnoticed(of, number)])
