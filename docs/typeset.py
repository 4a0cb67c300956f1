"""The plain-text equations of docstrings, as HTML.

An equation in a docstring is an indented block: columns are apart by two or more spaces, `x_ti` and
`h_{t-1}` have indices, `r^(-1/2)` is a power. In HTML indices are lowered, powers raised and
letters in italics, and the block is a table with these columns. Nothing is moved, so a fraction
stays on its line: what is read is what was written.
"""

import re
from html import escape

CODE = r"`(?P<code>[^`]+)`"
# An index stands in braces, and may have an index; or is up to three letters and digits. Before it
# is one letter or two (y_n, dx_ti), else it is a name with an underscore (batch_size).
BEFORE = r"(?:(?<![^\W_]{3})|(?<=max)|(?<=LSE)|(?<=dout)|(?<=mask))"
BRACES = r"\{(?P<braces>(?:[^{}]|\{[^{}]*\})*)\}"
INDEX = rf"{BEFORE}_(?:{BRACES}|(?P<index>[^\W_²³ᵀ]{{1,3}})(?![^\W²³ᵀ]))"
POWER = r"\^(?:\((?P<brackets>[^()]*)\)|(?P<power>\w+))"
LETTER = r"(?<![^\W\d])[∂d]?(?P<letter>[A-Za-zα-ωΔΦℓ]\u0302?\d*)(?![^\W_²³ᵀ])"
# A letter a that is a word: something follows that is no function and no verb.
WORD = r"(?!(?:cos|sin|exp|log|tanh|is|are|has|and|or|in|of)\b)[a-z]{2}"
ARTICLE = rf"(?:(?<!\w)a|(?:^|(?<=[.:]\s))A) (?={WORD})"
MINUS = r"(?<![^\s(])(?P<minus>-)"  # and not a hyphen
MARK = re.compile(f"{CODE}|(?P<article>{ARTICLE})|{INDEX}|{POWER}|{MINUS}|{LETTER}")


def formula(text):
    """A piece of an equation as HTML: indices lowered, powers raised, letters in italics."""
    pieces, end = [], 0
    for match in MARK.finditer(text):
        pieces.append(escape(text[end : match.start()], quote=False))
        found = match.groupdict()
        if found["code"]:
            pieces.append(f"<code>{escape(found['code'])}</code>")
        elif (index := found["braces"] or found["index"]) is not None:
            pieces.append(f"<sub>{formula(index).replace('-', '−')}</sub>")
        elif (power := found["brackets"] or found["power"]) is not None:
            pieces.append(f"<sup>{formula(power).replace('-', '−')}</sup>")
        elif found["minus"]:
            pieces.append("−")
        elif found["letter"]:
            pieces.append(f"<i>{match.group()}</i>")
        else:
            pieces.append(match.group())
        end = match.end()
    return "".join(pieces) + escape(text[end:], quote=False)


def table(lines):
    """The lines of an indented block as a table. What stands below one another in the text does so
    in the table: a column begins wherever in some line text begins after two spaces."""
    rows = [
        [(width(line[: m.start()]), m.group()) for m in re.finditer(r"\S+(?: \S+)*", line)]
        for line in lines
    ]
    columns = sorted({start for row in rows for start, _ in row})
    html = []
    for row in rows:
        at = [columns.index(start) for start, _ in row] + [len(columns)]
        cells = [f'<td colspan="{at[0]}"></td>'] if at[0] else []
        for (_, text), first, last in zip(row, at, at[1:], strict=False):
            cells.append(f'<td colspan="{last - first}">{formula(text)}</td>')
        html.append("<tr>" + "".join(cells) + "</tr>")
    return '<div class="scroll"><table class="equation">\n' + "\n".join(html) + "\n</table></div>"


def width(text):
    """How many columns it takes: a hat stands above the letter before it."""
    return len(text) - text.count("\u0302")


def html(docstring):
    """A docstring as HTML: paragraphs, and indented blocks as tables."""
    pieces = []
    for block in re.split(r"\n\s*\n", docstring.strip("\n")):
        lines = block.splitlines()
        equations = all(line.startswith("    ") for line in lines)
        pieces.append(table(lines) if equations else f"<p>{formula(block)}</p>")
    return "\n".join(pieces)
