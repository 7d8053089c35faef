"""What happens before the first step: imports, and programs that are compiled."""

import gc
import os
import re
import subprocess
import sys

import pytest

from lamina._imports import imported


@pytest.fixture
def modules(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "looks_at_gc.py").write_text("import gc\non = gc.isenabled()\n")
    (tmp_path / "fails.py").write_text("raise KeyError('no')\n")
    yield
    sys.modules.pop("looks_at_gc", None)


def test_an_import_goes_without_collections_and_leaves_them_on(modules):
    assert not imported("looks_at_gc").on
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    with pytest.raises(KeyError):
        imported("fails")
    assert gc.isenabled()


def test_an_import_leaves_a_collector_that_is_off_or_has_frozen_alone(modules):
    gc.disable()
    try:
        assert not imported("looks_at_gc").on
        assert not gc.isenabled()
    finally:
        gc.enable()
    del sys.modules["looks_at_gc"]
    gc.freeze()
    try:
        count = gc.get_freeze_count()
        imported("looks_at_gc")
        assert 0 < gc.get_freeze_count() <= count
    finally:
        gc.unfreeze()


def test_garbage_of_before_an_import_is_still_collected(modules):
    class Node:
        gone = False

        def __del__(self):
            Node.gone = True

    node = Node()
    node.itself = node
    del node
    imported("looks_at_gc")
    gc.collect()
    assert Node.gone


SCRIPT = """
import numpy as np
import lamina
inputs = lamina.Input((6, 6, 1))
x = lamina.layers.Conv2D(2, 3, activation="relu")(inputs)
x = lamina.layers.BatchNormalization()(x)
x = lamina.layers.Flatten()(lamina.layers.MaxPooling2D()(x))
x = lamina.layers.Dropout(0.1)(x)
model = lamina.Model(inputs, lamina.layers.Dense(3)(x))
loss = lamina.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss, metrics=["accuracy"])
x, y = np.ones((8, 6, 6, 1), "float32"), np.zeros(8, "int32")
model.fit(x, y, batch_size=4, epochs=2, verbose=0)
"""


def test_a_script_compiles_its_step_and_its_logs_and_nothing_else():
    # In a process of its own: here other tests have compiled much already.
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True,
        env=os.environ | {"JAX_LOG_COMPILES": "1", "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    found = re.findall(r"Compiling jit\((\w+)\)", done.stderr)
    assert found == ["train_step", "results_step"]
