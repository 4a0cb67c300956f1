"""Averages of weights, and schedules of rates: what is damaged or out of range is refused, and an
interrupt leaves the weights of the model."""

import math
import sys

import numpy as np
import pytest

from nanoautograd.nn import Linear, Parameter
from nanoautograd.optim import AveragedModel, learning_rate

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("decay", [NAN, -0.1, 1.0, INF, "0.9", None])
def test_decays_that_are_none(decay):
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\)"):
        AveragedModel(Linear(1, 1), decay)
    with pytest.raises(TypeError, match="AveragedModel: takes a Module; got list"):
        AveragedModel([Parameter(np.ones(2))])


@pytest.mark.parametrize(
    "damage",
    [
        {"n_averaged": np.array(-1)},
        {"n_averaged": np.array(2.5)},
        {"n_averaged": np.array(NAN)},
        {"n_averaged": None},
        {"module.bias": np.array([NAN])},
        {"module.bias": np.array([INF])},
        {"module.bias": np.array([1e300])},
        {"module.bias": np.array([1j])},
        {"module.bias": None},
    ],
)
def test_averages_that_are_damaged_are_refused_and_nothing_is_taken(damage):
    model = Linear(2, 1, rng=0)
    average = AveragedModel(model)
    average.update()
    before = average.state_dict()
    state = {**before, "module.weight": np.zeros((1, 2), "f"), **damage}
    with pytest.raises(ValueError, match="AveragedModel.load_state_dict"):
        average.load_state_dict(state)
    for name, a in average.state_dict().items():
        assert np.array_equal(a, before[name]), name


def test_an_average_of_another_shape():
    model = Linear(2, 1, rng=0)
    average = AveragedModel(model)
    model.weight.data = np.ones((1, 1), np.float32)
    with pytest.raises(ValueError, match="weight has by now the shape"):
        average.update()


@pytest.mark.parametrize("where", ["averages.py", "contextlib.py"])
def test_an_interrupt_leaves_the_weights_of_the_model(where):
    """KeyboardInterrupt before each bytecode in turn, until there is none left."""
    model = Linear(2, 2, rng=0)
    average = AveragedModel(model)
    own = [p.data for p in model.parameters()]
    average.averages = {name: a + 1.0 for name, a in average.averages.items()}

    def interrupted(n):
        left = n

        def trace(frame, event, arg):
            nonlocal left
            if frame.f_code.co_filename.endswith(where):
                frame.f_trace_opcodes = True
                if event == "opcode":
                    left -= 1
                    if left == 0:
                        raise KeyboardInterrupt
                return trace

        sys.settrace(trace)
        try:
            with average.applied():
                assert not any(p.data is a for p, a in zip(model.parameters(), own))
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(None)
        return False

    interrupted(0)  # at none: Python 3.12 does not trace bytecodes before it has been asked once
    n = 1
    while interrupted(n):
        assert all(p.data is a for p, a in zip(model.parameters(), own)), n
        assert not average.is_applied
        n += 1
    assert n > 20


def test_averages_are_applied_once_at_a_time():
    average = AveragedModel(Linear(1, 1))
    with average.applied():
        with pytest.raises(RuntimeError, match=r"applied\(\) within applied\(\)"):
            with average.applied():
                pass
    average.update()


@pytest.mark.parametrize(
    "options",
    [
        {"step": -1},
        {"step": NAN},
        {"peak": NAN},
        {"peak": -1.0},
        {"floor": INF},
        {"warmup": -1},
        {"steps": None},
        {"step": 0, "warmup": 5, "decay": "step"},
    ],
)
def test_schedules_that_are_none(options):
    with pytest.raises((TypeError, ValueError), match="^learning_rate: "):
        learning_rate(**{"step": 1, "peak": 0.1, "steps": 10, **options})
