"""What mkdocs calls as it makes the site: see mkdocs.yml and `make docs`.

The blocks of Python on each page are run, from top to bottom. What they print stands
below them on the site, and the pictures that they write are those that the page shows.
The reference is written from the docstrings, and pages that lie outside of docs/ are
taken over.
"""

import base64
import contextlib
import io
import json
import os
import re
import shutil
import sys
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["COLUMNS"] = "80"
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".ci"))

import bare_promises  # noqa: E402
import reference  # noqa: E402
from markdown.util import BLOCK_LEVEL_ELEMENTS  # noqa: E402
from mkdocs.structure.files import File  # noqa: E402

import lamina  # noqa: E402

# Formulas stand in their lines, where Markdown would give each a paragraph.
BLOCK_LEVEL_ELEMENTS.remove("math")

# Pages that lie elsewhere, and their places on the site.
TAKEN = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "report-a-hole.md",
    "examples/README.md": "examples.md",
}
NOTEBOOKS = ROOT / "build" / "notebooks"
pictures = {}  # that examples drew
made = {}  # pages that no file of docs/ holds
outputs = {}  # by page and line of a block: what it prints


def on_config(config):
    """Write the reference, and give it its place among the pages."""
    made.update(reference.pages(lamina))
    spaces = {}  # pages by the namespace that they belong to
    for page in sorted(made, key=lambda page: page.removesuffix(".md")):
        name = page[4:-3]
        spaces.setdefault(".".join(name.split(".")[:2]), []).append({name: page})
    nav = [pages[0] if len(pages) == 1 else {s: pages} for s, pages in spaces.items()]
    shown = [{"Gallery": "examples.md"}]
    for script in sorted((ROOT / "examples").glob("*.py")):
        made[f"examples/{script.stem}.md"] = example(script)
        shown.append({script.stem: f"examples/{script.stem}.md"})
    for entry in config.nav:
        if "Examples" in entry:
            entry["Examples"] = shown
    config.nav.append({"Reference": nav})
    for source in TAKEN:
        made[TAKEN[source]] = (ROOT / source).read_text()
    return config


def example(script):
    """Return the page of an example: its notebook, as it ran."""
    file = NOTEBOOKS / f"{script.stem}.ipynb"
    if not file.exists():
        text = script.read_text()
        return f"# {script.stem}\n\nNot run here.\n\n```python\n{text}```\n"
    first, *cells = json.loads(file.read_text())["cells"]
    title, _, text = first["source"].partition("\n")
    parts = [title.removesuffix("."), text.replace("``", "`")]
    parts.append(f"[The notebook]({file.name}), as it ran for this page.")
    for cell in cells:
        # Searches find what an example is about, not each line of its code.
        parts.append(f"``` {{ .python data-search-exclude }}\n{cell['source']}\n```")
        for number, output in enumerate(cell["outputs"]):
            if output["output_type"] == "stream":
                parts.append(f'```text title="Output"\n{output["text"].rstrip()}\n```')
            else:
                name = f"{script.stem}-{number}.png"
                pictures[name] = base64.b64decode(output["data"]["image/png"])
                parts.append(f"![What {script.name} drew]({name})")
    return "\n\n".join(parts)


def on_files(files, config):
    """Run the pages; add what they draw and what is not in docs/."""
    folder = ROOT / "build" / "pages"
    for name, blocks in bare_promises.programs([ROOT / "docs"]):
        outputs[name] = run(name, blocks, folder / name.removesuffix(".md"))
        for file in sorted((folder / name.removesuffix(".md")).iterdir()):
            if f"]({file.name})" in (ROOT / "docs" / name).read_text():
                picture = File.generated(config, file.name, abs_src_path=str(file))
                files.append(picture)
    for source in TAKEN:
        for picture in (ROOT / source).parent.glob("pictures/*"):
            path = f"pictures/{picture.name}"
            files.append(File.generated(config, path, abs_src_path=str(picture)))
    for file in NOTEBOOKS.glob("*.ipynb"):
        path = f"examples/{file.name}"
        files.append(File.generated(config, path, abs_src_path=str(file)))
    for name, content in pictures.items():
        files.append(File.generated(config, f"examples/{name}", content=content))
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


def run(name, blocks, folder):
    """Run the blocks of a page in a folder; return what each prints, by its line."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    before, printed = Path.cwd(), {}
    space = bare_promises.given()
    lamina.utils.clear_session()
    lamina.utils.set_random_seed(0)
    os.chdir(folder)
    try:
        for line, code in blocks:
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                exec(compile(code, f"docs/{name}:{line}", "exec"), space)
            printed[line] = out.getvalue().rstrip()
    finally:
        os.chdir(before)
    return printed


def on_page_markdown(text, page, **_):
    """Put what a block prints below it, and lead links to where pages are here."""
    here = page.file.src_uri
    if not here.startswith(("api/", "examples/")):
        page.meta["search"] = {"boost": 4}  # pages to read come first
    if here == "index.md":
        page.meta["hide"] = ["navigation"]
    lines = text.split("\n")
    # mkdocs has cut off what stands above the text; blocks are found by their order.
    found = iter(outputs.get(here, {}).values())
    shown, inside = [], False
    for line in lines:
        shown.append(line)
        if line == "```python" and here in outputs:
            inside = True
        elif line == "```" and inside:
            inside = False
            if printed := next(found):
                shown += ["", '```text title="Output"', printed, "```"]
    sources = {place: source for source, place in TAKEN.items()}
    folder = Path(sources.get(here, f"docs/{here}")).parent

    def lead(link):
        path, _, part = link[1].partition("#")
        if "://" in path or not path or here.startswith(("api/", "examples/")):
            return link[0]
        target = os.path.normpath(folder / path)
        target = TAKEN.get(target, target.removeprefix("docs/"))
        if target.startswith("examples/pictures"):
            target = target.removeprefix("examples/")
        elif target.startswith("examples/"):
            target = target.replace(".py", ".md")
        return f"]({target}{'#' * bool(part)}{part})"

    return re.sub(r"\]\(([^)\s]+)\)", lead, "\n".join(shown))
