"""The README's examples run, and what it shows of their output is what they print."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def example(name):
    found = re.search(
        rf"<!-- example: {name} -->\n```python\n(.*?)```.*?"
        rf"<!-- output: {name} -->\n```\n(.*?)```",
        README,
        re.DOTALL,
    )
    assert found, f"README.md has no example {name!r} with its output"
    return found.groups()


@pytest.mark.parametrize("name", ["sequential", "functional"])
def test_example(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, shown = example(name)
    shorter = re.sub(r"epochs=\d+", "epochs=1", code)
    exec(compile(shorter, f"README.md, {name}", "exec"), {})  # noqa: S102
    printed = capsys.readouterr().out
    # Numbers of a run depend on the machine; tables and names do not.
    table = [line for line in shown.splitlines() if line[:1] in "Model┏┃┡│├└ "]
    assert [line for line in table if line.rstrip() not in printed] == []
    names = set(re.findall(r"(\w+): \d", shown)) - {"Epoch"}
    assert [name for name in names if f"{name}: " not in printed] == []


@pytest.mark.parametrize(
    "page",
    ["README.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md"]
    + [f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md")],
)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text()
    links = re.findall(r"(?<!!)\[[^]]*\]\(([^)#]+)(?:#[^)]*)?\)", text)
    here = (ROOT / page).parent
    files = [x for x in links if "://" not in x and not x.startswith("api/")]
    assert [x for x in files if not (here / x).exists()] == []
