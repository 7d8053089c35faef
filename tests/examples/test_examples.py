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
    assert_written(tmp_path, "two_branches.keras", "two_branches.png")
    best = result.pop("this network")
    assert len(result) == 3
    assert best < 0.7 * min(result.values())


# Of each: what it beats in a short run, the name of its own row, and its files.
MORE = {
    "augmentation": ("always one digit", "with changes"),
    "autoencoder": ("blurred", "this network"),
    "gan": ("each pixel drawn for itself", "this network"),
    "gpt": ("by how often it occurs", "this network"),
    "jax_loop": ("always the median", "this network"),
    "sunspots": ("the same as last year", "this network"),
    "text_topics": ("always stats", "this network"),
    "transfer": ("from scratch", "the old network, taught"),
    "twins": ("by chance", "this network"),
}
MORE_IS_BETTER = {"augmentation", "text_topics", "transfer", "twins"}


@pytest.mark.parametrize("name", MORE)
def test_more(name, run, tmp_path):
    result, printed = run(name)
    baseline, own = MORE[name]
    sign = 1 if name in MORE_IS_BETTER else -1
    assert sign * result[own] > sign * result[baseline]
    assert all(row in printed for row in result)
    assert "Total params" in printed and "Try next" in printed
    # The saved file was loaded again, and said something about a new row.
    assert f"From {tmp_path / name}.keras" in printed
    assert_written(tmp_path, f"{name}.keras", f"{name}.png")


def test_the_gallery_shows_every_example():
    gallery = (EXAMPLES / "README.md").read_text()
    names = {file.stem for file in EXAMPLES.glob("*.py")}
    assert names == {*MORE, "digits_cnn", "faces", "product_price", "two_branches"}
    for name in names:
        assert f"({name}.py)" in gallery and f"(pictures/{name}.png)" in gallery
        assert (EXAMPLES / "pictures" / f"{name}.png").exists()
        text = (EXAMPLES / f"{name}.py").read_text()
        assert "It solves:" in text and "Try next:" in text
