"""The project's code asks its array namespace for nothing that CuPy does not have."""

from pathlib import Path

import pytest
from namespace_lint import lint, lint_file

ROOT = Path(__file__).parents[2]
FILES = sorted(
    [*(ROOT / "nanoautograd").rglob("*.py"), *(ROOT / "models").rglob("*.py"), ROOT / "train.py"]
)
# Here arrays are computed with: NumPy must be reached through the array's namespace.
PORTABLE = {"ops", "manual"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_project_uses_only_what_cupy_has(path):
    portable = PORTABLE & set(path.relative_to(ROOT).parts)
    findings = lint_file(path, numpy_allowed=not portable)
    assert not findings, "\n" + "\n".join(map(str, findings))


@pytest.mark.parametrize(
    "planted, message",
    [
        ("xp.scatter_add(a, i, v)", "no 'scatter_add'"),
        ("xp.vecdot(a, b)", "no 'vecdot'"),
        ("f = xp.errstate", "no 'errstate'"),
        ("xp.sum(a, where=m)", "no keyword 'where'"),
        ("xp.tanh(a, where=m)", "no keyword 'where'"),
        ("xp.max(a, initial=0.0)", "no keyword 'initial'"),
        ("xp.argsort(a, stable=True)", "no keyword 'stable'"),
        ("xp.take(a, i, 0, None, 'clip')", "4 positional arguments, not 5"),
        ("xp.einsum('ij->i', a, out=b)", "no keyword 'out'"),
        ("xp.linalg.vector_norm(a)", "linalg has no 'vector_norm'"),
        ("xp.linalg.norm(a, dim=0)", "no keyword 'dim'"),
        ("xp.maximum.reduce(a)", "cupy.maximum has no 'reduce'"),
        ("xp.multiply.at(a, i, b)", "cupy.multiply has no 'at'"),
        ("getattr(xp, 'block')", "no 'block'"),
        ("array_namespace(a).vecdot(a, b)", "no 'vecdot'"),
        ("module = array_namespace(a)\nmodule.vecdot(a, b)", "no 'vecdot'"),
        ("f(xp.sum(a, axis=0).reshape(xp.nope(3)))", "no 'nope'"),
    ],
)
def test_planted_faults_are_found(planted, message):
    findings = lint(planted)
    assert len(findings) == 1 and message in findings[0].message
    assert findings[0].line == planted.count("\n") + 1


@pytest.mark.parametrize(
    "code",
    [
        "import numpy as np\ny = np.tanh(x)",
        "import numpy\ny = numpy.exp(x)",
        "from numpy import exp",
        "from numpy.linalg import norm",
    ],
)
def test_numpy_is_found_where_either_library_is_computed_with(code):
    assert len(lint(code, numpy_allowed=False)) == 1
    assert not lint(code, numpy_allowed=True)


@pytest.mark.parametrize(
    "code",
    [
        "xp.sum(a, axis=1, keepdims=True, dtype=xp.float32)",
        "xp.tanh(a, out=b)",
        "xp.add.at(a, i, b)",
        "xp.add.reduce(a)",
        "xp.linalg.norm(a, axis=0)",
        "xp.zeros(shape, dtype=a.dtype) + xp.inf",
        "xp.concatenate([*parts], axis=0)",
        "xp.where(*three)",
        "options['where'] = xp.sum(a, **options)",
        "getattr(xp, 'block', None)",
        "from numpy import broadcast_shapes, float32",
        "import numpy as np\nassert isinstance(a, np.ndarray) and a.dtype == np.float32",
        "import numpy as np\nn = np.bincount(lengths)    # on the host: the result is a shape",
        "other.vecdot(a, b)",
    ],
)
def test_good_code_passes(code):
    assert not lint(code, numpy_allowed=False)
