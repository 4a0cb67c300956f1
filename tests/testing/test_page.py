"""The page about a failed check: one file that refers to nothing, and shows what there is."""

import os
import pickle
import re
import webbrowser
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nanoautograd as nag
from nanoautograd.testing import GradientError, KinkNearby, charts, gradcheck, page, source
from nanoautograd.testing.differences import Row

X = np.array([[0.3, -1.2, 2.0], [1.1, 0.4, -0.7]])
VOID = {"meta", "!doctype"}
OUTSIDE = {*"script link img iframe object embed base form a use image audio video".split()}


class Parsed(HTMLParser):
    """The elements of a page, its text, and the text of its <pre>."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.attributes, self.text, self.code = [], [], [], "", ""
        self.feed(text)
        self.close()
        assert not self.open, f"{self.open} not closed"

    def handle_starttag(self, tag, attributes):
        self.found.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self.text += data
        self.code += data if self.open[-1:] == ["pre"] else ""


def parsed(text):
    """A page, parsed, which refers to nothing outside of it."""
    found = Parsed(text)
    assert not OUTSIDE & set(found.found)
    names = {name for name, _ in found.attributes}
    assert not {n for n in names if n.startswith("on") or "href" in n or n in ("src", "srcset")}
    assert "url(" not in text.lower() and "@import" not in text.lower()
    assert "https:" not in text and "http:" not in text
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in found.attributes
    return found


def failure(f, inputs, **options):
    with pytest.raises(GradientError) as caught:
        gradcheck(f, inputs, **options)
    return caught.value


def square_vjp(u, x):
    return 3 * u * x  # <b>planted</b> & "kept"


def square(x):
    return x * x


def test_a_page_shows_the_gradients_the_guess_the_rule_and_the_inputs():
    error = failure(square, [X], vjp=square_vjp)
    found = parsed(page.html(error))
    assert str(error).splitlines()[0] in found.text
    assert "a constant factor: analytic = 3/2 × numeric in every entry" in found.text
    for value in (*error.gradient.flat, *error.numeric_gradient.flat):
        assert f"{value:.4g}" in found.text and f": {value}" in found.text
    assert 'return 3 * u * x  # <b>planted</b> & "kept"' in found.code
    assert "def square(x):" in found.code and str(error) in found.code
    scope = {"np": np, "square": square, "square_vjp": square_vjp, "gradcheck": gradcheck}
    code = next(part for part in re.split(r"(?=x0 = )", found.code) if part.startswith("x0 = "))
    with pytest.raises(GradientError, match="3/2"):
        exec(code.split("the gradient of")[0], scope)
    assert np.array_equal(scope["x0"], X)
    assert (
        f"numpy {np.__version__}" in found.text and f"nanoautograd {nag.__version__}" in found.text
    )


def test_the_curve_of_a_wrong_gradient_is_level_and_that_of_the_numeric_one_falls():
    error = failure(square, [X], vjp=square_vjp)
    wrong, right = (
        [float(y) for y in re.findall(rf'circle class="{kind}" cx="[\d.]+" cy="([\d.]+)"', text)]
        for text in [page.html(error)]
        for kind in ("wrong", "right")
    )
    assert len(wrong) == len(right) == len(error.table) + 1  # and that of the legend
    assert np.ptp(wrong[:-1]) < 3 and np.ptp(right[:-1]) > 30


NAMES = st.text(max_size=20) | st.just("</title><script>alert('1')</script>")
NUMBERS = st.floats() | st.sampled_from([0.0, -0.0, 5e-324, 1e308, -np.inf, np.nan])
ROWS = st.builds(Row, *[st.floats(0, 1), *[NUMBERS] * 5])


@given(st.data(), hnp.array_shapes(min_dims=0, max_dims=4, max_side=30), NAMES, NUMBERS)
def test_a_page_is_well_formed_whatever_was_found(data, shape, text, value):
    """Names with <script>, values that are no numbers, arrays of any shape, curves of nothing."""
    elements = st.sampled_from([1.5, -2.0, 0.0, 1e300, np.inf, -np.inf, np.nan])
    A, N = (data.draw(hnp.arrays(float, shape, elements=elements, fill=elements)) for _ in "AN")
    index = data.draw(st.tuples(*(st.integers(0, n - 1) for n in shape)))
    found = dict(gradient=A, numeric_gradient=N, index=index, analytic=value, numeric=value)
    found |= dict(error=1.0, explanation=text, table=data.draw(st.lists(ROWS)))
    error = GradientError(text + "\n" + text, **found)
    error.add_note(text)
    drawn = page.html(error)
    made = parsed(drawn)
    assert "script" not in made.found
    for name, attribute in made.attributes:
        if name in ("x", "y", "cx", "cy", "d", "width", "height", "viewbox", "style"):
            assert not re.search("nan|inf", attribute), (name, attribute)
    assert '" at"' not in drawn and drawn.count(' at"') == 3  # the entry, in each of three maps


@given(hnp.array_shapes(min_dims=0, max_dims=4, max_side=60), st.data())
def test_parts_of_an_array_hold_the_entry_and_nothing_twice(shape, data):
    at = data.draw(st.tuples(*(st.integers(0, n - 1) for n in shape)))
    parts, note = charts.panels(shape, at)
    places = [place for part in parts for row in part.places for place in row]
    assert at in places and len(set(places)) == len(places)
    assert all(len(p) == len(shape) and all(map(int.__lt__, p, shape)) for p in places)
    assert len(places) <= charts.MOST**2 * charts.SLICES
    assert (f"{len(places):,} of" in note) == (len(places) < np.prod(shape))
    for part in parts:
        assert len(part.places) == len(part.rows) <= charts.MOST
        assert all(len(row) <= len(part.columns) <= charts.MOST for row in part.places)


def test_what_was_not_computed_and_what_is_no_number_is_seen():
    A, N = np.array([np.nan, np.inf, -np.inf, 1.0]), np.array([1.0, 2.0, 3.0, np.nan])
    (part,), _ = charts.panels((4,), (0,))
    analytic = charts.heat_map(A, part, 3.0, (0,), blank=False)
    numeric = charts.heat_map(N, part, 3.0, (0,), blank=True)
    assert [analytic.count(f">{word}<") for word in ("nan", "∞", "−∞", "·")] == [1, 1, 1, 0]
    assert numeric.count(">·<") == 1 and "nan" not in numeric


def test_equal_values_have_equal_colours_in_both_maps():
    error = failure(square, [X], vjp=lambda u, x: 2 * u * x * [1, 1, 2])
    analytic, numeric, _ = page.html(error).split("<figure>")[1:4]
    strength = r'rect class="cell (\w+).*?strength:([\d.]+)'
    for (place, a), (b, b_) in zip(
        enumerate(re.findall(strength, analytic)), re.findall(strength, numeric)
    ):
        same = place % 3 < 2  # (The legend's follow.)
        assert (a == (b, b_)) == same if place < 6 else a == (b, b_)


def test_every_kind_of_failure_has_a_page():
    def f(x):
        return nag.tanh(x)

    for error in (
        failure(lambda x: np.maximum(x, 0), [np.array([-1.0, 0.0])], vjp=lambda u, x: u * (x > 0)),
        failure(np.floor, [np.array([1.0, 1.5])], vjp=lambda u, x: 0 * x),
        failure(square, [X], vjp=lambda u, x: u[0]),
        failure(square, [X], vjp=lambda u, x: u * np.nan),
        failure(square, [np.array(0.5)], vjp=square_vjp),
        failure(f, [X.astype("float32")], reference=lambda x: 1.01 * nag.tanh(x)),
        failure(f, [X], reference=nag.sin),
        failure(square, iter([X]), vjp=square_vjp),
    ):
        found = parsed(page.html(error))
        assert str(error).splitlines()[0] in found.text and "x0 = " in found.code
    assert isinstance(error, GradientError) and not isinstance(error, KinkNearby)


@nag.function
def doubled(a):
    return 2 * a


doubled.defvjp(a=lambda g: 5 * g)


def custom_forward(a):
    return 3 * a, None


def custom_backward(g, cache):
    return (4 * g,)


def test_the_rules_within_a_function_are_found():
    custom = nag.custom_vjp("tripled", custom_forward, custom_backward, lambda a: 3 * a)
    for f, rule in ((doubled, "5 * g"), (custom, "return (4 * g,)")):
        error = failure(lambda x: nag.tanh(f(x)), [nag.Tensor(X)])
        assert "x0 = nag.Tensor([[0.3" in page.html(error)
        assert rule in parsed(page.html(error)).code


LEAVES = hnp.arrays(
    st.sampled_from(["float64", "float32", "complex128"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    elements=st.sampled_from([0.1, -2.0, 1e-30]),
)
NESTS = st.recursive(
    LEAVES | st.floats(-1, 1) | st.none(),
    lambda x: st.lists(x, max_size=2) | st.tuples(x, x) | st.dictionaries(st.text(max_size=2), x),
    max_leaves=4,
)


@given(NESTS)
def test_inputs_as_code_make_the_same_inputs(x):
    def same(a, b):
        assert type(a) is type(b)
        if isinstance(a, dict):
            assert list(a) == list(b)
            a, b = list(a.values()), list(b.values())
        if isinstance(a, (list, tuple)):
            assert len(a) == len(b)
            for pair in zip(a, b):
                same(*pair)
        elif isinstance(a, np.ndarray):
            assert (a.dtype, a.shape) == (b.dtype, b.shape) and np.array_equal(a, b)
        else:
            assert a == b

    same(x, eval(source.code(x), {"np": np}))


def test_show_writes_a_file_says_where_and_opens_it(tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    error = failure(square, [X], vjp=square_vjp)
    path = error.show()
    assert opened == [Path(path).as_uri()] and path in capsys.readouterr().out
    parsed(Path(path).read_text("utf-8"))
    other = tmp_path / "other.html"
    assert error.show(other) == str(other) and len(opened) == 1
    assert other.read_text("utf-8") == Path(path).read_text("utf-8")
    with pytest.raises(OSError):
        error.show(tmp_path / "nowhere" / "x.html")


def test_a_page_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    error, path = failure(square, [X], vjp=square_vjp), tmp_path / "page.html"
    path.write_text("before")

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        error.show(path)
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["page.html"]


def test_errors_can_be_pickled_and_then_have_a_page_without_code():
    error = failure(lambda x: x * x, [X], vjp=square_vjp)
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) and copy.guess == error.guess and copy.check is None
    assert np.array_equal(copy.gradient, error.gradient)
    assert "planted" not in parsed(page.html(copy)).code
