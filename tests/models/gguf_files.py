"""Models as GGUF files, as llama.cpp would write them."""

import numpy as np
import pytest

from models.data.smollm2 import names_of


def metadata(c):
    return {
        "vocab_size": c.vocab_size,
        "context_length": c.block_size,
        "block_count": c.layers,
        "embedding_length": c.d_model,
        "attention.head_count": c.heads,
        "attention.head_count_kv": c.kv_heads,
        "feed_forward_length": c.feed_forward,
        "rope.dimension_count": c.d_model // c.heads,
        "rope.freq_base": float(c.base),
        "attention.layer_norm_rms_epsilon": c.eps,
    }


def write(path, model, architecture="llama", tokens=(), **other):
    """The model as a GGUF file, with a vocabulary of these tokens, if there are any, of which those
    like <this> are special; and with `other` metadata in place of the right one, None to leave an
    entry out. Returns the path."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in {**metadata(model.config), **other}.items():
        add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
        if value is not None:
            add[type(value)](f"llama.{key}", value)
    if tokens:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list(tokens)
        writer.add_token_merges(["a b"])
        writer.add_token_types([3 if token[0] + token[-1] == "<>" else 1 for token in tokens])
    arrays = dict(model.named_parameters())
    for theirs, ours in names_of(model.config).items():
        writer.add_tensor(theirs, arrays[ours].data.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
