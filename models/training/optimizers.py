"""What makes a run learn: AdamW; or, with --optimizer muon, Muon for the matrices inside the model
and AdamW for its tables, its output and its vectors."""

from itertools import accumulate

from nanoautograd.nn import Embedding
from nanoautograd.optim import AdamW, Muon

from .finetune import groups


def make_optimizer(model, o):
    """The optimiser of what learns, and the factor of the learning rate of each of its groups."""
    inside = {id(p) for p in inner_matrices(model)} if o.optimizer == "muon" else set()
    rest, matrices = [], []
    for group, factor in zip(*groups(model, o)):
        for found, by_muon in ((rest, False), (matrices, True)):
            if params := [p for p in group["params"] if (id(p) in inside) is by_muon]:
                found.append(({**group, "params": params}, factor))
    parts = []
    if rest:
        parts.append(AdamW([group for group, _ in rest], betas=o.betas))
    if matrices:
        # With this factor its steps are as large as Adam's, and --lr is one number for both.
        how = {"adjust_lr_fn": "match_rms_adamw"}
        parts.append(Muon([group for group, _ in matrices], **how))
    return Several(parts), [factor for _, factor in (*rest, *matrices)]


def inner_matrices(model):
    """Those that map one hidden layer to the next: all but tables of embeddings, and `output`."""
    tables = [m for _, m in model.named_modules() if isinstance(m, Embedding)]
    others = {id(p) for table in tables for p in table.parameters()}
    return [
        p
        for name, p in model.named_parameters()
        if p.ndim == 2 and id(p) not in others and "output" not in name.split(".")
    ]


class Several:
    """Optimisers of different parameters, as one. Groups, and states, follow one another."""

    def __init__(self, parts):
        self.parts = parts

    @property
    def param_groups(self):
        return [group for part in self.parts for group in part.param_groups]

    @property
    def state(self):
        return [state for part in self.parts for state in part.state]

    def remembered(self):
        """[(parameter, the names of what is remembered of it after a step)]."""
        return [
            (p, (*part.buffers, *["step"] * isinstance(part, AdamW)))
            for part in self.parts
            for group in part.param_groups
            for p in group["params"]
        ]

    def zero_grad(self):
        for part in self.parts:
            part.zero_grad()

    def step(self):
        for part in self.parts:
            part.step()

    def load_state(self, state):
        """state: {number of a parameter: {name: array}}."""
        counts = [len(part.state) for part in self.parts]
        for part, n, end in zip(self.parts, counts, accumulate(counts)):
            own = {i - (end - n): of for i, of in state.items() if end - n <= i < end}
            part.load_state_dict({**part.state_dict(), "state": own})
