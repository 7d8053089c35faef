"""Every example runs, prints its table and beats its trivial baseline."""

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

for package in ("matplotlib", "mlxtend", "plotnine", "PIL"):
    pytest.importorskip(package)


@pytest.fixture
def run(tmp_path, capsys):
    """Run an example's `main` and return its result and what it printed."""

    def run_example(name):
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        example = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(example)
        result = example.main(["--quick", "--out", str(tmp_path)])
        return result, capsys.readouterr().out

    return run_example


def assert_written(folder, *names):
    written = {path.name for path in folder.iterdir() if path.stat().st_size}
    assert written == set(names)


def assert_reported(printed, result):
    """The summary, the last epoch and a row for each result were printed."""
    assert "Total params" in printed
    assert "Epoch 2/" in printed
    for name in result:
        assert name in printed


def test_digits_cnn(run, tmp_path):
    result, printed = run("digits_cnn")
    assert_reported(printed, result)
    assert_written(tmp_path, "digits_model.png", "digits_curves.png", "digits.keras")
    assert result["always the most frequent digit"] == 0.1
    assert result["this network"] > 0.7


def test_faces(run, tmp_path):
    result, printed = run("faces")
    assert_reported(printed, result)
    assert_written(tmp_path, "faces.png", "faces.keras")
    (base_years, base_accuracy), (years, accuracy) = result.values()
    assert years < 0.7 * base_years
    assert accuracy > base_accuracy


def test_product_price(run, tmp_path):
    result, printed = run("product_price")
    assert_reported(printed, result)
    assert_written(tmp_path, "prices.png", "diamonds.png", "product_price.keras")
    best = result.pop("all three")
    assert len(result) == 5
    assert best < min(result.values())
    assert best < 0.5 * result["always the median"]


def test_two_branches(run, tmp_path):
    result, printed = run("two_branches")
    assert_reported(printed, result)
    assert_written(tmp_path, "two_branches.keras")
    best = result.pop("this network")
    assert len(result) == 3
    assert best < 0.7 * min(result.values())
