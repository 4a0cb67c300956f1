"""What a language model writes at the end of a run."""

from contextlib import redirect_stdout
from io import StringIO
from itertools import cycle

from hypothesis import given
from hypothesis import strategies as st

from models.tasks.language import SHOWN, WIDTH
from models.training.options import make_task, parse


class Recites:
    """A model that says the same tokens again and again, and remembers what it has read."""

    def __init__(self, tokens):
        self.tokens, self.read = tokens, []

    def generate(self, prompt, choose):
        self.read.append(prompt)
        return cycle(self.tokens)


@given(data=st.data(), text=st.text(st.characters(codec="utf-8"), min_size=30))
def test_it_goes_on_from_a_line_that_was_held_out(tmp_path_factory, data, text):
    path = tmp_path_factory.mktemp("texts") / "text.txt"
    path.write_text(text, encoding="utf-8", newline="")
    task = make_task(parse(["--data", str(path), "--steps", "0"])[0])
    symbols = st.integers(0, len(task.vocabulary) - 1)
    model = Recites(data.draw(st.lists(symbols, min_size=1)))
    with redirect_stdout(StringIO()) as out:
        assert task.show(model, None) == []
    line, *rest = map(task.vocabulary.decode, model.read)
    assert line and line in task.held_out and rest == [line]
    _, shown, *written = out.getvalue().split("\n--- ")
    assert shown.split("\n", 1)[1] == line + " ...\n"
    assert all(len(row) <= WIDTH for row in out.getvalue().split("\n"))
    said = "".join(task.vocabulary.decode(model.tokens).split())
    assert len(written) == 2 and [w[:10] for w in written] == ["how the mo"] * 2
    for part in written:
        body = "".join(part.split("\n", 1)[1].split()).removeprefix("...")
        assert bool(body) == bool(said) and body == (said * SHOWN)[: len(body)]
