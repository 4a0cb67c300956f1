"""An option that would do nothing is refused, or it is said what it does not do."""

import pytest

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")

import train  # noqa: E402
from models.training.finetune import OF_STEPS  # noqa: E402
from models.training.options import notes, notes_on_answers, option, parse, parser  # noqa: E402

OTHERS = {
    "accumulate": "3",
    "lr": "0.5",
    "warmup": "1",
    "decay": "linear",
    "lr_floor": "0.01",
    "weight_decay": "0.5",
    "betas": "0.5 0.5",
    "clip": "0.1",
    "average": "0.5",
    "evaluate_every": "2",
    "patience": "5",
    "keep": "best",
    "optimizer": "muon",
    "freeze": "x",
}


@pytest.mark.parametrize("name", OF_STEPS)
def test_what_a_model_that_counts_has_no_use_for(text, tmp_path, name):
    words = ["ngram", "--data", str(text), "--out", str(tmp_path / "run"), "--length", "5"]
    message = train.main([*words, option(name), *OTHERS[name].split()])
    assert f"{option(name)} {OTHERS[name]} does nothing with a model that counts" in message
    assert not (tmp_path / "run" / "checkpoint.json").exists()
    assert train.main(words) is None


@pytest.mark.parametrize(
    "words, message",
    [
        ("gpt --vocab-size 300", "--vocab-size 300 does nothing without --tokens bpe"),
        (
            "gpt --pretrained ./x --lora 2 --lr-pretrained 0.1",
            "--lr-pretrained 0.1 does nothing with --lora, which freezes what is pretrained",
        ),
        (
            "topics-bert --freeze pretrained --lr-pretrained 0.1",
            "--lr-pretrained 0.1 does nothing with --freeze pretrained",
        ),
        ("masked --pieces 500", "--pieces 500 does nothing beside --pretrained minilm"),
        ("sentiment --tokens pieces --min-count 3", "--min-count 3 does nothing with --tokens"),
    ],
)
def test_what_is_refused(words, message):
    o, _ = parse(words.split())
    from models.training.finetune import check_options

    with pytest.raises(ValueError, match=message):
        check_options(o, parser(o.preset).get_default)


@pytest.mark.parametrize(
    "words, said",
    [
        (
            "gru --steps 20 --warmup 50 --lr 0.51",
            "the warm-up of 50 steps does not end within the 20: the learning rate rises to 0.2, "
            "and never to --lr 0.51",
        ),
        ("gru --steps 50 --warmup 50", "rises to 0.00588, and never to --lr 0.006"),
        ("gru --steps 51 --warmup 50", ""),
        ("gru --steps 0", ""),
        ("gru", ""),
        ("ngram", ""),
        ("ngram --batch 3", "--batch 3 does nothing: the model makes no steps"),
        ("ngram --block-size 3", "--block-size 3 does nothing: the model makes no steps"),
        ("gru --steps 0 --lr 1", "--lr 1.0 does nothing: the model makes no steps"),
        ("smollm --betas 0.5 0.5", "--betas 0.5 0.5 does nothing: the model makes no steps"),
        ("smollm --batch 3 --freeze norm", ""),
        ("gru --nonlinearity relu", "--nonlinearity relu does nothing with --cell gru"),
        ("rnn --nonlinearity relu", ""),
        ("rnn --steps 20 --warmup 0 --keep best", "--keep best does nothing: there is one eval"),
        ("rnn --steps 251 --keep best", ""),
        (
            "rnn --steps 750 --patience 3",
            "--patience 3 does nothing: the number of evaluations is 3",
        ),
        ("rnn --steps 751 --patience 3", ""),
        (
            "gru --decay constant --lr-floor 0.1",
            "--lr-floor 0.1 does nothing with --decay constant",
        ),
    ],
)
def test_what_is_said(words, said):
    found = notes(parse(words.split())[0])
    assert len(found) == bool(said) and all(said in line for line in found)


@pytest.mark.parametrize(
    "words, said",
    [
        ("gpt --temperature 0 --top-k 3", ["--top-k 3 does nothing with --temperature 0"]),
        ("gpt --temperature 0 --top-p 0.5 --min-p 0.1", ["--top-p 0.5 ", "--min-p 0.1 "]),
        ("gpt --temperature 0 --repetition-penalty 2", []),
        ("gpt --top-k 3 --top-p 0.5 --min-p 0.1 --repetition-penalty 2", []),
        ("gpt", []),
        ("dates", []),
        ("dates --beam 3", []),
        ("dates --repetition-penalty 2", ["--repetition-penalty 2.0 does nothing with --temp"]),
        ("dates --temperature 0.5 --beam 3", ["--beam 3 does nothing with --temperature 0.5"]),
        ("translation --temperature 0.5 --repetition-penalty 2 --top-k 3", []),
        ("translation --min-p 0.5", ["--min-p 0.5 does nothing with --temperature 0"]),
        ("smollm --top-k 5 --repetition-penalty 2", ["--top-k 5 does nothing"]),
        ("sentiment", []),
    ],
)
def test_what_is_said_of_answers(words, said):
    found = notes_on_answers(parse(words.split())[0])
    assert len(found) == len(said) and all(map(str.startswith, found, said))


def test_it_is_said_beside_the_answer(run, capsys):
    run("--steps", 2)
    capsys.readouterr()
    assert run("--generate", "alpha", "--temperature", 0, "--top-k", 3) is None
    assert capsys.readouterr().err == "--top-k 3 does nothing with --temperature 0\n"


def test_what_cannot_be_asked_for_together(run, capsys):
    run("--steps", 2)
    with pytest.raises(SystemExit):
        run("--steps", 2, "--resume", "--overwrite")
    assert "--overwrite starts anew: give one of them" in capsys.readouterr().err
    for words in ["--lr", 0.5], ["--steps", 9], ["--evaluate-every", 1]:
        with pytest.raises(SystemExit):  # an answer makes no steps
            run("--generate", "alpha", *words)
        assert f"this run has {words[0]} " in capsys.readouterr().err
    assert run("--generate", "alpha", "--steps", 2, "--seed", 3) is None


def test_it_is_printed_before_the_run(run, capsys):
    run("--steps", 2, "--warmup", 50)
    assert "the warm-up of 50 steps does not end within the 2" in capsys.readouterr().out
