"""Write a file of cases, or of a library, to begin with.

    python -m benchmarks new softplus             writes softplus.py, a case
    python -m benchmarks new mylib --peer         writes mylib.py, a library

Both can be measured as they are, and say in their first lines how. What is in them is to be
replaced by your own.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

TEMPLATES = Path(__file__).with_name("templates")


def main(argv: Sequence[str]) -> None:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks new", description=__doc__.partition("\n")[0]
    )
    p.add_argument("name", metavar="NAME", help="one word, which is new; the file is NAME.py")
    p.add_argument("--peer", action="store_true", help="a library, not a case")
    o = p.parse_args(argv)
    path = Path(f"{o.name}.py")
    if not o.name.isidentifier():
        p.error(f"{o.name!r} is not one word of letters, digits and _")
    if path.exists():
        p.error(f"{path} is there already; give another name")
    text = (TEMPLATES / ("peer.py" if o.peer else "case.py")).read_text(encoding="utf-8")
    path.write_text(re.sub(r"\bNAME\b", o.name, text), encoding="utf-8")
    option = "--peer {} --ops softmax" if o.peer else "--cases {}"
    print(f"{path} is written; python -m benchmarks {option.format(path)} --quick measures it")
