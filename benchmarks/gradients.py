"""How long a gradient check takes, beside those of PyTorch, JAX and HIPS autograd.

    python -m benchmarks --gradcheck

The checks get the same function, of the same library, at the same inputs in float64, and are timed
in turn, round by round, in milliseconds of processor time, with one thread. With functions of
PyTorch: torch.autograd.gradcheck in its default mode, which looks at every entry, and in its fast
mode, which looks along one direction; with JAX: jax.test_util.check_grads; with HIPS autograd: its
check_grads. All of these take one step, and ask for three to six digits.
"""

import statistics
import time
import warnings
from importlib.util import find_spec

import numpy as np
from threadpoolctl import threadpool_limits

from nanoautograd.testing import GradientError, gradcheck

from .environment import environment
from .tables import markdown, ms

TURN = 0.02  # seconds that a turn of a check takes at least
MOST = 5_000  # numbers that a default mode gets which calls the function twice for each

SHAPES = {
    "tanh(x) x, 10 numbers": ("tanh", [(10,)]),
    "tanh(x) x, 1,000": ("tanh", [(1000,)]),
    "tanh(x) x, 100,000": ("tanh", [(100_000,)]),
    "product, 32 x 32": ("product", [(32, 32), (32, 32)]),
    "cross-entropy, 16 x 10": ("cross_entropy", [(16, 10)]),
    "cross-entropy, 256 x 1,000": ("cross_entropy", [(256, 1000)]),
    "RNN, 5 steps": ("rnn", [(5, 4, 8), (4, 16), (8, 16), (16, 16), (16,)]),
}
ENTRIES = "tanh(x) x, 1,000"  # where every entry is looked at by itself, too


class Functions:
    """The functions, of arrays of a library. xp: its namespace; labels: {of so many classes: its
    integers}; cross_entropy: its own, of scores and labels."""

    def __init__(self, xp, labels, cross_entropy):
        self.xp, self.labels, self.mean_loss = xp, labels, cross_entropy

    def tanh(self, x):
        return self.xp.tanh(x) * x

    def product(self, a, b):
        return a @ b

    def cross_entropy(self, z):
        return self.mean_loss(z, self.labels[z.shape[1]])

    def rnn(self, x, h, U, W, b):
        for t in range(5):
            h = self.xp.tanh(x[t] @ U + h @ W + b)
        return h


def labels(put):
    rng = np.random.default_rng(1)
    return {c: put(rng.integers(0, c, n)) for n, c in ((16, 10), (256, 1000))}


def of_torch():
    """(Functions, what makes an input, {name of a check: it}) of a library, ours first."""
    import torch

    torch.set_num_threads(1)

    def theirs(**mode):
        def check(f, xs):
            torch.autograd.gradcheck(f, [x.requires_grad_() for x in xs], **mode)

        return check

    functions = Functions(torch, labels(torch.tensor), torch.nn.functional.cross_entropy)
    checks = {"ours": gradcheck, "default mode": theirs(), "fast mode": theirs(fast_mode=True)}
    return functions, torch.tensor, checks


def of_jax():
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)

    def loss(z, labels):
        return -jax.nn.log_softmax(z)[np.arange(len(z)), labels].mean()

    def theirs(f, xs):
        check_grads(f, xs, order=1, modes=["rev"])

    functions = Functions(jax.numpy, labels(jax.numpy.asarray), loss)
    return functions, jax.numpy.asarray, {"ours": gradcheck, "check_grads": theirs}


def of_autograd():
    import autograd.numpy as xp
    from autograd import make_vjp
    from autograd.test_util import check_grads

    def loss(z, labels):
        z = z - xp.max(z, axis=1, keepdims=True)
        p = z - xp.log(xp.sum(xp.exp(z), axis=1, keepdims=True))
        return -xp.mean(p[np.arange(len(labels)), labels])

    def ours(f, xs):
        def vjp(u, *xs):
            return make_vjp(lambda xs: f(*xs))(tuple(xs))[0](u)

        return gradcheck(f, xs, vjp=vjp)

    def theirs(f, xs):
        state = np.random.get_state()  # which it draws from
        check_grads(f, modes=["rev"], order=1)(*xs)
        np.random.set_state(state)

    return Functions(xp, labels(np.asarray), loss), np.array, {"ours": ours, "check_grads": theirs}


LIBRARIES = {"torch": of_torch, "jax": of_jax, "autograd": of_autograd}


def counted(f):
    """f, and a list of one number: how often it was called."""
    calls = [0]

    def g(*xs):
        calls[0] += 1
        return f(*xs)

    return g, calls


def turns(checks, rounds):
    """{name: [seconds of processor time of one check, in each round]}, in turn."""
    times = {name: [] for name in checks}
    repeats = {}
    for name, check in checks.items():  # a first time, which is not counted
        begin = time.process_time()
        check()
        repeats[name] = max(1, round(TURN / max(time.process_time() - begin, 1e-4)))
    for i in range(rounds):
        names = list(checks)
        for name in names[i % len(names) :] + names[: i % len(names)]:
            begin = time.process_time()
            for _ in range(repeats[name]):
                checks[name]()
            times[name].append((time.process_time() - begin) / repeats[name])
    return times


def row(name, f, inputs, checks, rounds):
    """The cells of one function: of each check its calls, its time, and ours / it."""
    calls, runs = {}, {}
    for check_name, check in checks.items():
        g, count = counted(f)
        check(g, inputs())
        calls[check_name] = count[0]
        runs[check_name] = lambda check=check: check(f, inputs())
    times = turns(runs, rounds)
    ours = next(iter(checks))
    cells = [name]
    for check_name in checks:
        ratio = statistics.median(a / b for a, b in zip(times[ours], times[check_name]))
        cells.append(f"{calls[check_name]:,}")
        beside = "" if check_name == ours else f" ({ratio:.2g})"
        cells.append(ms(statistics.median(times[check_name])) + beside)
    return cells


def rows(make, rounds, show=lambda name: None):
    """The table of a library, its head first."""
    functions, put, checks = make()
    rng = np.random.default_rng(0)
    table = [["function", *(f"{name}{what}" for name in checks for what in (", calls", ", ms"))]]
    todo = [(name, name, {}) for name in SHAPES]
    if "default mode" in checks:
        todo.append((f"{ENTRIES}, every entry", ENTRIES, {"entries": True}))
    for name, case, options in todo:
        show(name)
        kind, shapes = SHAPES[case]
        arrays = [rng.standard_normal(shape) for shape in shapes]
        some = {c: check for c, check in checks.items() if options == {} or c != "fast mode"}
        if options:
            some["ours"] = lambda f, xs: gradcheck(f, xs, entries=True)
        if sum(a.size for a in arrays) > MOST:
            some.pop("default mode", None)
        cells = row(name, getattr(functions, kind), lambda: [put(a) for a in arrays], some, rounds)
        by_check = dict(zip(some, zip(cells[1::2], cells[2::2])))
        table.append([name, *(c for check in checks for c in by_check.get(check, ("-", "-")))])
    return table


def explained():
    """How often a function is called until a mistake in its gradient is explained."""
    table = [["a gradient that is twice too large", "ours, calls"]]
    for n in (10, 1000, 100_000):
        f, calls = counted(np.tanh)
        try:
            x = np.random.default_rng(0).standard_normal(n)
            gradcheck(f, [x], vjp=lambda u, x: 2 * u * (1 - np.tanh(x) ** 2))
        except GradientError:
            table.append([f"tanh(x), {n:,} numbers", f"{calls[0]:,}"])
    return table


def main(rounds, show=lambda text: None):
    """Prints the tables; returns 0."""
    about = environment(1, "float64", {})
    lines = [
        "python -m benchmarks --gradcheck",
        "",
        f"{about['processor']}, 1 thread, float64; Python {about['python']}; commit "
        f"{about['commit']}; load before: {about['load before']}; {rounds} rounds",
        "",
        "Gradient checks: calls of the function, milliseconds of processor time (in parentheses "
        "ours / theirs: below 1 ours is faster)",
    ]
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, make in LIBRARIES.items():
            if find_spec(name) is None:
                lines += ["", f"{name} is not installed"]
                continue
            lines += ["", f"Functions of {name}", ""]
            lines.append(markdown(rows(make, rounds, lambda case: show(f"{name}: {case}"))))
        lines += ["", "How long an explanation is", "", markdown(explained())]
    print("\n".join(lines))
    return 0
