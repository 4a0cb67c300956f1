"""What makes the site of the files that are there: `mkdocs build` calls these functions.

The READMEs are pages, each file of manual/ is its derivation beside its code, and every other file
that a page links to is shown as it is. Links are written as they are followed in the repository,
from file to file; here they become links between pages, so that one that leads nowhere fails the
build.
"""

import ast
import re
import sys
from os.path import normpath, relpath
from pathlib import Path, PurePosixPath

from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parent))
import typeset  # noqa: E402

ROOT = Path(__file__).parent.parent
MANUAL = sorted((ROOT / "nanoautograd" / "manual").glob("[a-z]*.py"))
BLOCK = r"(?P<block>^ *(?P<fence>`{3,}).*?^ *(?P=fence)$)"  # of code, which is left as it is
LINK = r"(?<=\]\()(?P<target>[^)#\s]*)(?P<anchor>#[^)\s]*)?(?=\))"
BLOCK_OR_LINK = re.compile(f"{BLOCK}|{LINK}", re.DOTALL | re.MULTILINE)
SHOWN_AS_IS = {".png"}
LANGUAGES = {".py": "python", ".cu": "cuda", ".cuh": "cuda", ".h": "cpp", ".json": "json"}
MODULE = re.compile(r"^::: (?P<module>nanoautograd\.(?:ops|nn|interop)\.\w+)$", re.MULTILINE)


def page_of(path):
    """Where on the site a file of the repository is shown; both are relative, with slashes."""
    path = "" if path == "." else path
    if path.startswith("docs/"):
        return path[5:] if path.endswith((".md", ".png")) else path[5:] + ".md"
    if (ROOT / path).is_dir():
        return f"{path}/index.md".lstrip("/")
    if path == "README.md" or path.endswith("/README.md"):
        return path.removesuffix("README.md") + "index.md"
    return path if path.endswith((".md", *SHOWN_AS_IS)) else f"{path}.md"


def source_of(path):
    """The Markdown of the page that shows a file or folder, with links from page to page; and the
    files that they lead to."""
    folder = path if (ROOT / path).is_dir() else PurePosixPath(path).parent.as_posix()
    found = []

    def link(match):
        target, anchor = match["target"], match["anchor"] or ""
        if match["block"] or not target or "://" in target:
            return match.group()
        found.append(normpath(f"{folder}/{target}").replace("\\", "/"))
        here = PurePosixPath(page_of(path)).parent
        return relpath(page_of(found[-1]), here).replace("\\", "/") + anchor

    return MODULE.sub(exported, BLOCK_OR_LINK.sub(link, text_of(path))), found


def exported(match):
    """The directive for a module, with the names that its package exports from it."""
    *package, module = match["module"].split(".")
    init = ast.parse(ROOT.joinpath(*package, "__init__.py").read_text(encoding="utf-8"))
    imports = [n for n in init.body if isinstance(n, ast.ImportFrom) and n.module == module]
    names = [alias.name for node in imports for alias in node.names]
    return f"{match.group()}\n    options: {{members: [{', '.join(names)}]}}"


def derivation(path):
    """A file of manual/: what its docstring derives, beside the code."""
    text = (ROOT / path).read_text(encoding="utf-8")
    module = ast.parse(text)
    docstring = ast.get_docstring(module, clean=False)
    title, _, rest = docstring.partition("\n")
    code = "\n".join(text.splitlines()[module.body[0].end_lineno :]).strip("\n")
    return (
        f"---\nhide: [navigation, toc]\n---\n# {title.rstrip('.')}\n\n`{path}`\n\n"
        '<div class="derivation" markdown>\n<div class="equations">\n'
        f'{typeset.html(rest)}\n</div>\n<div class="code" markdown>\n\n'
        f"```python\n{code}\n```\n\n</div>\n</div>\n"
    )


def shown(path):
    """Any other file as a page: its text. A folder: its files."""
    file = ROOT / path
    if file.is_dir():
        names = sorted(p.name for p in file.iterdir() if p.is_file() and p.suffix != ".pyc")
        return f"# {path}/\n\n" + "\n".join(f"- [`{name}`]({name})" for name in names)
    language = LANGUAGES.get(file.suffix, "text")
    text = file.read_text(encoding="utf-8").strip("\n")
    fence = "`" * 4
    return f"---\nsearch: {{exclude: true}}\n---\n# {path}\n\n{fence}{language}\n{text}\n{fence}\n"


def text_of(path):
    """The Markdown of the page that shows a file or folder, with its links as they are."""
    file = ROOT / path
    if (file / "README.md").exists():
        file = file / "README.md"
    if file.suffix == ".md":
        return file.read_text(encoding="utf-8")
    return derivation(path) if file in MANUAL else shown(path)


def on_files(files, config):
    """Adds a page for each README, and for what pages link to."""
    to_do = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    to_do += ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
    to_do += [path.relative_to(ROOT).as_posix() for path in MANUAL]
    done = set()
    while to_do:
        path = to_do.pop()
        page = page_of(path)
        if page in done or not (ROOT / path).exists():  # what is missing, MkDocs reports
            continue
        done.add(page)
        if PurePosixPath(path).suffix in SHOWN_AS_IS:
            if page not in files.src_uris:
                files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
            continue
        text, linked = source_of(path)
        to_do += linked
        if page in files.src_uris:
            files.remove(files.src_uris[page])
        files.append(File.generated(config, page, content=text))
    return files


WORKER = "https://unpkg.com/iframe-worker/shim"


def on_post_page(output, page, config):
    """To search without a server takes a script that the theme loads from elsewhere: ours."""
    return output.replace(WORKER, "../" * page.url.count("/") + "worker.js")


def on_post_template(output, template_name, config):
    """The same for the page of what is not found."""
    return output.replace(WORKER, "/worker.js")


def on_config(config):
    """The derivations enter the navigation in the order in which their README lists them."""
    readme = (ROOT / "nanoautograd" / "manual" / "README.md").read_text(encoding="utf-8")
    names = dict.fromkeys(re.findall(r"\]\((\w+\.py)\)", readme))
    config.nav[-1]["Derivations"] += [page_of(f"nanoautograd/manual/{name}") for name in names]
    return config
