"""Every page of docs/ runs from top to bottom, and draws the pictures that it shows."""

import importlib.util
import re
from pathlib import Path

import pytest

import lamina

ROOT = Path(__file__).parents[2]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


promises = load("bare_promises")
PAGES = dict(promises.programs([ROOT / "docs"]))


@pytest.mark.parametrize("page", PAGES)
def test_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = promises.given()
    for line, code in PAGES[page]:
        exec(compile(code, f"docs/{page}:{line}", "exec"), space)  # noqa: S102
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / "docs" / page).read_text())
    drawn = [name for name in shown if not (ROOT / "docs" / name).exists()]
    assert [name for name in drawn if not (tmp_path / name).exists()] == []


# Scripts for several processes: `tests/distributed` runs one, Ray the other.
SCRIPTS = {"distribution.md": 2}


def test_the_pages_are_those_that_are_read():
    """A block in another form would be shown and never run."""
    for page in (ROOT / "docs").glob("*.md"):
        fences = re.findall(r"^ *```(python|py)\b", page.read_text(), re.M)
        assert fences.count("python") == len(PAGES.get(page.name, []))
        assert fences.count("py") == SCRIPTS.get(page.name, 0)


def test_the_reference_describes_every_public_name_once():
    pytest.importorskip("latex2mathml")
    reference = load("reference")
    text = "\n".join(reference.pages(lamina).values())
    described = re.findall(r"^## \w+ \{#([\w.]+)\}$", text, re.M)
    assert len(described) == len(set(described))
    spaces = dict(reference.namespaces(lamina))
    for path in ("lamina.layers.Dense", "lamina.ops.resize", "lamina.models.Model.fit"):
        assert f"{{#{path}}}" in text
    links = re.findall(r"\]\(([\w.]+)\.md#([\w.]+)\)", text)
    anchors = set(re.findall(r"\{#([\w.]+)\}", text))
    assert {anchor for _, anchor in links} <= anchors
    names = sum(len(reference.offered(space)) for space in spaces.values())
    assert len(links) + len(spaces) - 1 == names
