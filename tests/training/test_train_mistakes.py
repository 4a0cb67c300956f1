"""train.py given what is wrong, or when something goes wrong: a sentence says so, and no run is
lost."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")

from runs import SCRIPT, TINY, metrics, result  # noqa: E402

import train  # noqa: E402
from models.tasks.language import Language  # noqa: E402
from models.training.options import parse  # noqa: E402
from nanoautograd import nn  # noqa: E402
from nanoautograd.backends import threads  # noqa: E402
from nanoautograd.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from nanoautograd.kernels.cpu import recurrent  # noqa: E402


def fails(capsys, message, expected):
    """The call ended in one line that says so, and not in a traceback."""
    assert isinstance(message, str) and message.startswith("train.py: ")
    assert re.search(expected, message), message
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"abc" * 10, "has 27 tokens.*needs at least 65"),
        (b"abc\xff" * 100, "not UTF-8: byte 0xff at offset 3"),
        (None, "no file or folder"),
    ],
)
def test_a_bad_text_is_refused_in_a_sentence(tmp_path, capsys, content, expected):
    path = tmp_path / "bad.txt"
    if content is not None:
        path.write_bytes(content)
    fails(
        capsys,
        train.main(
            [
                "--data",
                str(path),
                "--out",
                str(tmp_path / "out"),
                "--batch",
                "4",
                "--block-size",
                "16",
            ]
        ),
        expected,
    )
    assert not (tmp_path / "out" / "checkpoint.json").exists()


def test_bad_text_does_not_cost_the_run_to_overwrite(run, tmp_path):
    run("--steps", 2)
    before = result(tmp_path / "run")
    assert "no file" in run("--overwrite", "--data", tmp_path / "missing")
    assert result(tmp_path / "run") == before


def test_an_unwritable_folder_is_named(run, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file" / "run", tmp_path / "file"):
        fails(capsys, run("--out", out), f"{out} cannot be a folder, for a file is in the way")
    if os.geteuid():  # root may write anywhere
        (tmp_path / "locked").mkdir(mode=0o500)
        fails(capsys, run("--out", tmp_path / "locked"), "[Pp]ermission")
    fails(capsys, run("--out", "/proc/nothing"), "/proc/nothing")


@pytest.mark.parametrize(
    "options, expected",
    [
        (["--hidden", "0"], "--hidden: must be at least 1 and below 1000000000, got 0"),
        (
            ["--hidden", "1" + 20 * "0"],
            "--hidden: must be at least 1 and below 1000000000, got 1000",
        ),
        (
            ["--warmup", "1" + 400 * "0"],
            "--warmup: must be at least 0 and below 1000000000, got 1000",
        ),
        (["--lr", "-1"], "--lr: must be above 0, got -1"),
        (["--lr", "nan"], "--lr: must be above 0, got nan"),
        (["--lr", "inf"], "--lr: must be above 0, got inf"),
        (["--validation", "1"], "--validation: must be above 0 and below 1, got 1"),
        (["--betas", "0.9", "1"], "--betas: must be at least 0 and below 1, got 1"),
        (["--steps", "many"], "--steps: invalid int value: 'many'"),
        (["--decay", "exponential"], "--decay: invalid choice"),
        (["--seed", "-1"], "--seed: must be at least 0"),
        (["--temperature", "-0.5"], "--temperature: must be at least 0"),
        (["--top-k", "0"], "--top-k: must be at least 1"),
        (["--top-p", "0"], "--top-p: must be above 0 and at most 1"),
        (["--min-p", "1.5"], "--min-p: must be at least 0 and at most 1"),
        (["--repetition-penalty", "0"], "--repetition-penalty: must be above 0"),
        (["--layers", "1.5"], "--layers: invalid int value: '1.5'"),
        (["--cell", "transformer"], "--cell: invalid choice: 'transformer'"),
        (["--average", "1"], "--average: must be at least 0 and below 1, got 1"),
        (["--hiden", "3"], "there is no option --hiden; did you mean --hidden?"),
        (["--out", ""], "--out: must be the path of a folder, got an empty text"),
        (["--data", ""], "--data: must be a name or a path, got an empty text"),
        (["--pretrained", ""], "--pretrained: must be a name or a folder, got an empty text"),
    ],
)
def test_option_out_of_range(run, capsys, options, expected):
    with pytest.raises(SystemExit) as e:
        run(*options)
    assert e.value.code == 2
    err = capsys.readouterr().err
    assert expected in err and err.startswith("train.py: ") and err.count("\n") == 1


def test_options_that_do_not_fit(tmp_path, capsys):
    out = ["--out", str(tmp_path)]
    fails(capsys, train.main(["gpt", "--heads", "3", *out]), "do not fit.*got 128 and 3")
    fails(capsys, train.main(["ngram", "--steps", "3", *out]), "makes no steps; got --steps 3")


def test_a_rate_below_the_floor_stays_where_it_is(run, tmp_path):
    run("--steps", 5, "--warmup", 0, "--lr", 1e-5)
    assert {m["lr"] for m in metrics(tmp_path / "run") if "lr" in m} == {1e-5}


def test_byte_pairs_train_resume_and_write(run, tmp_path, capsys):
    pytest.importorskip("tokenizers")
    options = ["--tokens", "bpe", "--vocab-size", "300", "--decay", "constant"]
    run("--steps", 6, "--evaluate-every", 3, *options)
    straight = result(tmp_path / "run")
    run("--steps", 3, "--evaluate-every", 3, "--overwrite", *options)
    run("--steps", 6, "--resume")
    assert result(tmp_path / "run") == straight
    scores = json.loads((tmp_path / "run" / "result.json").read_text())["scores"]
    assert scores["bits"] < scores["loss"] / np.log(2) / 1.5  # a token is some characters
    capsys.readouterr()
    assert (
        train.main(["--out", str(tmp_path / "run"), "--generate", "never ß 🙂", "--length", "9"])
        is None
    )
    assert capsys.readouterr().out.startswith("never ß 🙂")


def test_a_gpu_that_is_not_there(run, capsys):
    fails(capsys, run("--device", "cuda:99"), "cuda:99.*cannot be used")
    fails(capsys, run("--device", "tpu"), "'tpu'")


def test_too_much_memory_is_refused_in_a_sentence(run, capsys):
    fails(capsys, run("--hidden", 10**9 - 1, "--embedding", 10**5), "[Aa]llocate")


@pytest.mark.parametrize("error", [MemoryError(), MemoryError("Unable to allocate 1 TiB")])
@pytest.mark.parametrize("name, options", [("train", []), ("generate", ["--generate", "a"])])
def test_too_little_memory_is_said_in_a_sentence(run, capsys, monkeypatch, error, name, options):
    run("--steps", 2)

    def fail(*args):
        raise error

    monkeypatch.setattr(train, name, fail)
    message = run(*options, "--overwrite")
    fails(capsys, message, "there is not enough memory .*; try a smaller model, or a smaller batch")
    assert str(error) in message


@pytest.mark.parametrize(
    "program",
    [
        *("train.py", "models.search", "models.table", "models.chat"),
        *("benchmarks", "benchmarks.time_to_loss"),
        pytest.param("benchmarks.finetuning", marks=pytest.mark.oracle),  # imports PyTorch
    ],
)
def test_ctrl_c_during_the_imports_ends_with_one_line(tmp_path, program):
    slow = "import os, time; os.kill(os.getpid(), 2); time.sleep(20)"
    (tmp_path / "numpy.py").write_text(slow)
    words = [str(SCRIPT)] if program == "train.py" else ["-m", program]
    process = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        cwd=SCRIPT.parent,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell may ignore it
    )
    assert process.returncode == 130
    assert process.stderr.removeprefix("\npython -m ").strip() == f"{program}: interrupted"
    assert process.stdout == ""


def test_nothing_else_is_imported_before_ctrl_c_is_caught():
    code = "import sys; at_first = {*sys.modules}; from models.training import terminal; "
    code += "print(*{*sys.modules} - at_first)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=SCRIPT.parent
    )
    ours = {"models", "models.training", "models.training.terminal"}
    assert ours <= set(done.stdout.split()) <= ours | {"_signal"}, done.stderr


@pytest.mark.parametrize(
    "closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "| true", ">/dev/full"]
)
def test_standard_streams_that_are_closed_or_full(text, tmp_path, closed):
    out, options = tmp_path / "run", ["--steps", "2"]
    words = [sys.executable, str(SCRIPT), "--data", str(text), "--out", str(out), *TINY, *options]
    process = subprocess.run(
        ["bash", "-c", f"{shlex.join(words)} {closed}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
    )
    is_lost = closed in ("| true", ">/dev/full")  # what nobody reads ends a program
    assert process.returncode == is_lost, process.stderr
    assert "Traceback" not in process.stderr and "Exception ignored" not in process.stderr
    if not is_lost:
        assert load_checkpoint(out)[1]["step"] == 2
        assert [line["step"] for line in metrics(out)] == [1, 2, 2]  # and no output among them


def test_what_cannot_be_answered_is_said(run, tmp_path, capsys):
    way = re.escape(f"train one first: python train.py --out {tmp_path / 'run'}")
    fails(capsys, run("--generate", "alpha"), f"there is no run in {tmp_path / 'run'} .*{way}$")
    run("--steps", 2)
    fails(capsys, run("--generate", "alphaß"), r"lacks 'ß' \(U\+00DF\)")
    fails(capsys, run("--generate", ""), "empty")


def test_damaged_and_foreign_checkpoints_are_refused(run, tmp_path, capsys):
    run("--steps", 2)
    folder = tmp_path / "run"
    (arrays,) = folder.glob("*.safetensors")
    data = arrays.read_bytes()
    for bad in (data[:-1], data[:100], b"", bytes([*data[:-1], data[-1] ^ 1])):
        arrays.write_bytes(bad)
        for options in (["--resume"], ["--generate", "a"]):
            fails(capsys, run(*options), "truncated or damaged")
    arrays.write_bytes(data)
    tensors, state = load_checkpoint(folder)

    save_checkpoint(folder, tensors, {**state, "options": {**state["options"], "hidden": 9}})
    fails(
        capsys,
        train.main(["--out", str(folder), "--generate", "a"]),
        "(?s)does not fit.*mis-shaped: rnn.weight_hh_l0 is",
    )
    save_checkpoint(folder, {"model.weight": np.ones(3)}, state)
    fails(capsys, run("--resume"), "(?s)does not fit.*missing: embedding.weight.*unexpected: w")
    for other in ({**state, "kind": "GPT"}, {"kind": "GPT"}, [1, 2], None):
        save_checkpoint(folder, tensors, other)
        fails(capsys, run("--resume"), "is not of a nanoautograd run")
    for text in (b'{"step": 1}', b"null", b"[]", b"1", b'"check"'):
        (folder / "checkpoint.json").write_bytes(text)
        fails(capsys, run("--resume"), "damaged, or no checkpoint: (Key|Type)Error")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["model.", "average."])
def test_weights_that_are_not_finite_are_not_used(run, tmp_path, capsys, kind, value):
    run("--steps", 2, "--average", 0.5)
    folder = tmp_path / "run"
    tensors, state = load_checkpoint(folder)
    for name, array in tensors.items():
        if name.startswith(kind) and array.dtype == np.float32:
            worse = array.copy()
            worse.flat[-1] = value
            save_checkpoint(folder, {**tensors, name: worse}, state)
            for options in (["--resume", "--steps", 3], ["--generate", "alp"]):
                fails(capsys, run(*options), f"(?s)not all are finite, in.*{name}.*--overwrite")
                assert capsys.readouterr().out == ""


def changed_moments(tensors):
    """(what is wrong, arrays) for all that can be wrong with what an optimiser remembers."""
    for name, array in tensors.items():
        if name.startswith("optimizer.") or name == "carried":
            others = {other: a for other, a in tensors.items() if other != name}
            yield f"missing: {name}", others
            yield f"{name} is ", {**others, name: np.ones((1, *array.shape), array.dtype)}
            yield f"{name} is ", {**others, name: array.astype("f2")}
            if array.size > 1:
                yield f"{name} is ", {**others, name: array.ravel()[:1]}
            if array.dtype == np.float32:
                yield f"not finite: {name}", {**others, name: array * np.nan}
                yield f"not finite: {name}", {**others, name: array + np.float32(np.inf)}
            if name.endswith("exp_avg_sq"):
                yield f"{name} has negative squares", {**others, name: array - 1}
            if name.endswith("step"):
                yield f"{name} is 3", {**others, name: np.array(3)}
                yield f"unexpected: {name[:-4]}exp_avg", {**others, name: np.array(0)}
    some = [name for name in tensors if not name.startswith("optimizer.0.")]
    yield "missing: optimizer.0.exp_avg", {name: tensors[name] for name in some}
    none = {name: a for name, a in tensors.items() if not name.startswith("optimizer.")}
    yield "missing: optimizer.1.step", none
    steps = {name: np.array(0) for name in tensors if name.endswith(".step")}
    yield "no parameter has ever had a gradient", {**none, **steps}
    for name in ("optimizer.99.exp_avg", "optimizer.0.exp_avg_inf", "optimizer.x", "weights"):
        yield f"unexpected: {name}", {**tensors, name: np.ones(3)}


def test_what_an_optimiser_remembers_is_whole_or_refused(run, tmp_path, capsys):
    run("--steps", 2)
    folder, seen = tmp_path / "run", 0
    tensors, state = load_checkpoint(folder)
    for wrong, others in changed_moments(tensors):
        save_checkpoint(folder, others, state)
        before = (folder / "checkpoint.json").read_bytes()
        message = run("--resume", "--steps", 4)
        way_out = "--generate.*--pretrained FOLDER.*--overwrite"
        fails(capsys, message, f"(?s)is not of step 2.*{re.escape(wrong)}.*{way_out}")
        assert (folder / "checkpoint.json").read_bytes() == before
        seen += 1
    assert seen > 100
    other = ["--pretrained", folder, "--out", tmp_path / "other", "--steps", 2]
    assert run("--generate", "alp") is None and run(*other) is None  # as the message says
    save_checkpoint(folder, tensors, state)
    assert run("--resume", "--steps", 4) is None


@pytest.mark.parametrize("kind", ["model.", "average."])
def test_weights_of_another_dtype_are_not_rounded(run, tmp_path, capsys, kind):
    run("--steps", 2, "--average", 0.5)
    tensors, state = load_checkpoint(tmp_path / "run")
    wider = {n: a.astype("f8") if n.startswith(kind) else a for n, a in tensors.items()}
    save_checkpoint(tmp_path / "run", wider, state)
    for options in (["--resume", "--steps", 3], ["--generate", "alp"]):
        fails(capsys, run(*options), f"(?s)does not fit.*{kind}.* is float64, not ")


def test_a_task_specifies_its_recurrent_state(run, monkeypatch):
    """Nothing, or an array that the model refuses: the first step is given one of it."""
    for said, error, says in (
        (None, TypeError, r"Language.loss returned .*\(\(1, 2, 8\), dtype\('float32"),
        (((1, 2, 8), np.dtype("f8")), TypeError, r"h0.* of one dtype; got .*float64"),
        (((1, 1, 8), np.dtype("f4")), ValueError, r"h0.*\(1, 2, 8\).*\(1, 1, 8\)"),
    ):
        monkeypatch.setattr(Language, "recurrent_spec", lambda self, model: said)
        with pytest.raises(error, match=says):
            run("--steps", 1, "--overwrite")


def test_a_parameter_that_gets_no_gradient_does_not_end_the_run(run, tmp_path, monkeypatch):
    made = train.make_model

    def with_one_more(*args):
        model = made(*args)
        model.unused = nn.Parameter(np.ones(3, np.float32))
        return model

    monkeypatch.setattr(train, "make_model", with_one_more)
    run("--steps", 4, "--evaluate-every", 2)
    straight = result(tmp_path / "run")
    run("--steps", 2, "--evaluate-every", 2, "--overwrite", "--decay", "constant")
    run("--steps", 4, "--evaluate-every", 2, "--overwrite")
    assert result(tmp_path / "run") == straight
    assert run("--resume", "--steps", 5) is None
    assert load_checkpoint(tmp_path / "run")[1]["step"] == 5


def test_a_checkpoint_changed_by_hand_with_a_right_check_sum(run, tmp_path, capsys):
    run("--steps", 2)
    folder, missing = tmp_path / "run", object()
    tensors, state = load_checkpoint(folder)

    def changed(old, name, value):
        return {k: v for k, v in {**old, name: value}.items() if v is not missing}

    changes = [
        changed(state, part, value)
        for part in ("kind", "options", "known", "data", "step")
        for value in (missing, None, [], 5.5, "x", {}, -1, 10**30, True)
    ]
    changes += [changed(state, "step", step) for step in (0, 1, 2.0, 3)]
    changes += [
        changed(state, "known", other)
        for other in (state["known"][::-1], state["known"] + "ß", state["known"][:-1] + "ß")
    ]
    changes += [
        changed(state, "options", changed(state["options"], name, value))
        for name, values in {
            "batch": (0, 2.0, [2], missing),
            "evaluate_every": (0, None),
            "seed": (-1,),
            "dtype": ("int8", None),
            "lr": ("0.1", 0, True),
            "hidden": (9, 10**20),
            "betas": ([0.9], [0.9, 0.9, 0.9], 0.9, [0.9, 1], "ab"),
            "steps": (1, missing),
            "data": ("--overwrite", missing),
            "help": ("--help",),
            "out": ("elsewhere",),
            "preset": ("ngram", "none", 1, missing),
            "cell": ("lstm", "none"),
        }.items()
        for value in values
    ]
    for other in changes:
        save_checkpoint(folder, tensors, other)
        before = (folder / "checkpoint.json").read_bytes()
        message = train.main(["--out", str(folder), "--resume"])
        assert message is not None, other
        fails(
            capsys,
            message,
            "of a nanoautograd .* as this train.py writes it: .|"
            "not of step|not what this run was started with|(?s:does not fit)",
        )
        assert (folder / "checkpoint.json").read_bytes() == before
        message = train.main(["--out", str(folder), "--generate", "a"])  # needs less of it
        assert message is None or message.startswith("train.py: the ")
    save_checkpoint(folder, tensors, changed(state, "options", {**state["options"], "batch": 0}))
    fails(capsys, run("--resume"), "--batch: must be at least 1 and below 1000000000, got 0")
    save_checkpoint(folder, tensors, state)
    assert run("--resume") is None


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(run, tmp_path, capsys):
    message = run("--steps", 50, "--lr", 1e38, "--warmup", 0, "--evaluate-every", 1)
    fails(capsys, message, "(?s)(nan|inf|finite).*keeps the last good checkpoint.*lower --lr")
    tensors, state = load_checkpoint(tmp_path / "run")
    assert all(np.isfinite(array).all() for array in tensors.values())


def test_a_loss_beyond_the_reach_of_exp_is_reported(run, tmp_path):
    assert run("--steps", 30, "--lr", 1000, "--clip", 0, "--warmup", 0) is None
    scores = json.loads((tmp_path / "run" / "result.json").read_text())["scores"]
    assert scores["loss"] > 710 and 1e304 < scores["perplexity"] < np.inf


@pytest.mark.parametrize(
    "damage",
    [
        b"garbage}\n",
        b'{"loss": 1.0, "st\xff": 2}\n',
        b"[1]\n",
        b'{"step": 1, "loss": "low"}\n',
        b'{"loss": 1.0}\n\0\0}\n',
        b'{"step": 1, "loss": NaN}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_resume_keeps_what_is_readable_of_damaged_metrics(run, tmp_path, capsys, damage):
    run("--steps", 6)
    straight = result(tmp_path / "run")
    run("--steps", 3, "--overwrite", "--decay", "constant")
    path = tmp_path / "run" / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + damage + b"".join(lines[1:]))
    capsys.readouterr()
    assert run("--resume", "--steps", 6) is None
    out = capsys.readouterr().out
    assert f"{damage.count(10)} damaged lines" in out and "metrics.jsonl.damaged" in out
    assert (tmp_path / "run" / "metrics.jsonl.damaged").read_bytes() == damage
    assert [m["step"] for m in metrics(tmp_path / "run") if "loss" in m] == [1, 2, 3, 4, 5, 6]
    assert len(straight[2].splitlines()) + 1 == len(metrics(tmp_path / "run"))


def test_a_terminal_that_lacks_a_character(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("äöü" * 300)
    process = subprocess.run(
        [
            sys.executable,
            str(SCRIPT),
            "--data",
            str(path),
            "--out",
            str(tmp_path / "run"),
            *TINY,
            "--steps",
            "1",
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert process.returncode == 0, process.stderr
    assert "\n?" in process.stdout and "validation: loss" in process.stdout


def test_scores_without_a_picture(run, tmp_path, capsys):
    (tmp_path / "run" / "loss.png").mkdir(parents=True)  # cannot be written
    assert run("--steps", 2) is None
    out, err = capsys.readouterr()
    assert "temperature 0.8 ---" in out and "validation: loss" in out
    assert re.search("could not be shown: .*loss.png", err)


def test_a_validation_loss_that_is_not_finite_is_not_saved(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Language, "evaluate", lambda *args: {"loss": float("nan")})
    fails(capsys, run("--steps", 2), "validation_loss nan.*keeps the last good checkpoint")
    assert load_checkpoint(tmp_path / "run")[1]["step"] == 0


@pytest.mark.parametrize("package", ["tqdm", "matplotlib"])
def test_a_missing_package_is_named(tmp_path, package):
    (tmp_path / f"{package}.py").write_text(
        f"raise ModuleNotFoundError('no {package}', name={package!r})"
    )
    process = subprocess.run(
        [sys.executable, str(SCRIPT)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert process.returncode == 1
    assert process.stderr == f"train.py needs the package {package}: pip install -e '.[train]'\n"


@pytest.mark.slow
def test_the_number_of_threads(run, tmp_path, monkeypatch):
    """With --deterministic no bit depends on it, and without only the last ones do. (The products
    of these sizes are cut, and so are blocks of so few numbers, and batches of so few sequences.)
    """
    monkeypatch.setattr(threads, "LEAST", 100)
    monkeypatch.setattr(threads, "BLOCK", 64)
    monkeypatch.setattr(recurrent, "COLUMNS", 1)
    monkeypatch.setattr(recurrent, "PRODUCTS", 1)
    monkeypatch.setattr(recurrent, "CHUNK", 4)
    for n in (1, 2, 3):
        assert run("--threads", n, "--deterministic", "--out", tmp_path / f"d{n}") is None
        assert run("--threads", n, "--out", tmp_path / f"n{n}") is None
    assert len({result(tmp_path / f"d{n}") for n in (1, 2, 3)}) == 1
    first, *others = [
        [
            json.loads(line)["loss"]
            for line in open(tmp_path / f"n{n}/metrics.jsonl")
            if "norm" in line
        ]
        for n in (1, 2, 3)
    ]
    assert all(np.allclose(first, losses, rtol=1e-4) for losses in others)


def test_how_many_threads_there_are(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert parse([])[0].threads == 3
    for nothing in ("", "0", "4,3"):
        monkeypatch.setenv("OMP_NUM_THREADS", nothing)
        assert parse([])[0].threads == len(os.sched_getaffinity(0))
