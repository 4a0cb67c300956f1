"""Old names work for one version, and say what the new one is."""

import importlib

import numpy as np
import pytest

import nanoautograd as nag


def test_rules_set_by_the_old_name():
    @nag.function
    def cube(a):
        return a**3

    with pytest.warns(DeprecationWarning, match=r"cube.vjp\(...\) is now cube.defvjp") as caught:
        cube.vjp(a=lambda g, a: 3 * g * a**2)
    assert caught[0].filename == __file__
    assert nag.grad(cube)(2.0).item() == 12


@pytest.mark.parametrize(
    "module, name, new",
    [
        ("nanoautograd", "Function", nag.core.operation.Primitive),
        ("nanoautograd.function", "by_hand", nag.custom_vjp),
        ("nanoautograd.function", "function", nag.function),
        ("nanoautograd.graph", "GraphError", nag.GraphError),
        ("nanoautograd.modes", "no_grad", nag.no_grad),
        ("nanoautograd.node", "AnomalyError", nag.AnomalyError),
        ("nanoautograd.tensor", "Tensor", nag.Tensor),
    ],
)
def test_old_names_lead_to_the_new_ones(module, name, new):
    with pytest.warns(DeprecationWarning, match=f"{module}.{name} is now") as caught:
        assert getattr(importlib.import_module(module), name) is new
    assert caught[0].filename == __file__


def test_the_library_of_an_array_by_the_old_name():
    from nanoautograd.backends import namespace

    with pytest.warns(DeprecationWarning, match="is now array_namespace") as caught:
        assert namespace(np.ones(2)) is np
    assert caught[0].filename == __file__


def test_names_that_never_were():
    for module in (nag, importlib.import_module("nanoautograd.tensor")):
        with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
            module.nonsense


def test_an_option_without_effect():
    x = nag.Tensor(np.zeros((2, 3)), requires_grad=True)
    with pytest.warns(DeprecationWarning, match="overwrite_input has no effect") as caught:
        nag.functional.cross_entropy(x, np.array([0, 1]), overwrite_input=True)
    assert caught[0].filename == __file__


def test_the_package_itself_uses_none(recwarn):
    import nanoautograd.functional
    import nanoautograd.nn
    import nanoautograd.optim
    import nanoautograd.testing

    assert dir(nanoautograd.functional) and dir(nanoautograd.nn)
    assert dir(nanoautograd.optim) and dir(nanoautograd.testing)
    assert not [w for w in recwarn if w.category is DeprecationWarning]
