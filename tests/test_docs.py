"""The documentation: equations keep their symbols, and the site builds, is whole, and needs no
network. (What its pages show is run by test_readme.py.)"""

import ast
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))
import typeset  # noqa: E402

sys.path.pop(0)
MANUAL = sorted((ROOT / "nanoautograd" / "manual").glob("[a-z]*.py"))


class Text(HTMLParser):
    """What is read of a piece of HTML, whose tags must be closed in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.text = [], ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def symbols(text):
    """A text without spaces, and without what makes indices, powers and code."""
    return re.sub(r"[\s_^{}()`]", "", text).replace("−", "-")


def docstring(path):
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")), clean=False)


@pytest.mark.parametrize("path", MANUAL, ids=lambda path: path.stem)
def test_a_derivation_keeps_each_of_its_symbols(path):
    assert symbols(Text(typeset.html(docstring(path))).text) == symbols(docstring(path))


@given(
    st.lists(st.text("adxαΣ∂0123²ᵀ \u0302_^{}()[]<>&`'\"-−=+/,.\n", max_size=30), max_size=5)
    .map("\n    ".join)
    .filter(str.strip)
)
def test_so_does_any_text(text):
    assert symbols(Text(typeset.html(text)).text) == symbols(text)


@pytest.mark.parametrize(
    "written, read",
    [
        ("y_n", "<i>y</i><sub><i>n</i></sub>"),
        ("dx̂_ti", "<i>dx̂</i><sub>ti</sub>"),
        ("α_{t-1,i}", "<i>α</i><sub><i>t</i>−1,<i>i</i></sub>"),
        ("w_{y_n}", "<i>w</i><sub><i>y</i><sub><i>n</i></sub></sub>"),
        ("(v + ε)^(-1/2)", "(<i>v</i> + <i>ε</i>)<sup>−1/2</sup>"),
        ("Σ_j exp(x_j) z²", "Σ<sub><i>j</i></sub> exp(<i>x</i><sub><i>j</i></sub>) <i>z</i>²"),
        ("y_n = ignore_index", "<i>y</i><sub><i>n</i></sub> = ignore_index"),
        ("a row, a < b", "a row, <i>a</i> &lt; <i>b</i>"),
        ("A row of A is 0. a is 1", "A row of <i>A</i> is 0. <i>a</i> is 1"),
        ("1 - g_t²", "1 − <i>g</i><sub><i>t</i></sub>²"),
        ("h_{t-1}ᵀ x_tᵀ", "<i>h</i><sub><i>t</i>−1</sub>ᵀ <i>x</i><sub><i>t</i></sub>ᵀ"),
        ("dh0 = 2³²", "<i>dh0</i> = 2³²"),
        ("`weight_ih`", "<code>weight_ih</code>"),
    ],
)
def test_equations_are_set_as_they_are_meant(written, read):
    assert typeset.formula(written) == read


def test_columns_stay_below_one_another():
    table = typeset.table(["    x̂  (N,)  rows", "    d        more"])
    rows = re.findall(r"<tr>(.*)</tr>", table)
    columns = [[int(n) for n in re.findall(r'colspan="(\d)"', row)] for row in rows]
    assert columns == [[1, 1, 1], [2, 1]]


def loaded_from_elsewhere(page):
    tags = r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"?(https?://[^\" >]+)"
    return re.findall(tags, page.read_text(encoding="utf-8"))


def public_names():
    public = {*nag.__all__}
    for module in (nag.functional, nag.nn, nag.optim, nag.testing, nag.cuda):
        names = getattr(module, "__all__", [n for n in vars(module) if n[0].isupper()])
        public |= {name for name in names if getattr(module, name).__doc__}
    return public - {
        *"autograd backends checkpoint cuda functional nn optim testing typing".split()
    }


@pytest.mark.slow
def test_the_site_builds_is_whole_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("mkdocs", reason="needs pip install -e '.[docs]'")
    pytest.importorskip("material", reason="needs pip install -e '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr

    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > 100
    assert not {str(page): found for page in pages if (found := loaded_from_elsewhere(page))}

    for path in MANUAL:  # what it derives, and its code
        page = (tmp_path / "nanoautograd/manual" / f"{path.name}.html").read_text(encoding="utf-8")
        derivation = typeset.html(docstring(path).partition("\n")[2])
        assert re.sub(r"\s", "", derivation) in re.sub(r"\s", "", page)
        code = path.read_text(encoding="utf-8").partition('"""\n\n')[2].strip()
        assert code in unescape(re.sub(r"<[^>]*>", "", page))

    text = "".join(p.read_text(encoding="utf-8") for p in (tmp_path / "reference").glob("*.html"))
    documented = {name.rpartition(".")[2] for name in re.findall(r'id="([\w.]+)"', text)}
    assert public_names() <= documented, sorted(public_names() - documented)
