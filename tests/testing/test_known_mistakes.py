"""gradcheck finds mistakes that others have made; beside it, what PyTorch's own check says."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from nanoautograd.testing import GradientError, Inconclusive, KinkNearby, gradcheck

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")

from known_mistakes import MISTAKES, group_max, group_max_rule, table, with_rules  # noqa: E402

pytestmark = [pytest.mark.oracle, pytest.mark.usefixtures("jax_in_float64")]
ROOT = Path(__file__).parents[2]

mistakes = pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.name)


def torch_passes(mistake, wrong, check=torch.autograd.gradcheck, **options):
    f, inputs, _ = mistake.build(wrong)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inputs = [x.requires_grad_() for x in inputs]
        return check(f, inputs, raise_exception=False, **options)


@mistakes
def test_the_mended_rule_passes_and_the_wrong_one_does_not(mistake):
    f, inputs, options = mistake.build(False)
    gradcheck(f, inputs, **options)
    f, inputs, options = mistake.build(True)
    with pytest.raises(GradientError) as failure:
        gradcheck(f, inputs, **options)
    assert not isinstance(failure.value, Inconclusive)


def test_at_a_kink_equal_entries_that_get_too_much_are_undecided():
    tied = np.array([2.0, 2.0, 1.0, 0.5])
    build = with_rules(group_max, group_max_rule(True), group_max_rule(False), tied)
    f, inputs, _ = build(False)
    gradcheck(f, inputs)
    f, inputs, _ = build(True)
    with pytest.raises(KinkNearby):
        gradcheck(f, inputs)


@pytest.mark.parametrize(
    "mistake", [m for m in MISTAKES if m.finds is not None], ids=lambda m: m.name
)
def test_what_the_check_of_pytorch_says_by_default(mistake):
    assert torch_passes(mistake, False)
    assert torch_passes(mistake, True) == (not mistake.finds)


def test_what_the_check_of_pytorch_says_if_asked():
    by_name = {m.name: m for m in MISTAKES}
    second, forward = by_name["second derivative"], by_name["forward mode of a product"]
    for wrong in (False, True):
        assert torch_passes(second, wrong, torch.autograd.gradgradcheck) == (not wrong)
        assert torch_passes(forward, wrong, check_forward_ad=True) == (not wrong)


def test_the_table_in_the_documentation_is_this_one():
    text = (ROOT / "docs/known_mistakes.md").read_text()
    assert table() in text
    passed = sum(m.finds is False for m in MISTAKES)
    asked = sum(m.finds is not None for m in MISTAKES)
    counts = f"refuses {len(MISTAKES)} of {len(MISTAKES)}"
    beside = f"refuses {asked - passed} of the {asked}"
    readme = (ROOT / "nanoautograd/testing/README.md").read_text()
    for page in (text, readme):
        page = " ".join(page.split())
        assert counts in page and beside in page
    assert len({m.source for m in MISTAKES}) == len(MISTAKES)
