"""What is handed on: the source archive is the checkout, and the wheel the package."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MADE = ("PKG-INFO", "nanoautograd.egg-info/")  # by setuptools


def run(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the files that git knows, and their names."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("needs git, and a checkout")
    pytest.importorskip("setuptools", "77", reason="needs setuptools, which builds the package")
    folder = tmp_path_factory.mktemp("checkout")
    names = run("git", "ls-files", "-z", cwd=ROOT).split("\0")[:-1]
    names = {name for name in names if (ROOT / name).exists()}
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder, names


@pytest.fixture(scope="module")
def built(checkout, tmp_path_factory):
    """The source archive, unpacked, and the wheel that is built from it."""
    out = tmp_path_factory.mktemp("built")
    call = "import sys; from setuptools import build_meta; build_meta.build_{}(sys.argv[1])"
    run(sys.executable, "-c", call.format("sdist"), str(out), cwd=checkout[0])
    (archive,) = out.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(out, filter="data")
    source = out / archive.name.removesuffix(".tar.gz")
    run(sys.executable, "-c", call.format("wheel"), str(out), cwd=source)
    (wheel,) = out.glob("*.whl")
    return source, wheel


@pytest.mark.slow
def test_the_source_archive_is_the_checkout(checkout, built):
    source, _ = built
    found = {p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file()}
    found = {name for name in found if not name.startswith((*MADE, "build/"))}
    assert found - {"setup.cfg"} == checkout[1] - {"setup.cfg"}


@pytest.mark.slow
def test_the_tests_of_the_source_archive_pass(built):
    source, _ = built
    command = "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "tests/test_readme.py"
    assert "passed" in run(sys.executable, *command, cwd=source)
    assert "gru" in run(sys.executable, "train.py", "--list", cwd=source)


@pytest.mark.slow
def test_the_wheel_gives_the_engine_and_gradient_tests_and_no_more(checkout, built, tmp_path):
    with zipfile.ZipFile(built[1]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        wheel.extractall(tmp_path)
    package = {name for name in checkout[1] if name.startswith("nanoautograd/")}
    assert names == {*package, "pytest_nanoautograd.py"} > {"nanoautograd/py.typed"}
    run(sys.executable, "-c", ENGINE, str(tmp_path), cwd=tmp_path)


PROGRAM = """
import nanoautograd as nag
import nanoautograd.nn.functional as F

reveal_type(nag.tanh(1.0))
reveal_type(F.relu(nag.tanh(1)).sum())
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_a_checker_reads_the_types_of_an_installation(kind, built, tmp_path):
    pytest.importorskip("mypy", reason="needs mypy")
    run(sys.executable, "-m", "venv", "--without-pip", "env", cwd=tmp_path)
    (packages,) = tmp_path.glob("env/[lL]ib/**/site-packages")
    source, wheel = built
    if kind == "editable":  # as pip install -e, which has a path in the place of the package
        call = "from setuptools import build_meta; build_meta.build_editable('.')"
        run(sys.executable, "-c", call, cwd=source)
        (wheel,) = source.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(packages)
    (python,) = [*tmp_path.glob("env/bin/python"), *tmp_path.glob("env/Scripts/python.exe")]
    options = "--config-file=", "--cache-dir=cache", f"--python-executable={python}"
    said = run(sys.executable, "-m", "mypy", *options, "-c", PROGRAM, cwd=tmp_path)
    assert said.count('Revealed type is "nanoautograd.core.tensor.Tensor"') == 2


ENGINE = """
import sys
from pathlib import Path

import numpy as np
import nanoautograd as nag
from nanoautograd import checkpoint, functional, interop, nn, optim
from nanoautograd.kernels.cuda import emulator, operations
from nanoautograd.testing import gradcheck, strategies

assert Path(nag.__file__).parent.parent == Path(sys.argv[1]).resolve(), nag.__file__
gradcheck(lambda x: nag.functional.softmax(x), [np.array([0.3, -1.0, 2.0])], order=2)
assert nag.backends.available()["strict"].usable
assert nag.backends.to_device(np.ones(2), "strict").sum() == 2
"""
