"""models/inference/: what sampling and searching refuse, and that the command line refuses the
same; min-p and the penalty of repetitions, to their definitions."""

import math
from argparse import ArgumentTypeError
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_decoding import BEGIN, END, Table

from models import bert, tagger
from models.bert import best_spans
from models.inference import chat
from models.inference.decoding import beam_search, greedy, sample
from models.inference.sampling import OPTIONS, LogitsError, Sampler, choose
from models.tasks.task import sampling_options

SCORES = arrays(np.float32, st.integers(1, 12), elements=st.floats(-30, 30, width=32))
NUMBERS = st.floats() | st.integers(-3, 10**6) | st.sampled_from([0, 1, -1, math.nan, math.inf])
SEARCHES = {"greedy": greedy, "sample": sample, "beam_search": beam_search}


class Draws:
    """A generator whose next number is known."""

    def __init__(self, number):
        self.number = number

    def random(self):
        return self.number


def drawn(logits, **options):
    """The tokens that can be drawn."""
    return {choose(logits, Draws(u), **options) for u in np.linspace(0, 1, 1001, endpoint=False)}


def commands():
    """{option: its checker} of the command lines that have options of sampling."""
    found = [{}, {}]
    sampling_options(lambda name, check, *args, **kwargs: found[0].update({name: check}))
    for action in chat.parser()._actions:
        found[1].update(dict.fromkeys(action.option_strings, action.type))
    return [{n: found["--" + n.replace("_", "-")] for n in OPTIONS} for found in found]


# ---------------------------------------------------------------------------------- what is refused


@given(st.sampled_from(sorted(OPTIONS)), NUMBERS)
def test_the_command_line_and_the_function_take_the_same(name, x):
    kind = OPTIONS[name][0]
    x = int(x) if kind is int and math.isfinite(x) and x == int(x) else float(x)
    assume(not (kind is int and x >= 10**9))  # more the command line never takes
    try:
        token = choose(np.zeros(3), Draws(0.5), **{name: x})
        assert token in (0, 1, 2)
        taken = True
    except (TypeError, ValueError) as e:
        assert name in str(e) and ("must be" in str(e))
        taken = False
    for checks in commands():
        if taken:
            assert checks[name](repr(x)) == x
        else:
            with pytest.raises((ArgumentTypeError, ValueError)):
                checks[name](repr(x))


@pytest.mark.parametrize("where", [choose, Sampler, sample], ids=["choose", "Sampler", "sample"])
@pytest.mark.parametrize(
    "options, why",
    [
        (dict(top_k=-1), "top_k must be at least 1; got -1"),
        (dict(top_k=0), "top_k must be at least 1; got 0"),
        (dict(top_k=2.0), "top_k must be of type int; got 2.0"),
        (dict(top_k=True), "top_k must be of type int; got True"),
        (dict(top_p=0.0), "top_p must be above 0 and at most 1; got 0.0"),
        (dict(top_p=1.5), "top_p must be above 0 and at most 1; got 1.5"),
        (dict(min_p=-0.1), "min_p must be at least 0 and at most 1; got -0.1"),
        (dict(temperature=-1), "temperature must be at least 0; got -1"),
        (dict(temperature=math.nan), "temperature must be at least 0; got nan"),
        (dict(temperature=math.inf), "temperature must be at least 0; got inf"),
        (dict(temperature=None), "temperature must be of type float; got None"),
        (dict(temperature="1"), "temperature must be of type float; got '1'"),
        (dict(repetition_penalty=0.0), "repetition_penalty must be above 0; got 0.0"),
        (dict(repetition_penalty=None), "repetition_penalty must be of type float; got None"),
    ],
)
def test_options_that_cannot_be(where, options, why):
    before = {
        choose: (np.zeros(3), Draws(0.5)),
        Sampler: (Draws(0.5),),
        sample: (Table(3), np.zeros((0, 2), int), [], BEGIN, END, 3, Draws(0.5)),
    }[where]
    with pytest.raises((TypeError, ValueError), match=why):
        where(*before, **options)


def test_an_option_that_there_is_not():
    for call in (
        lambda: sample(Table(3), np.zeros((0, 2), int), [], BEGIN, END, 3, None, topk=2),
        lambda: Sampler(None, topk=2),
    ):
        with pytest.raises(TypeError, match="there is no option topk; there are temperature, "):
            call()


@given(SCORES, st.data(), st.sampled_from([0.0, 0.7]))
def test_scores_that_are_no_numbers_choose_no_token(logits, data, temperature):
    wrong = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    if wrong == -np.inf:
        logits[:] = wrong
    else:
        logits[data.draw(st.integers(0, len(logits) - 1))] = wrong
    with pytest.raises(LogitsError, match="the largest is (nan|inf|-inf), so no token can be"):
        choose(logits, Draws(0.5), temperature)


def test_one_token_that_is_possible_is_chosen():
    for options in dict(temperature=0.0), dict(top_p=0.5), dict(min_p=0.5), dict():
        assert choose([-np.inf, 1.0, -np.inf], Draws(0.99), **options) == 1


@pytest.mark.parametrize(
    "logits", [[1j, 2.0], ["1", "2"], [1, None], [True, False], np.array(["2020"], "M8")]
)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_are_numbers(logits, temperature):
    """Of complex ones half would be lost, and texts would be read as numbers."""
    with pytest.raises(ValueError, match="the logits of one token are numbers"):
        choose(np.array(logits), Draws(0.5), temperature)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "uint8", "int64", "uint64"])
def test_logits_of_every_dtype(dtype):
    kind = np.finfo if np.dtype(dtype).kind == "f" else np.iinfo
    logits = np.array([kind(dtype).min, 0, kind(dtype).max], dtype)
    for options in dict(temperature=0.0), dict(top_k=1), dict(min_p=1.0), dict(temperature=5e-324):
        assert choose(logits, Draws(0.99), **options) == 2


def test_chance_needs_numbers_to_draw():
    with pytest.raises(TypeError, match="a temperature of 0.8 needs an rng; got None"):
        choose(np.zeros(3), None, 0.8)


@pytest.mark.parametrize("shape", [(0,), (), (1, 3)])
def test_logits_are_those_of_one_token(shape):
    with pytest.raises(ValueError, match="logits of"):
        choose(np.zeros(shape), Draws(0.5))


class Wrong(Table):
    """A Table that gives one wrong score, of source 1 at the second step, whatever was written."""

    def __init__(self, wrong, whole_row):
        super().__init__(4)
        self.scores[..., END] = -9.0  # so that no target ends before
        self.scores[1, 1, ..., slice(None) if whole_row else 2] = wrong


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("wrong, whole_row", [(np.nan, False), (np.inf, False), (-np.inf, True)])
def test_no_search_goes_on_from_scores_that_are_no_numbers(backend, name, wrong, whole_row):
    x, more = backend.array([[2, 0], [0, 0], [1, 0]]), {}
    if name == "sample":
        more = {"rng": np.random.default_rng(0)}
    with pytest.raises(LogitsError, match="no token can be chosen"):
        SEARCHES[name](Wrong(wrong, whole_row), x, [2, 2, 1], BEGIN, END, 6, **more)
    found = SEARCHES[name](Wrong(wrong, whole_row), x[:2], [2, 2], BEGIN, END, 6, **more)
    assert len(found) == 2  # of the sources that it has scores of


@pytest.mark.parametrize("name", SEARCHES)
def test_of_no_sources_there_are_no_targets(backend, name):
    more = {"rng": np.random.default_rng(0)} if name == "sample" else {}
    x = backend.array(np.zeros((0, 4), dtype=int))
    assert SEARCHES[name](None, x, [], BEGIN, END, 5, **more) == []


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("end", [-1, 4])
def test_an_end_that_never_comes(backend, name, end):
    more = {"rng": np.random.default_rng(0)} if name == "sample" else {}
    with pytest.raises(ValueError, match=f"the end symbol must be from 0 to 3, a token; got {end}"):
        SEARCHES[name](Table(4), backend.array([[0, 0]]), [2], BEGIN, end, 5, **more)


def test_no_place_in_the_beam_is_lost_to_a_token_that_cannot_be(backend):
    """A model may rule tokens out; what the search gives has a finite worth."""
    model = Table(4)
    model.scores[..., 2] = -np.inf
    for found in beam_search(model, backend.array([[0, 0]]), [1], BEGIN, END, 3, width=30):
        assert 1 <= len(found) <= 30
        assert all(math.isfinite(worth) and 2 not in y for worth, y in found)


@pytest.mark.parametrize(
    "options, why",
    [
        (dict(width=0), "width must be an integer, 1 or more; got 0"),
        (dict(width=2.0), "width must be an integer, 1 or more; got 2.0"),
        (dict(longest=-1), "longest must be an integer, 0 or more; got -1"),
        (dict(alpha=math.nan), "alpha must be finite, .*; got nan"),
        (dict(alpha=1e3), r"so must 3\^\|alpha\|; got 1000.0"),
        (dict(alpha=-1e3), r"so must 3\^\|alpha\|; got -1000.0"),
    ],
)
def test_a_search_that_cannot_be(options, why):
    options = {"longest": 3, **options}
    with pytest.raises((TypeError, ValueError), match=why):
        beam_search(Table(3), np.zeros((1, 2), int), [1], BEGIN, END, **options)


def test_an_answer_has_a_place(backend):
    logits = np.full((2, 4), -np.inf)
    logits[0, 1:3] = 0.0
    begin, end = backend.array(logits[:1]), backend.array(logits[:1])
    np.testing.assert_array_equal(best_spans(begin, end, 2), [[1, 1]])
    for wrong in (logits, np.where(logits == 0, np.nan, logits)[:1]):
        with pytest.raises(LogitsError):
            best_spans(backend.array(wrong), backend.array(wrong), 2)
    with pytest.raises(ValueError, match="longest must be an integer, 1 or more"):
        best_spans(begin, end, 0)


# ----------------------------------------------------------------------- min-p, and the penalty


@given(SCORES, st.floats(0.3, 3), st.floats(0, 1))
def test_min_p_keeps_what_is_likely_enough_beside_the_likeliest(logits, temperature, min_p):
    p = np.exp((logits.astype(np.float64) - logits.max()) / temperature)  # beside the largest
    assume((abs(p - min_p) > 1e-9).all())
    allowed = set(np.flatnonzero((p >= min_p) | (p == 1.0)))
    found = drawn(logits, temperature=temperature, min_p=min_p)
    assert found <= allowed and {i for i in allowed if p[i] > 0.1} <= found


def test_min_p_of_known_probabilities():
    logits = np.log([0.1, 0.4, 0.2, 0.3])
    assert drawn(logits, min_p=0.0) == {0, 1, 2, 3}
    assert drawn(logits, min_p=0.24) == {0, 1, 2, 3} and drawn(logits, min_p=0.26) == {1, 2, 3}
    assert drawn(logits, min_p=0.74) == {1, 3} and drawn(logits, min_p=1.0) == {1}
    assert drawn(logits, min_p=0.26, top_k=2) == {1, 3} == drawn(logits, min_p=0.26, top_p=0.6)
    assert drawn(logits, min_p=0.5, temperature=0.1) == {1}  # p is what the temperature makes it
    assert drawn(np.zeros(4), min_p=1.0) == {0, 1, 2, 3}  # equals


@given(
    SCORES,
    st.floats(0.1, 10),
    st.lists(st.integers(0, 11), max_size=6),
    st.floats(0, 1, exclude_max=True),
)
def test_the_penalty_is_its_definition(logits, penalty, written, u):
    written = [i for i in written if i < len(logits)]
    wanted = logits.astype(np.float64)
    for i in set(written):
        wanted[i] = wanted[i] / penalty if wanted[i] > 0 else wanted[i] * penalty
    before = logits.copy()
    for options in dict(), dict(temperature=0.0), dict(top_k=3), dict(top_p=0.7), dict(min_p=0.1):
        assert choose(
            logits, Draws(u), repetition_penalty=penalty, written=written, **options
        ) == choose(wanted, Draws(u), **options)
    np.testing.assert_array_equal(logits, before)


@given(
    arrays(np.float64, 4, elements=st.floats(width=64, allow_nan=False, allow_infinity=False)),
    st.sampled_from([5e-324, 1e-310, 1e-200, 1e200, 1e308]),
    st.sets(st.integers(0, 3)),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_no_penalty_is_so_large_that_a_token_is_chosen_by_nothing(logits, penalty, written, t):
    """What would be beyond the range of floats is at its end, and a token is still possible."""
    token = choose(logits, Draws(0.0), t, repetition_penalty=penalty, written=list(written))
    exact = [
        (Fraction(x) / Fraction(penalty) if x > 0 else Fraction(x) * Fraction(penalty))
        if i in written
        else Fraction(x)
        for i, x in enumerate(logits.tolist())
    ]
    end = Fraction(np.finfo(np.float64).max)
    near = [min(max(x, -end), end) for x in exact]
    assert near[token] == pytest.approx(max(near), rel=1e-12)


def test_what_is_ruled_out_stays_so():
    logits = [-np.inf, 1.0, -1e300]
    for penalty in 1e-310, 0.5, 1e308:
        for t in 0.0, 1e308:
            options = dict(repetition_penalty=penalty, written=[0, 1, 2])
            assert 0 not in drawn(logits, temperature=t, **options)


def test_what_was_written_are_tokens():
    for written in ([0.7], [True], ["a"]):
        with pytest.raises(TypeError, match="the tokens written must be integers"):
            choose(np.zeros(3), None, 0.0, repetition_penalty=2.0, written=written)
    for written in ([-1], [0, 3]):
        with pytest.raises(ValueError, match="the tokens written are from 0 to 2"):
            choose(np.zeros(3), None, 0.0, repetition_penalty=2.0, written=written)


def test_a_sampler_knows_what_it_wrote():
    greedy = Sampler(None, temperature=0.0, repetition_penalty=2.0)
    logits = np.array([3.0, 2.0, -1.0])
    assert [greedy(logits) for _ in range(4)] == [0, 1, 0, 0]  # 3, then 1.5 beside 2, then beside 1
    assert greedy.written == [0, 1, 0, 0]


def test_each_row_of_a_batch_has_its_own_penalty(backend):
    """Two sources with the same scores, and one alone, give the same."""
    model = Table(5, sources=1)
    x, rng = backend.array(np.zeros((2, 2), int)), np.random.default_rng(0)
    options = dict(temperature=0.0, repetition_penalty=1e6)
    both = sample(model, x, [2, 2], BEGIN, END, 5, rng, **options)
    assert both[0] == both[1] == sample(model, x[:1], [2], BEGIN, END, 5, rng, **options)[0]
    assert sorted(set(both[0])) == sorted(both[0])  # nothing twice, of five tokens


@pytest.mark.parametrize("output", ["crf", "softmax"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_no_tags_are_read_off_what_is_not_finite(output, wrong):
    x, lengths = np.ones((2, 3), int), [3, 2]
    config = tagger.Config((4,), 3, embedding=4, hidden=4, output=output)
    small = dict(vocab_size=7, d_model=8, layers=1, heads=2, feed_forward=8, positions=6)
    for model, read in (
        (tagger.Tagger(config, 0), x[..., None]),
        (bert.TokenClassifier(bert.TokenClassifierConfig(**small, tags=3), 0), x),
    ):
        assert model.eval().decode(read, lengths).shape == (2, 3)
        model.output.bias.data[1] = wrong
        with pytest.raises(LogitsError, match=f"the largest is {wrong}"):
            model.decode(read, lengths)
