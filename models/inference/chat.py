"""Talk in the terminal with SmolLM2, or have texts continued by a model that train.py made.

    python -m models.chat                           a conversation, line by line
    python -m models.chat --prompt "Why is the sky blue?"       one answer
    python -m models.chat --from runs/gpt           a language model of your own goes on with each
                                                    line that you type

Ctrl-C stops an answer, Ctrl-D ends. Lines may come from a pipe.

What the model reads is in conversation.py.
"""

import sys
import time

from nanoautograd import no_grad, set_num_threads
from nanoautograd.backends import DeviceError
from nanoautograd.checkpoint import CheckpointError, shortened
from nanoautograd.interop import read_gguf

from ..data import ByteLevel, DataError, generator
from ..data.smollm2 import weights_path
from ..llama import Llama
from ..tasks import PRESETS
from ..tasks.language import Language
from ..tasks.smollm import SmolLM
from ..tasks.task import number, sampling, sampling_options
from ..training.build import trained
from ..training.options import (
    OptionError,
    Parser,
    cores,
    folder_path,
    notes_on_answers,
    option,
    parse,
)
from ..training.terminal import out_of_memory
from .conversation import SYSTEM, Chat
from .sampling import OPTIONS, LogitsError, Sampler, as_text


def conversation(o):
    """A function from a line of the user to the answer, in pieces: a conversation with SmolLM2."""
    path = weights_path()
    vocabulary = ByteLevel.of_gguf(read_gguf(path).metadata)
    chat, rng = Chat(Llama.pretrained(path), vocabulary, o.system), generator(o.seed, "sampling")

    def reply(text):
        question = chat.turn("user", text)
        if forgotten := chat.make_room(question, o.length):
            note(
                f"the context of {chat.model.config.block_size} tokens is full: the oldest "
                f"{forgotten} of your messages are forgotten, with their answers"
            )
        tokens = chat.answer(question, Sampler(rng, **sampling(o)), o.length)
        times, read = [], [chat.tokens_read]
        began = time.perf_counter()

        def timed():
            for token in tokens:
                times.append(time.perf_counter())
                read.append(chat.tokens_read)
                yield token

        try:
            yield from as_text(timed(), vocabulary.decode)
        finally:
            tokens.close()
            if len(times) == o.length:
                note(f"stopped after {o.length} tokens: --length")
            if o.speed and len(times) > 1:
                note(
                    f"{len(times)} tokens, {(len(times) - 1) / (times[-1] - times[0]):.1f} a "
                    f"second, after {read[1] - read[0]} were read in {times[0] - began:.2f} s"
                )

    return reply


def continuation(o):
    """The same with the model of a run of train.py: each line on its own, without memory."""
    options = [
        f"{option(name)}={value}"
        for name, value in vars(o).items()
        if name in (*OPTIONS, "length", "seed") and value is not None
    ]
    ours, checkpoint = parse(["--out", str(o.folder), "--generate", "", *options])
    if not issubclass(PRESETS[ours.preset], (Language, SmolLM)):
        raise OptionError(
            f"{o.folder} is a run of the preset {ours.preset}, which is no language "
            "model; ask it with train.py --generate"
        )
    for line in notes_on_answers(ours):
        note(line)
    task, model = trained(ours, checkpoint)

    def reply(text):
        with no_grad():
            yield from task.generate(model, text)

    return reply


def messages():
    """The lines that the user types, until Ctrl-D; empty ones are passed over."""
    typed = sys.stdin.isatty()
    while True:
        try:
            line = input("> " if typed else "").removesuffix("\r")  # from a pipe, of CRLF
        except EOFError:
            return
        except KeyboardInterrupt:
            if not typed:
                raise
            note("Ctrl-D ends")
            continue
        if line.strip():
            yield line


def note(text):
    """What is no answer."""
    print(f"\n[{text}]", file=sys.stderr, flush=True)


def show(pieces):
    """Print an answer as it is written; Ctrl-C stops it."""
    try:
        for piece in pieces:
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        note("stopped")
    finally:
        pieces.close()
    print(flush=True)


def parser():
    p = Parser(
        "python -m models.chat",
        description="Talk with SmolLM2, or have texts continued by a model that train.py made. "
        "Ctrl-C stops an answer, Ctrl-D ends.",
    )
    p.add_argument("--prompt", metavar="TEXT", help="answer this, and end")
    p.add_argument(
        "--from",
        dest="folder",
        type=folder_path,
        metavar="FOLDER",
        help="continue texts with the checkpoint in this folder of train.py, instead",
    )
    p.add_argument(
        "--system",
        metavar="TEXT",
        help="what the model is told at first (default: what it was trained with)",
    )
    shown = {
        "--temperature": " (default: 0.2, or with --from that of train.py)",
        "--top-p": " (default: 0.9, or with --from all)",
    }
    sampling_options(
        lambda name, type, default, help, **kwargs: p.add_argument(
            name, type=type, help=help + shown.get(name, ""), **{"metavar": "X", **kwargs}
        )
    )
    p.add_argument(
        "--length",
        metavar="N",
        type=number(int, least=1),
        help="tokens of an answer, at most (default: 512, or with --from that of train.py)",
    )
    p.add_argument(
        "--seed",
        metavar="N",
        type=number(int, least=0),
        default=0,
        help="decides what is drawn (default: 0)",
    )
    p.add_argument(
        "--threads",
        metavar="N",
        type=number(int, least=1),
        default=cores(),
        help="threads that compute (default: one a core)",
    )
    p.add_argument("--speed", action="store_true", help="print tokens a second after each answer")
    return p


DEFAULTS = {"system": SYSTEM, "temperature": 0.2, "top_p": 0.9, "length": 512}  # of SmolLM2


def main(argv=None):
    """Run the command line; what can go wrong for a user ends in one line on stderr."""
    p = parser()
    o = p.parse_args(argv)
    if o.folder and (o.system is not None or o.speed):
        p.error("--system and --speed are for the conversation, not for --from")
    try:
        set_num_threads(o.threads)
        if o.folder:
            reply = continuation(o)
        else:
            for name, value in DEFAULTS.items():
                if getattr(o, name) is None:
                    setattr(o, name, value)
            reply = conversation(o)
        if o.prompt is not None:
            show(reply(o.prompt))
            return
        for text in messages():
            try:
                show(reply(text))
            except (DataError, LogitsError) as e:  # this text cannot be answered, others can
                note(e)
    except (
        OptionError,
        CheckpointError,
        DataError,
        LogitsError,
        DeviceError,
        OSError,
        ImportError,
    ) as e:
        return f"models.chat: {shortened(str(e))}"
    except MemoryError as e:
        return f"models.chat: {out_of_memory(e)}"
    except KeyboardInterrupt:
        return 130
