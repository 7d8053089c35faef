"""What stays in memory: few programs, and none of a model that is gone."""

import gc
import tracemalloc
import weakref

import jax
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.core import bounds
from lamina.training.forward import forward


def model():
    return lamina.Sequential([lamina.Input((3,)), layers.Dense(2)])


def programs(made):
    """Return how many programs a model has for `predict` and calls."""
    return forward(made, False)._made[1]._cache_size()


def test_predict_with_many_batch_sizes_keeps_few_programs():
    made = model()
    made.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(70, 3)).astype("float32")
    for size in range(70, 0, -1):
        found = made.predict(x[:size], batch_size=size, verbose=0)
        np.testing.assert_allclose(found, made.predict(x, verbose=0)[:size], atol=1e-6)
    # 16 as they are, powers of two, and what `predict` takes by itself.
    assert programs(made) <= 16 + 7 + 2
    few = model()
    for size in (5, 9, 30):
        few.predict(x[:size], batch_size=size, verbose=0)
    assert programs(few) == 3


def test_predict_over_a_file_keeps_batches_in_memory(tmp_path):
    made = lamina.Sequential([lamina.Input((500,)), layers.Dense(1)])
    x = np.memmap(tmp_path / "x", "float32", "w+", shape=(10_000, 500))
    x[-1] = 1
    made.predict(x[:128], batch_size=64, verbose=0)
    tracemalloc.start()
    found = made.predict(x, batch_size=64, verbose=0)
    peak = tracemalloc.get_traced_memory()[1] - found.nbytes
    tracemalloc.stop()
    np.testing.assert_allclose(found[-1:], made(x[-1:]), rtol=1e-6)
    assert peak < x.nbytes / 10


class Own(layers.Layer):
    def call(self, x):
        return x - x.mean()


def kept(made):
    """Return the most programs that one function keeps."""
    known = made._lamina_training.programs.of(made)
    made = [x._made[1] for x in known.forward.values()]
    made += [x[0] for x in known.made.values() if isinstance(x, tuple)]
    return max(f._cache_size() for f in made if hasattr(f, "_cache_size"))


def test_steps_of_many_shapes_are_dropped(monkeypatch):
    monkeypatch.setattr(bounds, "PROGRAMS", 3)
    made = model()
    made.compile("sgd", "mse")
    for size in range(1, 12):
        x = np.ones((size, 3), "float32")
        run = made.train_on_batch if size % 2 else made.test_on_batch
        run(x, x[:, :2])
        assert kept(made) <= 3


@pytest.mark.parametrize("predicts", [True, False])
def test_programs_of_many_shapes_are_dropped(predicts, monkeypatch):
    monkeypatch.setattr(bounds, "PROGRAMS", 8)
    made = lamina.Sequential([lamina.Input((3,)), Own()]) if predicts else model()
    run = made.predict if predicts else made
    for size in range(1, 25):
        x = np.arange(3.0 * size, dtype="float32").reshape(size, 3)
        found = run(x, **({"verbose": 0, "batch_size": size} if predicts else {}))
        if predicts:
            np.testing.assert_allclose(found, x - x.mean(), rtol=1e-5, atol=1e-5)
        assert programs(made) <= 8


def test_a_dropped_model_takes_its_programs_with_it():
    kept = []
    for _ in range(2):
        # Of a width that no other test has.
        made = lamina.Sequential([lamina.Input((3,)), layers.Dense(3571)])
        made.compile("adam", "mse")
        x = np.ones((8, 3571), "float32")
        made.fit(x[:, :3], x, verbose=0)
        made.evaluate(x[:, :3], x, verbose=0)
        made.predict(x[:, :3], verbose=0)
        made(x[:, :3])
        known = made._lamina_training.programs.of(made)
        for step in (*known.forward.values(), *known.made.values()):
            for part in (step, *(step if isinstance(step, tuple) else ())):
                if hasattr(part, "_made"):
                    part = part._made[1]
                if hasattr(part, "_cache_size"):
                    kept.append(weakref.ref(part))
        del made, known, step, part
        gc.collect()
    assert len(kept) >= 4
    assert not [ref() for ref in kept if ref() is not None]
    assert not [a for a in jax.live_arrays() if a.shape == (3, 3571)]


def test_a_cleared_session_forgets_what_was_compiled():
    made, x = model(), np.ones((2, 3), "float32")
    found = np.asarray(made(x))
    assert programs(made) == 1
    lamina.utils.clear_session()
    assert programs(made) == 0
    np.testing.assert_array_equal(made(x), found)
