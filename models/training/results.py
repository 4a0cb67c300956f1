"""What finished runs have reached: result.json of a run, and the results of many in one file.

Such a file is a list in JSON, a result a line, of what the table is made of. Its options say which
run it is of; "run", the name of that, is for people. A text that is a file is named without its
folder, which says nothing on another machine.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from nanoautograd.checkpoint import error_text, read_file, write_whole

from ..data import DataError
from ..tasks import PRESETS
from .options import completed, option, parse

LONGEST = 1_000_000  # bytes of a result.json; it has a thousand
MOST = 100 * LONGEST  # of a file of results
KEPT = (  # of a result, beside its options, in a file of results
    "metric",
    "scores",
    "baseline",
    "parameters",
    "seconds",
    "to_step",
    "best",
    "changed",
    "seen",
)


@dataclass(frozen=True)
class Run:
    """A run of train.py. data: what a language model learns to write on, as --data; None for
    others. seed: None where it makes no difference."""

    preset: str
    data: str | None = None
    seed: int | None = None

    @property
    def text(self):
        return None if self.data is None else Path(self.data).stem

    @property
    def name(self):
        return "-".join(str(x) for x in (self.preset, self.text, self.seed) if x is not None)

    @property
    def words(self):
        """Its preset and options, for train.py."""
        data = [] if self.data in (None, "python") else [f"--data={self.data}"]
        return [self.preset, *data, *([] if self.seed is None else ["--seed", str(self.seed)])]


def on_any_text(preset):
    return PRESETS[preset].__module__.endswith(".language")


def uses_seed(preset, data=None):
    """Whether runs of the preset, on this data, differ by their seeds."""
    return PRESETS[preset].uses_seed(parse(Run(preset, data).words)[0])


def run_of(options):
    """The run that has these options; one of a preset that is no more is as they say. Raises
    LookupError, TypeError or ValueError where they are none of a run."""
    preset, seed, data = options["preset"], options["seed"], options.get("data")
    if not isinstance(preset, str) or type(seed) is not int or seed < 0:
        raise TypeError("no preset, or no seed")
    if preset not in PRESETS:
        return Run(preset, data and str(data), seed)
    if not on_any_text(preset):
        data = None
    elif not isinstance(data, str) or not data:
        raise TypeError("no data")
    return Run(preset, data, seed if uses_seed(preset, data) else None)


def steps_of(result, wanted):
    """How many steps a run of these options takes: fewer than were asked for only where it has
    waited for a better score as long as --patience says."""
    best = result.get("best") or {"waited": 0}
    if 0 < wanted.patience <= best["waited"]:
        return min(result["to_step"], wanted.steps)
    return wanted.steps


def differences(result, words, apart=()):
    """What in a result is not as a run of these words has it, in words: other options, but for
    those `apart`, other steps than were asked for, no numbers. Empty where it is theirs."""
    wanted, _ = parse(words)
    try:
        metric, (what, score) = result["metric"], result["baseline"]
        numbers = [result["scores"][metric], score, result["parameters"]]
        if result["seconds"] is not None:
            numbers.append(result["seconds"])
        options = completed(result["options"], vars(wanted))
        now = vars(wanted)
        others = [
            f"{option(name)} was {value}, and is {now[name]}"
            if name in now
            else f"no {option(name)}"
            for name, value in options.items()
            if name not in apart and (name not in now or now[name] != value)
        ]
        if result.get("to_step", wanted.steps) != steps_of(result, wanted):
            others.append(f"it took {result['to_step']} steps, and {wanted.steps} are asked for")
        if result.get("changed"):
            others.append("its options were changed on the way")
        is_whole = (
            metric == PRESETS[wanted.preset].metric
            and isinstance(what, str)
            and all(type(n) in (int, float) and math.isfinite(n) for n in numbers)
            and (result.get("seen") is None or 0 <= result["seen"] <= 1)
        )
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        return ["it is damaged"]
    return others if is_whole else [*others, "it is damaged"]


def read_result(path, words):
    """The content of the result.json that the run of these words has written; None where it has
    not: there is none, or it is damaged, of other options or other steps than were taken, or has
    scores that are no numbers."""
    if not path.exists():
        return None
    try:
        result = json.loads(read_file(path, LONGEST))
    except (ValueError, RecursionError):
        return None
    return None if differences(result, words) else result


def save_results(path, results):
    """Writes {run: result} to a file, whole or not at all. What it holds of other runs stays.
    Raises DataError where it is damaged."""
    lines = {}
    for run, result in [*read_results(path).items(), *results.items()]:
        options = result["options"] | ({"data": run.text} if run.text else {})
        kept = {name: result[name] for name in KEPT if name in result}
        content = {"run": run.name, **kept, "options": dict(sorted(options.items()))}
        lines[run.name] = json.dumps(content, ensure_ascii=False)
    inside = ",\n".join(lines[name] for name in sorted(lines))
    write_whole(path, f"[\n{inside}\n]\n".encode())


def read_results(path):
    """{run: result} of a file of results; of none where there is no file. Raises DataError for what
    is no such file."""
    if not Path(path).exists():
        return {}
    found, n = {}, 0
    try:
        listed = json.loads(read_file(path, MOST).decode())
        if not isinstance(listed, list):
            raise TypeError(f"got a {type(listed).__name__}")
        for n, result in enumerate(listed, start=1):
            run = run_of(result["options"])
            if run in found:
                raise ValueError(f"{run.name} comes twice")
            found[run] = result
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        where = f"result {n}" if n else "no list of results"
        raise DataError(
            f"{path} is damaged ({where}: {error_text(error)}); make it again: delete it, and give "
            f"python -m models.table --save {path}"
        ) from None
    return found
