"""A conversation with a language model that was fine-tuned on conversations.

It sees one text, in which special tokens say who speaks (ChatML), and goes on with it after the
last line:

    <|im_start|>system
    You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
    <|im_start|>user
    Hello!<|im_end|>
    <|im_start|>assistant

until it writes <|im_end|> itself. Those tokens are written here alone: what the user types is
encoded as plain text, also where it looks like one of them. The keys and values of all that was
said are kept, so that a turn costs its own tokens.

Source: the template in the file of the weights of SmolLM2, tokenizer.chat_template, which is not
run.
"""

from itertools import chain

from ..data import DataError

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
BEGIN, END = "<|im_start|>", "<|im_end|>"


class Chat:
    """A conversation with `model`, a Llama whose tokens are those of `vocabulary`, a ByteLevel.

    `exchanges`: what was said so far, a list of tokens for each question with its answer.
    `tokens_read`: how many the model has read, those that it read again counted again. Raises
    DataError where the vocabulary lacks the tokens that begin and end a turn.
    """

    def __init__(self, model, vocabulary, system=SYSTEM):
        missing = [token for token in (BEGIN, END) if token not in vocabulary.special]
        if missing:
            raise DataError(
                f"a chat needs the special tokens {BEGIN} and {END}, and the "
                f"vocabulary lacks {' and '.join(missing)}"
            )
        self.model, self.vocabulary, self.tokens_read = model, vocabulary, 0
        self.begin, self.end = vocabulary.special[BEGIN], vocabulary.special[END]
        self.newline = vocabulary.encode("\n").tolist()
        self.system, self.exchanges = self.turn("system", system), []
        self.memory = [], None  # tokens that the model has read, and its past of them

    def turn(self, role, text):
        """The tokens of what somebody says."""
        return [*self.opening(role, text), self.end, *self.newline]

    def opening(self, role, text=""):
        """The tokens of a turn without its end. A line ends with \\n, also where it was typed with
        \\r\\n."""
        text = text.replace("\r\n", "\n")
        return [self.begin, *self.vocabulary.encode(f"{role}\n{text}").tolist()]

    def make_room(self, question, length):
        """Forget the oldest exchanges where all that was said, a question and `length` tokens of an
        answer do not fit into the model's block: until what remains, this question and its answer
        fill at most half of it. Returns how many. Raises DataError where the question alone is too
        long."""
        block, before = self.model.config.block_size, len(self.exchanges)
        alone = len(self.system) + len(question) + len(self.opening("assistant")) + length

        def taken():
            return alone + sum(map(len, self.exchanges))

        if alone > block:
            raise DataError(
                f"the system's message, this text and --length {length} are {alone} "
                f"tokens, and the model sees {block}; shorten one of them"
            )
        if taken() > block:
            while self.exchanges and taken() > block // 2:
                del self.exchanges[0]
        return before - len(self.exchanges)

    def answer(self, question, choose, length):
        """Yields the tokens of the answer to a question, a turn, as they are chosen: up to its end,
        which is not among them, or `length`. However it is stopped, what was said is part of the
        conversation. Makes room for it first, and raises DataError as `make_room`."""
        self.make_room(question, length)
        said, opening = [], self.opening("assistant")
        try:
            logits = self.read([*self.system, *chain(*self.exchanges), *question, *opening])
            while (token := choose(logits)) not in self.vocabulary.ends:
                said.append(token)
                yield token
                if len(said) == length:
                    break
                logits = self.read([*self.memory[0], token])
        finally:
            self.exchanges.append([*question, *opening, *said, self.end, *self.newline])

    def read(self, tokens):
        """The logits after these tokens, of which only those are read that are new."""
        seen, past = self.memory
        if tokens[: len(seen)] != seen or len(tokens) == len(seen):
            seen, past = [], None
        logits, past = self.model.read(tokens[len(seen) :], past)
        self.tokens_read += len(tokens) - len(seen)
        self.memory = tokens, past  # both at once: Ctrl-C may come at any moment
        return logits
