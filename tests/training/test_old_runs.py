"""Runs and files of older versions, kept in fixtures/, are read by this version as by their own.

fixtures/make_old_run.py wrote them, with the code of the version in their names: for each run its
folder after 6 steps, and what came of it when that version went on with it.
"""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")

import nanoautograd as nag  # noqa: E402
import train  # noqa: E402
from models.tasks import PRESETS  # noqa: E402
from models.training.options import RENAMED, parser  # noqa: E402
from nanoautograd import nn  # noqa: E402
from nanoautograd.checkpoint import load_checkpoint, load_metadata, save_checkpoint  # noqa: E402

FIXTURES = Path(__file__).parent / "fixtures"
RUNS = sorted(path.name for path in FIXTURES.glob("run-*") if path.is_dir())
STATES = sorted(path.name for path in FIXTURES.glob("state-*.safetensors"))

# Another processor's BLAS rounds otherwise, by 1e-7 and 1e-15 here.
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


def test_the_fixtures_are_there():
    assert {"run-0.1.0-rnn", "run-0.1.0-gpt"} <= set(RUNS)
    assert "state-0.1.0.safetensors" in STATES
    every_kind = set().union(*map(kinds_of_arrays, RUNS))
    assert every_kind == {"model", "optimizer", "average", "random", "carried"}


# ---- runs


def sign(document):
    """Put the check sum of a checkpoint.json into it, as version 0.1.0 computes it."""
    body = {key: value for key, value in document.items() if key != "check"}
    text = json.dumps(body, sort_keys=True, allow_nan=False)
    return {**body, "check": hashlib.sha256(text.encode()).hexdigest()}


def edit(folder, change):
    """Apply `change` to the options in a checkpoint, and leave all else as it was written."""
    path = folder / "checkpoint.json"
    document = json.loads(path.read_text())
    assert sign(document) == document
    change(document["state"]["options"])
    path.write_text(json.dumps(sign(document), indent=1))


@pytest.fixture(params=RUNS)
def name(request):
    return request.param


@pytest.fixture
def folder(name, tmp_path):
    """A copy of the old run, whose text is where the copy says it is."""
    shutil.copytree(FIXTURES / name, tmp_path / "run")
    text = shutil.copy(FIXTURES / "text.txt", tmp_path / "text.txt")
    edit(tmp_path / "run", lambda options: options.update(data=str(text)))
    return tmp_path / "run"


def resume(folder, *options):
    words = ["--out", folder, "--resume", "--threads", 1, "--length", 5, *options]
    return train.main(list(map(str, words)))


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def expected(name):
    return json.loads((FIXTURES / f"{name}.resumed.json").read_text())


def kinds_of_arrays(name):
    """What the names of the arrays in a checkpoint begin with: {"model", "optimizer", ...}."""
    return {key.split(".")[0] for key in load_checkpoint(FIXTURES / name)[0]}


def differences(folder, name):
    """Where a run that went on is not what the old version made of it: the names of arrays, and of
    what was noted down at a step."""
    tensors, state = load_checkpoint(folder)
    tolerance = TOLERANCE[state["options"]["dtype"]]
    old, now = expected(name)["metrics"], metrics(folder)
    assert [(line["step"], line.keys()) for line in now] == [
        (line["step"], line.keys()) for line in old
    ]
    # That version left out the ends of what it validated with, and read it in --batch parts.
    near = {
        key: 0.05 if key.startswith("validation_") else tolerance for line in now for key in line
    }
    found = [
        f"{key} at step {a['step']}"
        for a, b in zip(now, old)
        for key in a
        if not np.isclose(a[key], b[key], rtol=near[key], atol=near[key])
    ]
    arrays = nag.load(FIXTURES / f"{name}.resumed.safetensors")
    assert arrays.keys() == {key for key in tensors if not key.startswith("optimizer.")}
    for key, array in arrays.items():
        assert (tensors[key].dtype, tensors[key].shape) == (array.dtype, array.shape)
        if not np.allclose(tensors[key], array, rtol=tolerance, atol=tolerance):
            found.append(key)
    return found


def test_an_old_run_goes_on_as_its_own_version_did(name, folder):
    before = metrics(folder)
    old = expected(name)
    assert before == old["metrics"][: len(before)] and len(before) < len(old["metrics"])
    assert resume(folder, "--steps", old["steps"]) is None
    assert load_checkpoint(folder)[1]["step"] == old["steps"]
    assert metrics(folder)[: len(before)] == before
    assert differences(folder, name) == []


def test_a_renamed_option_of_an_old_run_is_read_and_kept_under_its_new_name(name, folder, capsys):
    old = load_checkpoint(folder)[1]["options"]
    found = RENAMED.keys() & old.keys()
    assert found
    assert resume(folder) is None  # nothing left to do
    for before in found:
        word = "--" + RENAMED[before].replace("_", "-")
        assert resume(folder, word, old[before]) is None
        with pytest.raises(SystemExit):
            resume(folder, word, old[before] + 1)
        assert f"has {word} {old[before]}, and it cannot" in capsys.readouterr().err
    assert resume(folder, "--steps", old["steps"] + 1) is None
    now = load_checkpoint(folder)[1]["options"]
    assert now == {RENAMED.get(k, k): v for k, v in old.items()} | {"steps": old["steps"] + 1}


def test_renamed_options_are_options_and_their_old_names_are_none():
    known = set().union(*(vars(parser(preset).parse_args([])) for preset in PRESETS))
    assert set(RENAMED.values()) <= known and not RENAMED.keys() & known


@pytest.mark.parametrize(
    "name, kind",
    [(name, kind) for name in RUNS for kind in sorted(kinds_of_arrays(name))],
    indirect=["name"],
)
def test_the_comparison_sees_what_is_lost(name, folder, kind):
    """Each kind of array in the checkpoint decides what comes of the run."""
    tensors, state = load_checkpoint(folder)
    lost = {
        key: np.zeros_like(array)
        for key, array in tensors.items()
        if key.startswith(kind) and not key.endswith(".step")
    }
    assert any(tensors[key].any() for key in lost)
    save_checkpoint(folder, {**tensors, **lost}, state)
    assert resume(folder, "--steps", expected(name)["steps"]) is None
    assert differences(folder, name)


def test_an_old_run_generates(name, folder, capsys):
    old = expected(name)

    def write(*options):
        capsys.readouterr()
        words = ["--out", folder, "--generate", old["prompt"], "--length", 40, *options]
        assert train.main(list(map(str, words))) is None
        return capsys.readouterr().out.removesuffix("\n")

    written = write()
    assert written.startswith(old["prompt"]) and len(written) == len(old["prompt"]) + 40
    assert resume(folder, "--steps", old["steps"]) is None
    assert write("--temperature", 0) == old["greedy"].removesuffix("\n")


# ---- what cannot be resumed


def refused(folder, capsys, *options):
    """What the call says in its one line; it leaves the checkpoint as it was."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    message = train.main(["--out", str(folder), *options])
    assert isinstance(message, str) and message.startswith("train.py: ")
    assert "Traceback" not in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    return message


@pytest.mark.parametrize("options", [["--resume"], ["--generate", "The "]])
def test_an_option_that_this_version_does_not_know(folder, capsys, options):
    edit(folder, lambda kept: kept.update(spread=3))
    message = refused(folder, capsys, *options)
    assert "--spread" in message and "does not know" in message
    assert "the version that wrote it" in message and "--overwrite" in message


@pytest.mark.parametrize("options", [["--resume"], ["--generate", "The "]])
def test_an_option_under_its_old_and_its_new_name(folder, capsys, options):
    edit(folder, lambda kept: kept.update(block_size=kept["block"] + 1))
    assert "does not know --block" in refused(folder, capsys, *options)


@pytest.mark.parametrize("options", [["--resume"], ["--generate", "The "]])
def test_an_option_that_the_checkpoint_lacks(folder, capsys, options):
    edit(folder, lambda kept: kept.pop("lr_floor"))
    message = refused(folder, capsys, *options)
    assert "lacks --lr-floor" in message
    assert "the version that wrote it" in message and "--overwrite" in message


def test_the_way_out_is_one(folder):
    edit(folder, lambda kept: kept.update(spread=3))
    text = folder.with_name("text.txt")
    words = ["--batch", "2", "--block-size", "8", "--steps", "1", "--length", "5", "--threads", "1"]
    assert train.main(["--out", str(folder), "--overwrite", "--data", str(text), *words]) is None
    assert load_checkpoint(folder)[1]["step"] == 1


def test_a_preset_that_this_version_does_not_have(folder, capsys):
    edit(folder, lambda kept: kept.update(preset="perceptron"))
    assert "there is no preset 'perceptron'" in refused(folder, capsys, "--resume")


def test_a_text_that_is_gone_or_another(folder, capsys):
    text = folder.with_name("text.txt")
    text.write_text(text.read_text().replace("ferry", "train"))
    assert "is not what this run was started with" in refused(folder, capsys, "--resume")
    text.unlink()
    assert re.search(f"no file.*{re.escape(str(text))}", refused(folder, capsys, "--resume"))


# ---- files


@pytest.mark.parametrize("name", STATES)
def test_an_old_state_dict_is_loaded(name):
    assert load_metadata(FIXTURES / name) == {"version": Path(name).stem.removeprefix("state-")}
    state = nag.load(FIXTURES / name)
    shapes = {"0.weight": (2, 3), "0.bias": (2,), "1.weight": (2,), "1.bias": (2,)}
    assert {key: a.shape for key, a in state.items()} == shapes
    module = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    module.load_state_dict(state)
    for i, key in enumerate(shapes):  # the i-th has i, i + 1/8, i + 2/8, ...
        array = module.state_dict()[key]
        assert array.dtype == np.float32
        assert array.ravel().tolist() == [i + j / 8 for j in range(array.size)]
    # W x + b = (0, 3/8) + (1, 9/8), the second is larger: ±1 after LayerNorm, but for its eps.
    y = module(np.array([1.0, 0.0, 0.0], dtype=np.float32))
    np.testing.assert_allclose(y.data, [3 - 2, 3.125 + 2.125], atol=1e-3)
