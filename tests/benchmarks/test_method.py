"""How the benchmarks measure, count, fit and compare."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import __main__ as command
from benchmarks import (
    compare,
    crossover,
    floor,
    growth,
    imports,
    memory,
    pair,
    pictures,
    report,
    throughput,
)
from benchmarks.case import Product, Work, attention, linear
from benchmarks.cases import make
from benchmarks.clock import ROOT, Measurement, PeerError, Process, differ, measure, quartiles
from benchmarks.registry import peer
from benchmarks.worker import fingerprint
from nanoautograd.backends import products


class Fake:
    """A process whose peer has these results and takes so long."""

    def __init__(self, results, seconds=0.001):
        self.results, self.seconds, self.asked = results, seconds, []
        self.process = self

    def poll(self):
        return None

    def ask(self, do, **request):
        self.asked.append(do)
        if do == "build":
            return {"prints": [[fingerprint(np.array(r))] for r in self.results]}
        return {"peak": 7} if do == "memory" else {"seconds": [self.seconds] * request["samples"]}


class Fakes:
    def __init__(self, precision="float32", **running):
        self.running, self.precision = running, precision


# ------------------------------------------------------------------------------------------ method


def test_a_peer_that_computes_something_else_has_an_error_and_no_time():
    same, other = [[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 4.01]]
    fakes = Fakes(numpy=Fake(same), torch=Fake(same), jax=Fake(other))
    measured, errors = measure(fakes, "mlp", make("mlp", "tiny"), 2, 0.01)
    assert list(measured) == ["numpy", "torch"] and list(errors) == ["jax"]
    assert "result 0 of step 2" in errors["jax"]
    assert "measure" not in fakes.running["jax"].asked


def test_the_tolerance_is_relative_and_smaller_in_double_precision():
    same, near = [[1e6, 2.0]], [[1e6 + 1, 2.0]]
    for precision, errors in (("float32", []), ("float64", ["torch"])):
        fakes = Fakes(precision, numpy=Fake(same), torch=Fake(near))
        assert list(measure(fakes, "mlp", make("mlp", "tiny"), 1, 0.01)[1]) == errors


def test_nan_does_not_agree_with_anything():
    nan = [[fingerprint(np.array([np.nan]))]]
    assert differ(nan, [[fingerprint(np.ones(1))]], 1e-4)
    assert differ(nan, nan, 1e-4)
    assert "gives 2 results, not 1" in differ([nan[0] * 2], nan, 1e-4)


@given(st.integers(1, 40), st.integers(0, 39), st.floats(0.01, 1.0))
def test_a_fingerprint_sees_signs_places_and_sizes(n, i, change):
    a = np.random.default_rng(n).standard_normal(n + 1)
    for b in (-a, a[::-1], np.where(np.arange(n + 1) == i % (n + 1), a + change, a)):
        if not np.allclose(a, b):
            assert differ([[fingerprint(b)]], [[fingerprint(a)]], 1e-6)


def test_all_have_a_turn_in_each_round_and_none_is_always_first(monkeypatch):
    monkeypatch.setattr("benchmarks.clock.REST", 0)
    turns, same = [], [[1.0]]
    fakes = Fakes(**{name: Fake(same) for name in ("numpy", "torch", "jax")})
    for name, fake in fakes.running.items():

        def ask(do, name=name, ask=fake.ask, **request):
            turns.append(name) if do == "measure" else None
            return ask(do, **request)

        fake.ask = ask
    measured, _ = measure(fakes, "mlp", make("mlp", "tiny"), 3, 0.005)
    rounds = [turns[3 + 3 * i : 6 + 3 * i] for i in range(3)]  # after one turn to warm up
    assert [set(r) for r in rounds] == [set(fakes.running)] * 3
    assert {r[0] for r in rounds} == set(fakes.running)
    assert [len(m.rounds) for m in measured.values()] == [3] * 3
    assert all(len(r) == 2 for m in measured.values() for r in m.rounds)  # 2 · 2 steps of 1 ms


def test_ratios_are_taken_within_a_round():
    # The machine is ten times slower in the second round: no ratio shows it.
    ours, other = Measurement([[1.0], [10.0], [1.0]]), Measurement([[2.0], [20.0], [2.0]])
    assert ours.ratio(other) == (0.5, (0.5, 0.5))
    assert quartiles([1.0]) == (1.0, 1.0) and quartiles([1.0, 2.0, 3.0]) == (1.5, 2.5)


def test_a_process_that_dies_says_what_it_wrote():
    process = Process("numpy", 1, "float32")
    try:
        assert process.ask("hello")["versions"]["numpy"] == np.__version__
        with pytest.raises(PeerError, match="KeyError: 'nothing'"):
            process.ask("build", case="nothing", sizes={})
        with pytest.raises(PeerError, match="AttributeError"):
            process.ask("juggle")
        process.process.kill()
        process.process.wait()
        with pytest.raises(PeerError, match="numpy died"):
            process.ask("hello")
    finally:
        process.close()


def test_a_peer_says_what_it_does_not_have():
    process = Process("numpy", 1, "bfloat16")
    try:
        with pytest.raises(PeerError, match="numpy has no bfloat16"):
            process.ask("hello")
    finally:
        process.close()


def test_there_is_no_peer_of_that_name():
    with pytest.raises(ValueError, match="there is no peer 'theano'; there are numpy, cupy"):
        peer("theano")


@pytest.mark.skipif(memory.anonymous() is None, reason="the system does not say")
def test_peak_memory_is_that_of_the_steps():
    memory.trim()
    baseline = memory.anonymous()
    held = np.ones(1 << 21)  # 16 MB

    def steps():
        for _ in range(3):
            np.ones(1 << 22)  # 32 MB, and gone

    peak = memory.peak_of(steps, baseline)
    if peak is None:
        pytest.skip("the mark cannot be reset here")
    assert 46e6 < peak < 70e6 and held.size


def test_the_account_of_a_pool(monkeypatch):
    """With a CuPy that has a pool and hooks, and nothing else."""
    hooks = []

    class MemoryHook:
        def __enter__(self):
            hooks.append(self)

        def __exit__(self, *_):
            hooks.remove(self)

    monkeypatch.setitem(
        sys.modules,
        "cupy",
        SimpleNamespace(
            cuda=SimpleNamespace(MemoryHook=MemoryHook),
            get_default_memory_pool=lambda: SimpleNamespace(used_bytes=lambda: 100),
        ),
    )
    account = memory.PoolPeak()
    (hook,) = hooks
    for call, size in (
        (hook.malloc_postprocess, 512),
        (hook.free_postprocess, 512),
        (hook.malloc_postprocess, 1024),
        (hook.free_postprocess, 100),
    ):
        call(device_id=0, mem_size=size, mem_ptr=1, pmem_id=2)
    assert account.close() == 1124 and not hooks


# ------------------------------------------------------------------------------- work and its limit


def test_the_products_of_a_layer_and_of_attention():
    assert sum(p.flops for p in linear(5, 3, 4)) == 3 * 2 * 5 * 3 * 4
    assert sum(p.flops for p in linear(5, 3, 4, dx=False)) == 2 * 2 * 5 * 3 * 4
    dense, causal = (sum(p.flops for p in attention(6, 8, 4, c)) for c in (False, True))
    assert dense == 6 * (6 * 2 * 8 * 8 * 4) and causal == dense / 2


def test_those_of_a_step_are_what_the_hand_derived_gradient_computes(monkeypatch):
    """Counted as they are called, in a GPT: all but the half of attention that is masked, which is
    not left out in blocks as small as this one."""
    from benchmarks.cases.gpt import gradient_by_hand
    from nanoautograd.backends import threads

    counted, product = [], np.matmul

    def matmul(a, b, out=None):
        result = product(a, b, out=out)
        counted.append(2 * result.size * a.shape[-1])
        return result

    monkeypatch.setattr(np, "matmul", matmul)
    monkeypatch.setattr(threads, "LEAST", 0)  # so that every product is np.matmul's
    monkeypatch.setattr(threads._team, "piece_count", 2)
    case = make("gpt", {"layers": 2, "width": 8, "heads": 2, "T": 6, "B": 2, "vocabulary": 11})
    a = case.arrays("float64")
    gradient_by_hand(a["weights"], a["x"], a["y"], case.layers, case.heads)
    scores = 2 * case.B * case.heads * case.T**2 * 4
    assert sum(counted) == case.work().flops + case.layers * 6 * scores // 2


def test_the_limit_computes_each_product_as_often_as_it_says(monkeypatch):
    limit = peer("products")
    limit.start(1, "float32")
    done = []

    class Case:
        def work(self):
            return Work((Product(2, 3, 4), Product(5, 6, 7, count=3), Product(1, 1, 2, 2, 3)))

    step = limit.products(Case(), "float32")
    monkeypatch.setattr(np, "matmul", lambda a, b, out: done.append((a.shape, b.shape, out.shape)))
    step()
    one, other = ((5, 7), (7, 6), (5, 6)), ((2, 1, 2), (2, 2, 1), (2, 1, 1))
    assert done == [((2, 4), (4, 3), (2, 3)), one, other, one, other, one, other]


def test_products_of_the_limit_are_in_the_precision_that_is_measured(monkeypatch):
    """Whoever computes the products of a device's arrays computes these, and its operands are made
    before the time is taken."""
    made, done = [], []

    class InHalf:
        def operands(a, b):
            made.append((a.shape, b.shape))
            return a.astype("float16"), b.astype("float16")

        def matmul(a, b, out):
            done.append((a.dtype.name, b.dtype.name, out.dtype.name, out.shape))

    monkeypatch.setitem(products.COMPUTED_BY, "strict", InHalf)
    limit = peer("products@strict")
    limit.start(1, "float32")
    work = Work((Product(2, 3, 4), Product(5, 6, 7, count=2)))
    step = limit.products(SimpleNamespace(work=lambda: work), "float32")
    assert made == [((2, 4), (4, 3)), ((5, 7), (7, 6))] and not done
    step()
    step()
    assert len(made) == 2
    assert (
        done == [("float16", "float16", "float32", shape) for shape in [(2, 3), (5, 6), (5, 6)]] * 2
    )


def test_arrays_of_the_limit_are_distinct_up_to_an_amount(monkeypatch):
    monkeypatch.setattr(floor, "DISTINCT", 3 * 40)
    arrays = floor.Arrays(np, "float32")
    given_out = [arrays.array((10,)) for _ in range(7)]
    assert len({id(a) for a in given_out}) == 3 and given_out[3] is given_out[0]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("moved", [1, 1000, 3_000_000])
def test_the_copy_moves_all_bytes(monkeypatch, moved, threads):
    monkeypatch.setattr(floor, "LARGEST", 1 << 20)
    limit = peer("copy")
    limit.start(threads, "float32")

    class Case:
        def work(self):
            return Work((), moved)

    step, copied = limit.copy(Case(), "float32"), []
    monkeypatch.setattr(np, "copyto", lambda to, a: copied.append(a.nbytes))
    step()
    assert sum(copied) == max(1, moved * 4 // 2)


# ---------------------------------------------------------------------------- growth and crossover


@given(st.floats(0.5, 3.0), st.floats(0.0, 5.0), st.floats(0.1, 10.0))
def test_the_exponent_is_found_whatever_does_not_grow(p, a, b):
    n = np.array([1.0, 2.0, 4.0, 8.0])
    assert growth.exponent(n, a + b * n**p) == pytest.approx(p, abs=0.02)


def test_no_exponent_of_what_does_not_rise():
    assert growth.exponent([1, 2, 4], [3.0, 2.0, 1.0]) is None
    assert growth.exponent([1, 2], [1.0, 2.0]) is None


def test_the_crossover_lies_between_two_sizes():
    def rows(*ratios):
        sizes = ({"rows": 1, "columns": 10**k} for k in range(2, 2 + len(ratios)))
        return [
            {
                "case": "softmax",
                "sizes": s,
                "peers": {"cupy": {"seconds": r}, "numpy": {"seconds": 1.0}},
            }
            for s, r in zip(sizes, ratios)
        ]

    assert crossover.crossovers(rows(10.0, 10.0, 0.1)) == [
        {"case": "softmax", "elements": round(10**3.5), "text": "3,162"}
    ]
    assert crossover.crossovers(rows(3.0, 2.0))[0]["text"] == "above 1,000"
    assert crossover.crossovers(rows(0.5, 0.2))[0]["text"] == "below 100"
    assert crossover.crossovers([]) == []


def test_imports_are_compared_with_that_of_numpy():
    times, errors = imports.measure(1, lambda text: None, ())
    assert list(times) == ["numpy", "nanoautograd"] and times["numpy"]["ratio"] == 1.0
    assert times["nanoautograd"]["ratio"] > 0 and not errors


def test_an_import_that_fails_is_an_error_and_ends_nothing(monkeypatch):
    monkeypatch.setattr(imports, "MODULES", ("numpy", "antigravity.wings"))
    monkeypatch.setattr(imports, "find_spec", lambda name: True)
    times, errors = imports.measure(1, lambda text: None, ("antigravity.wings",))
    assert list(times) == ["numpy"] and "ModuleNotFoundError" in errors["antigravity.wings"]


def test_the_clock_counts_whole_steps_but_the_first_and_the_last(monkeypatch):
    now, clock = [0.0], throughput.Clock()
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    for bare, rest in ((9, 9), (1.0, 0.5), (2.0, 0.0), (3.0, 1.0), (7, 7)):
        clock.begin()
        clock.timed(wait)(bare)
        wait(rest)
    assert clock.seconds() == (7.5 / 3, 6.0 / 3)


def test_a_training_that_fails_says_why():
    with pytest.raises(PeerError, match="no device is called 'abacus'"):
        throughput.measure("rnn", 4, 1, 1, "abacus", lambda text: None)


def test_what_train_adds_to_the_bare_step():
    found = throughput.measure("rnn", 4, 1, 1, "cpu", lambda text: None)
    assert 0 < found["bare"] < found["train"] and found["ratio"] == found["train"] / found["bare"]
    assert f"{found['ratio']:.3f}" in report.training_steps([found])


# ------------------------------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """(what was printed, the JSON, the folder of pictures) of a small run."""
    folder = tmp_path_factory.mktemp("benchmarks")
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr(
            "builtins.print", lambda *words, **_: printed.append(" ".join(map(str, words)))
        )
        patch.setattr(imports, "MODULES", ("numpy", "nanoautograd"))
        assert (
            command.main(
                [
                    "--models",
                    "rnn",
                    "--ops",
                    "softmax",
                    "--growth",
                    "--imports",
                    "--sizes",
                    "tiny",
                    "--backend",
                    "strict",
                    "--vs",
                    "--threads",
                    "1",
                    "--rounds",
                    "1",
                    "--seconds",
                    "0.001",
                    "--json",
                    str(folder / "a.json"),
                    "--plot",
                    str(folder),
                ]
            )
            == 0
        )
    return "\n".join(printed), folder / "a.json", folder


def test_the_command_prints_tables_and_keeps_all_it_measured(measured):
    printed, path, folder = measured
    for text in ("rnn tiny", "softmax tiny", "by hand@strict", "| nanoautograd", "p of memory"):
        assert text in printed
    found = report.read(path)
    e = found["environment"]
    assert e["threads"] == 1 and e["precision"] == "float32" and e["processor"]
    assert e["libraries"]["strict"]["versions"]["numpy"] == np.__version__
    assert all(pool["num_threads"] == 1 for pool in e["libraries"]["strict"]["pools"])
    assert [r["case"] for r in found["rows"]] == ["rnn", "softmax"]
    assert found["rows"][0]["peers"]["strict"]["seconds"] > 0
    for picture in ("roofline.png", "growth.png"):
        assert (folder / picture).stat().st_size > 10_000


def test_bars_beside_peers(measured, tmp_path):
    found = report.read(measured[1])
    for r in found["rows"]:
        r["peers"]["torch"] = {
            "seconds": 1.0,
            "ratio": 0.5,
            "ratio quartiles": [0.4, 0.6],
            "peak": 10**6,
        }
    assert tmp_path / "bars.png" in pictures.draw(found, tmp_path)
    assert "1,000 (0.50)" in report.tables(found)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--models", "rrn"], "there is no 'rrn'; there are rnn, lstm"),
        (["--ops", "lstm"], "there is no 'lstm'; there are matmul"),
        (["--sizes", "huge"], "invalid choice: 'huge'"),
        (["--threads", "0"], "must be above 0"),
        (["--seconds", "nan"], "must be above 0"),
        (["--seconds", "inf"], "finite"),
        (
            ["--training", "--dtype", "float64"],
            "train.py, which computes in float32, not in float64",
        ),
        (
            ["--models", "gpt", "--sizes", "large"],
            "gpt has no size large; it has tiny, small, medium",
        ),
        (["--vs", "numpy"], "--vs numpy: it is what ours computes with"),
    ],
)
def test_options_that_make_no_sense(words, message, capsys):
    with pytest.raises(SystemExit):
        command.main(words)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, numpy",
    [
        ("--backend cupy", True),
        ("--backend cupy --vs numpy torch", True),
        ("--backend cupy --vs torch autograd", False),
        ("--backend cupy --vs", False),
        ("--backend strict", False),
        ("--vs torch", True),
    ],
)
def test_numpy_can_be_left_out_on_a_gpu(monkeypatch, words, numpy):
    for kind in ("Peer", "Ours", "Torch", "Jax"):
        monkeypatch.setattr(f"benchmarks.peers.{kind}.absent", lambda self: None)
    names, absent = command.peers_of(command.options(words.split()))
    assert names.count("numpy") == numpy and not absent
    assert ("captured" in names) == ("cupy" in words)
    assert all("@cuda" in n for n in names if n.startswith("torch") and "cupy" in words)


def test_a_backend_that_is_not_here_says_why(monkeypatch):
    monkeypatch.setattr("benchmarks.peers.Ours.absent", lambda self: "no GPU")
    assert "--backend cupy cannot be used: no GPU" in command.main(["--backend", "cupy"])


def test_a_precision_that_ours_lacks_is_refused(capsys):
    words = ["--ops", "softmax", "--sizes", "tiny", "--vs", "--dtype", "bfloat16"]
    assert "numpy has no bfloat16" in command.main(words)


@pytest.mark.parametrize(
    "words",
    [
        ["--json", "{}/no/such/a.json"],
        ["--json", "{}"],
        ["--plot", "{}/file/pictures"],
        ["--json", "{}/file/a.json"],
    ],
)
def test_where_nothing_can_be_kept_nothing_is_measured(words, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(command, "run", lambda *_: pytest.fail("measures"))
    assert str(tmp_path) in command.main([w.format(tmp_path) for w in words])


def test_what_was_measured_before_an_interruption_is_kept(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(growth, "sweep", interrupted)
    path = tmp_path / "a.json"
    assert (
        command.main(
            [
                "--ops",
                "softmax",
                "--growth",
                "--sizes",
                "tiny",
                "--vs",
                "--threads",
                "1",
                "--rounds",
                "1",
                "--seconds",
                "0.001",
                "--json",
                str(path),
            ]
        )
        == 130
    )
    assert [r["case"] for r in report.read(path)["rows"]] == ["softmax"]
    assert "- interrupted" in capsys.readouterr().out


def test_a_peer_that_dies_on_the_way_has_an_error_and_the_others_go_on(monkeypatch):
    monkeypatch.setattr("benchmarks.clock.REST", 0)
    same = [[1.0]]
    fakes = Fakes(**{name: Fake(same) for name in ("numpy", "torch", "jax")})
    ask, replaced, turns = fakes.running["torch"].ask, [], []

    def die(do, **request):
        turns.append(do)
        if turns.count("measure") == 3:
            raise PeerError("torch died: killed")
        return ask(do, **request)

    fakes.running["torch"].ask, fakes.running["torch"].poll = die, lambda: -9
    fakes.replace = replaced.append
    measured, errors = measure(fakes, "mlp", make("mlp", "tiny"), 4, 0.005)
    assert errors == {"torch": "torch died: killed"} and replaced == ["torch"]
    assert [len(m.rounds) for m in measured.values()] == [4, 4] and "torch" not in measured


# -------------------------------------------------------------------------------------- comparison


def changed(path, to, **factors):
    """A copy of a report in which ours takes `factors` times as long."""
    found = json.loads(path.read_text())
    for r in found["rows"]:
        ours, factor = r["peers"][r["main"]], factors.get(r["case"], 1.0)
        ours["seconds"] *= factor
        ours["quartiles"] = [0.99 * ours["seconds"], 1.01 * ours["seconds"]]
        r["peers"]["torch"] = {
            **ours,
            "ratio": ours["seconds"],
            "ratio quartiles": ours["quartiles"],
        }
    to.write_text(json.dumps(found))
    return str(to)


def test_compare_shows_what_got_slower(measured, tmp_path, capsys):
    a = changed(measured[1], tmp_path / "a.json")
    b = changed(measured[1], tmp_path / "b.json", softmax=1.5, rnn=0.5)
    assert compare.main([a, a]) == 0
    assert compare.main([a, b]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any("softmax tiny" in s and "1.50" in s and "slower" in s for s in lines)
    assert any("rnn tiny" in s and "0.50" in s and "faster" in s for s in lines)
    assert compare.main([a, b, "--threshold", "0.6"]) == 0
    assert compare.main([a, b, "--relative", "torch"]) == 1
    assert compare.main([a, b, "--relative", "jax"]) == 2
    assert "no peer 'jax' in them; there are by hand@strict" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change, what, word",
    [
        (lambda r: r["rows"][0]["peers"]["strict"].update(peak=9e9), "rnn tiny, memory", "more"),
        (lambda r: r["rows"][0]["peers"].pop("strict"), "rnn tiny", "failed"),
        (
            lambda r: r["imports"]["nanoautograd"].update(seconds=99.0, quartiles=[98, 100]),
            "import nanoautograd",
            "slower",
        ),
        (
            lambda r: r["training"][0].update(ratio=2.0, quartiles=[1.9, 2.1]),
            "train.py rnn",
            "slower",
        ),
        (lambda r: r["growth"][0].update(time=2.5), "growth of attention", "slower"),
    ],
)
def test_compare_sees_all_that_was_measured(measured, tmp_path, capsys, change, what, word):
    found = json.loads(measured[1].read_text())
    found["training"] = [
        {"preset": "rnn", "train": 1.01, "bare": 1.0, "ratio": 1.01, "quartiles": [1.0, 1.02]}
    ]
    found["growth"] = [
        {"case": "attention", "size": "T", "peer": "numpy", "time": 1.0, "memory": None}
    ]
    paths = [str(tmp_path / name) for name in ("a.json", "b.json")]
    for path, f in zip(paths, (lambda r: None, change)):
        f(found)
        with open(path, "w") as file:
            json.dump(found, file)
    assert compare.main(paths) == 1
    (line,) = [
        s for s in capsys.readouterr().out.splitlines() if s.startswith(f"| {what}") and word in s
    ]
    assert line.rstrip(" |").endswith(word)


def test_what_is_missing_afterwards_is_listed(measured, tmp_path, capsys):
    found = json.loads(measured[1].read_text())
    found["rows"].pop()
    (tmp_path / "b.json").write_text(json.dumps(found))
    assert compare.main([str(measured[1]), str(tmp_path / "b.json")]) == 0
    assert any("softmax" in s and "missing" in s for s in capsys.readouterr().out.splitlines())


def test_a_change_within_the_spread_is_none(measured, tmp_path):
    found = json.loads(measured[1].read_text())
    for factor, path in ((1.0, "a.json"), (1.2, "b.json")):
        for r in found["rows"]:
            ours = r["peers"][r["main"]]
            ours["seconds"], ours["quartiles"] = factor, [0.5 * factor, 2.0 * factor]
        (tmp_path / path).write_text(json.dumps(found))
    assert compare.main([str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0


def test_a_file_that_is_no_report(tmp_path, capsys):
    path = tmp_path / "a.json"
    for text in (
        "",
        "[]",
        "{}",
        '{"environment": {}, "rows": []}',
        "[" * 100_000,
        "null",
        '{"environment": null, "rows": [1]}',
    ):
        path.write_text(text)
        assert compare.main([str(path)] * 2) == 2
        assert "is no output of" in capsys.readouterr().err
    assert compare.main([str(tmp_path / "b.json")] * 2) == 2
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.pop("case"),
        lambda r: r.pop("sizes"),
        lambda r: r.update(peers=None),
        lambda r: r.update(peers=[]),
        lambda r: r["peers"]["strict"].update(seconds=None),
        lambda r: r["peers"]["strict"].update(seconds="fast"),
        lambda r: r["peers"]["strict"].update(seconds=0.0),
        lambda r: r["peers"]["strict"].update(seconds=float("nan")),
        lambda r: r["peers"]["strict"].update(quartiles=[1.0]),
        lambda r: r["peers"]["strict"].pop("quartiles"),
    ],
)
def test_a_damaged_report_is_refused(measured, tmp_path, capsys, change):
    found = json.loads(measured[1].read_text())
    change(found["rows"][0])
    (tmp_path / "a.json").write_text(json.dumps(found))
    assert compare.main([str(tmp_path / "a.json")] * 2) == 2
    assert "is no output of" in capsys.readouterr().err


@given(st.lists(st.floats(0, 1), max_size=20).map(sorted), st.sampled_from([0.0, 0.025, 0.3]))
def test_labels_stand_apart(places, gap):
    """In order, no nearer than the gap; those that are apart already stay, and the middle too."""
    moved = pictures.apart(places, gap)
    assert all(b - a >= gap - 1e-9 for a, b in zip(moved, moved[1:]))
    assert np.isclose(sum(moved), sum(places))
    if all(b - a >= gap for a, b in zip(places, places[1:])):
        assert np.allclose(moved, places)


def test_a_pair_is_slower_only_if_it_is_so_in_every_repeat():
    def one(before, after, peak=1e6):
        times = Measurement([[before]] * 3, 1e6, []), Measurement([[after]] * 3, peak, [])
        return pair.Repeat(*times)

    slower, once = one(1e-3, 2e-3), [one(1e-3, 2e-3), one(1e-3, 1.01e-3)]
    assert pair.row("a", [slower, one(1e-3, 1.1e-3)], 0.05) == (
        *("a", "1", "1.55", "2.00, 1.10", "1.00, 1.00", "slower"),
    )
    assert pair.row("a", once, 0.05)[-1] == ""
    assert pair.row("a", [one(1e-3, 1e-3, 2e6)] * 2, 0.05)[-1] == "more memory"


def test_a_pair_with_other_results_fails(monkeypatch, capsys):
    def process(name, threads, precision, folder):
        fake = Fake([np.ones(3) * (2 if folder.name == "after" else 1)])
        fake.close = lambda: None
        return fake

    monkeypatch.setattr(pair, "Process", process)
    monkeypatch.setattr(pair, "options", lambda argv: argv)
    o = dict(before=Path("before"), after=Path("after"), cases=[("sum", "tiny")], threads=1)
    o |= dict(repeats=1, rounds=1, seconds=0.1, threshold=0.05)
    assert pair.main(SimpleNamespace(**o)) == 1
    assert "failed: computes something else" in capsys.readouterr().out


@pytest.mark.slow
def test_a_pair_of_one_checkout(capsys):
    here = str(ROOT)
    some = ["--ops", "sum", "--sizes", "tiny", "--rounds", "1", "--seconds", "0.01"]
    status = pair.main([here, here, *some, "--threshold", "1000"])
    printed = capsys.readouterr().out
    assert status == 0 and "| sum tiny " in printed and "0 of 1 got worse" in printed


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["/", "."], "no checkout of this project"),
        ([".", ".", "--ops", "sums"], "there is no 'sums'"),
        ([".", ".", "--repeats", "0"], "above 0"),
    ],
)
def test_a_pair_that_cannot_be(arguments, says, capsys):
    with pytest.raises(SystemExit):
        pair.main([str(ROOT) if a == "." else a for a in arguments])
    assert says in capsys.readouterr().err
