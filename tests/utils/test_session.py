"""`set_random_seed` and the packages that are loaded beside Lamina."""

import random
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import lamina


@pytest.fixture
def seeded(monkeypatch):
    """What stand-ins for the other packages were seeded with."""
    seen = []
    tensorflow, torch = ModuleType("tensorflow"), ModuleType("torch")
    tensorflow.random = SimpleNamespace(set_seed=lambda n: seen.append(("tf", n)))
    torch.manual_seed = lambda n: seen.append(("torch", n))
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    monkeypatch.setitem(sys.modules, "torch", torch)
    return seen


def test_loaded_packages_are_seeded(seeded):
    lamina.utils.set_random_seed(np.int64(5))
    drawn = random.random(), np.random.random()
    assert seeded == [("tf", 5), ("torch", 5)]
    assert all(type(n) is int for _, n in seeded)
    lamina.utils.set_random_seed(5)
    assert (random.random(), np.random.random()) == drawn


def test_a_bad_seed_changes_nothing(seeded):
    with pytest.raises(ValueError):
        lamina.utils.set_random_seed(-1)
    assert seeded == []


def test_a_package_that_is_still_loading(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", ModuleType("tensorflow"))
    monkeypatch.setitem(sys.modules, "torch", None)  # as `import` marks a failure
    lamina.utils.set_random_seed(5)
    assert random.random() == random.Random(5).random()


def test_nothing_is_imported(tmp_path):
    for name in ("torch", "tensorflow"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import lamina; "
        "lamina.utils.set_random_seed(1); "
        "assert not {'torch', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_scopes_that_were_left_open_are_forgotten():
    scope = lamina.name_scope("left")
    scope.__enter__()
    assert lamina.Variable(1.0, name="v").path == "left/v"
    lamina.utils.clear_session(free_memory=False)
    assert lamina.Variable(1.0, name="v").path == "v"
    with lamina.name_scope("new"):
        assert lamina.Variable(1.0, name="v").path == "new/v"
