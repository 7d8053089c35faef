"""A package that is not there is named, with what installs it."""

import math
import random
import sys

import pytest

from lamina.core.extras import extra, load_rich


def test_what_is_there_is_returned():
    assert extra("math", "`f`", "math") is math


@pytest.mark.parametrize(
    ("module", "install", "text"),
    [
        (
            "no_such_package",
            "no-such-package",
            "`f` needs the package `no_such_package`, which is not installed: "
            "pip install no-such-package. Or use `g`.",
        ),
        (
            "no_such_package.part",
            "lamina[plot]",
            "`f` needs the package `no_such_package`, which is not installed: "
            'pip install "lamina[plot]". Or use `g`.',
        ),
    ],
)
def test_a_missing_package(module, install, text):
    with pytest.raises(ImportError) as raised:
        extra(module, "`f`", install, "Or use `g`.")
    assert str(raised.value) == text


def test_a_broken_package_says_what_is_wrong_with_it(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import no_such_dependency")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ImportError, match="fails with No module.*no_such_dependency"):
        extra("broken_package", "`f`", "broken")


def test_loading_rich_draws_nothing(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    before = random.getstate()
    load_rich()
    assert "rich.style" in sys.modules
    assert random.getstate() == before
