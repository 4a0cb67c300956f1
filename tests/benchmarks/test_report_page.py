"""The page and the CSV hold what the report holds; the page loads nothing from elsewhere."""

import csv
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from benchmarks import __main__ as command
from benchmarks import page, report
from benchmarks.figure import Figure
from benchmarks.report import title

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Reader(HTMLParser):
    """Reads a page: its cells, and all that its parts refer to."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.refers, self.ids, self.styles = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.rows += [[]] * (tag == "tr")
        for name, value in attrs:
            self.ids += [value] * (name == "id")
            if name in ("src", "href", "xlink:href", "action", "data", "srcset"):
                self.refers.append(value)
            self.styles += [value] * (name == "style")
        assert tag not in ("link", "iframe", "object", "embed", "img", "base")
        if tag == "td":
            self.rows[-1] = [*self.rows[-1], (dict(attrs)["data-key"], [])]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.remove(tag) if tag not in VOID else None

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] == "td":
            self.rows[-1][-1][1].append(text)
        self.styles += [text] * (self.open[-1:] == ["style"])


@pytest.fixture(scope="module")
def found(measured):
    found = report.read(measured[1])
    ours = found["rows"][0]["peers"]["strict"]
    found["rows"][0]["peers"]["<b>"] = {**ours, "ratio": [0.5, 0.4, 0.6]}
    found["rows"].append({**found["rows"][0], "size": "small & new"})
    return found


def test_a_page_is_whole_and_loads_nothing(found):
    read = Reader(page.page(found))
    assert read.open == []
    assert len(set(read.ids)) == len(read.ids) > 10  # those of all pictures
    assert all(r.startswith("#") and r[1:] in read.ids for r in read.refers)
    for style in read.styles:
        assert "@import" not in style
        assert all(u.strip("'\"")[1:] in read.ids for u in re.findall(r"url\((.*?)\)", style))


def test_each_row_stands_on_the_page_with_the_numbers_that_it_is_sorted_by(found):
    rows = [[(key, "".join(text)) for key, text in row] for row in Reader(page.page(found)).rows]
    rows = {row[0][1].removesuffix(" ⚠"): row for row in rows if row}
    for r in found["rows"]:
        if r["kind"] not in ("model", "operation"):
            continue
        (key, text) = rows[title(r)][1]
        seconds = Figure(*r["peers"]["strict"]["seconds"])
        assert text == str(1e3 * seconds) and float(key) == pytest.approx(1e3 * seconds.value)
        assert rows[title(r)][-1][1] == "; ".join(r["marks"])


def test_the_same_report_gives_the_same_page(found):
    assert page.page(found) == page.page(found)


def test_a_line_of_the_csv_is_a_case_and_a_peer(found):
    found["rows"][1]["errors"]["jax"] = 'died: "killed", at once'
    lines = list(csv.DictReader(io.StringIO(page.comma_separated(found))))
    assert len(lines) == sum(len(r["peers"]) + len(r["errors"]) for r in found["rows"])
    for r in found["rows"]:
        for name, p in r["peers"].items():
            (line,) = [
                x
                for x in lines
                if (x["case"], x["size"], x["peer"]) == (r["case"], r["size"], name)
            ]
            assert float(line["seconds value"]) == p["seconds"][0]
            assert line["is ours"] == str(int(name == r["main"]))
    (line,) = [x for x in lines if x["error"]]
    assert line["error"] == 'died: "killed", at once' and line["seconds value"] == ""


def test_what_is_asked_for_is_written(found, tmp_path, monkeypatch, capsys):
    def instead(o, report, keep, progress):
        report |= found

    monkeypatch.setattr(command, "run", instead)
    names = {kind: str(tmp_path / f"a.{kind}") for kind in ("csv", "markdown", "html", "json")}
    words = [word for kind, name in names.items() for word in (f"--{kind}", name)]
    command.main(["--ops", "softmax", *words])
    printed = capsys.readouterr().out
    text = {kind: (tmp_path / f"a.{kind}").read_text(encoding="utf-8") for kind in names}
    assert text["markdown"].strip() == printed.strip()
    assert text["csv"] == page.comma_separated(found) and text["html"].startswith("<!doctype html>")
    assert report.read(names["json"])["rows"] == found["rows"]


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

CLICK = """<script>
const head = document.querySelectorAll("table.sorted th button")[1];
const order = () => [...document.querySelectorAll("table.sorted tbody")[0].rows].map(
  r => r.cells[1].dataset.key).join(" ");
head.click(); const up = order(); head.click();
document.body.innerHTML = `<p id="order">${up};${order()}</p>`;
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
@pytest.mark.slow
def test_a_browser_sorts_the_table(found, tmp_path):
    slower = {**found["rows"][0]["peers"]["strict"], "seconds": [9.0, 8.0, 10.0]}
    found["rows"][-1]["peers"] = {**found["rows"][-1]["peers"], "strict": slower}
    (tmp_path / "a.html").write_text(page.page(found).replace("</body>", CLICK + "</body>"))
    words = "--headless --no-sandbox --disable-gpu --dump-dom".split()
    done = subprocess.run(
        [BROWSER, *words, f"--user-data-dir={tmp_path}", f"file://{tmp_path}/a.html"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    up, down = re.search(r'<p id="order">(.*?);(.*?)</p>', done.stdout).groups()
    keys = sorted(float(k) for k in up.split())
    assert [float(k) for k in up.split()] == keys and len(keys) == 2 and keys[1] == 9000
    assert [float(k) for k in down.split()] == keys[::-1]
