"""What finished runs have reached: result.json of a run, and the results of many in one file.

A line of such a file is the result of one run, with its name, PRESET-TEXT-SEED of a language model
and PRESET-SEED of others. A text that is a file is named without its folder, which says nothing on
another machine.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from nanoautograd.checkpoint import read_file, write_whole

from ..data import DataError
from ..tasks import PRESETS
from .options import completed, option, parse

LONGEST = 1_000_000  # bytes of a result.json; it has a thousand
MOST = 100 * LONGEST  # of a file of results


@dataclass(frozen=True)
class Run:
    """A run of train.py. data: what a language model learns to write on, as --data; None for
    others. seed: None where nothing is drawn from it, as where nothing learns."""

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
        data = [] if self.data in (None, "python") else ["--data", self.data]
        return [self.preset, *data, *([] if self.seed is None else ["--seed", str(self.seed)])]


def on_any_text(preset):
    return PRESETS[preset].__module__.endswith(".language")


def learns(preset):
    """Whether a run of the preset takes steps: else all its seeds give the same."""
    return PRESETS[preset].presets[preset].get("steps") != 0


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
    """Writes {run: result} to a file, whole or not at all. What it holds of other runs stays."""
    lines = {}
    for run, result in [*read_results(path), *results.items()]:
        options = result["options"] | ({"data": run.text} if run.text else {})
        content = {"run": run.name, **result, "options": options}
        lines[run.name] = json.dumps(content, sort_keys=True) + "\n"
    write_whole(path, "".join(lines[name] for name in sorted(lines)).encode())


def read_results(path):
    """[(run, result)] of a file of results; of none where there is none. Raises DataError for what
    is no such file."""
    if not Path(path).exists():
        return []
    found = []
    for i, line in enumerate(read_file(path, MOST).decode(errors="replace").splitlines(), start=1):
        try:
            result = json.loads(line)
            options = result["options"]
            preset, seed = options["preset"], options["seed"]
            data = options["data"] if on_any_text(preset) else None
            run = Run(preset, data, seed if learns(preset) else None)
            if result.pop("run") != run.name:
                raise ValueError
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise DataError(
                f"{path}, line {i}: no result of a run; make the file again: "
                f"python -m models.table --save {path}"
            ) from None
        found.append((run, result))
    return found


def up_to_date(path):
    """({run: result} of a file, what is to be said of those that are left out, for the preset is
    another by now)."""
    current, notes = {}, []
    for run, result in read_results(path):
        if others := differences(result, run.words, () if run.text is None else ("data",)):
            notes.append(f"{run.name} is left out: {', '.join(others)}")
        else:
            current[run] = result
    return current, notes
