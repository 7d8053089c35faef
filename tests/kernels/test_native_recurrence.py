"""The compiled recurrences, held to the scans that they replace."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lamina.kernels import gru, lstm, native, simple_rnn
from lamina.kernels.native import recurrence

pytestmark = pytest.mark.skipif(
    not native.available(), reason="no compiled kernels on this machine"
)

KERNELS = {"lstm": (lstm, 4, 2), "gru": (gru, 3, 1), "simple": (simple_rnn, 1, 1)}


@pytest.fixture(autouse=True)
def without_limits(monkeypatch):
    """Let the compiled forms take small arrays that they have no gain from."""
    for name, value in {"_EACH": 1 << 20, "_STEPS": 1, "_FEW": 1000}.items():
        monkeypatch.setattr(recurrence, name, value)


def arguments(name, rng, batch=2, time=4, features=3, units=5, scale=1.0):
    _, gates, states = KERNELS[name]
    wide = gates * units
    bias = (2, wide) if name == "gru" else (wide,)
    shapes = [(batch, time, features), *[(batch, units)] * states]
    shapes += [(features, wide), (units, wide), bias]
    drawn = [rng.normal(size=shape) * scale for shape in shapes]
    drawn[-2] /= units**0.5
    return [jnp.asarray(values, "float32") for values in drawn]


def with_gradients(function):
    """Make it return values, and the gradients of them in uneven weights."""

    def run(*args):
        results, pullback = jax.vjp(function, *args)
        waves = [
            jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape) for y in results
        ]
        return results, pullback(tuple(waves))

    return run


@pytest.fixture
def both(monkeypatch):
    """Run a function of arrays in both forms, jitted.

    `first`: whether it is of the first order; grads of grads are plain.
    """

    def run(function, *args, first=True):
        compiled = jax.jit(lambda *args: function(*args)).lower(*args)
        assert ("lamina_" in compiled.as_text()) == first
        with monkeypatch.context() as patch:
            patch.setattr(native, "available", lambda: False)
            plain = jax.jit(lambda *args: function(*args)).lower(*args)
        assert "lamina_" not in plain.as_text()
        return [jax.tree.leaves(form.compile()(*args)) for form in (compiled, plain)]

    return run


def close(mine, theirs, tolerance=2e-6):
    for a, b in zip(mine, theirs, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        largest = float(jnp.abs(b).max()) + 1e-30
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(
    "batch, time, features, units", [(1, 1, 1, 1), (5, 3, 2, 3), (2, 2, 40, 17)]
)
def test_shapes(name, batch, time, features, units, rng, both):
    args = arguments(name, rng, batch, time, features, units)
    close(*both(with_gradients(KERNELS[name][0]), *args))


def test_vectors_in_all_tiles_and_inputs_projected_apart(rng, both):
    args = arguments("lstm", rng, 19, 3, 260, 128, scale=0.3)
    close(*both(with_gradients(lstm), *args))


@pytest.mark.parametrize("name", KERNELS)
def test_masks(name, rng, both):
    mask = rng.random((5, 6)) > 0.4
    mask[1], mask[2] = False, True
    options = {"mask": jnp.asarray(mask), "reverse": True, "zero_output_for_mask": True}
    function = partial(KERNELS[name][0], **options)
    args = arguments(name, rng, 5, 6, units=18)
    close(*both(with_gradients(function), *args))


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_what_is_masked_does_no_harm(name, rng):
    x, *rest = arguments(name, rng)
    x = x.at[:, 2].set(jnp.nan)
    mask = jnp.ones((2, 4), bool).at[:, 2].set(False)
    function = partial(KERNELS[name][0], mask=mask)
    values, gradients = jax.jit(with_gradients(function))(x, *rest)
    assert all(jnp.isfinite(y).all() for y in values)
    states = gradients[1 : 1 + KERNELS[name][2]]
    assert all(jnp.isfinite(y).all() for y in states)


def test_long_sequences(rng, both):
    close(*both(lstm, *arguments("lstm", rng, 2, 700, units=7)))


@pytest.mark.parametrize("name", KERNELS)
def test_extreme_values(name, both):
    # One unit a row, and weights of zero, so that every value stays by itself.
    _, gates, states = KERNELS[name]
    odd = [0.0, 1e-30, -1e-6, 0.3, -5, 17, -88, 88.5, -1e4, 1e4, np.inf, -np.inf]
    x = jnp.array([*odd, np.nan], "float32").reshape(-1, 1, 1)
    state = jnp.full((len(x), 1), 0.5)
    kernel, weights = jnp.ones((1, gates)), jnp.zeros((1, gates))
    given = [x, *[state] * states, kernel, weights]
    mine, theirs = both(KERNELS[name][0], *given)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=3e-7, atol=2e-38)
    if name == "simple":
        assert mine[1].ravel()[-5:-1].tolist() == [-1, 1, 1, -1]


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_second_derivatives(name, rng, both):
    args = arguments(name, rng, units=2)

    def slope(*args):
        gradients = with_gradients(KERNELS[name][0])(*args)[1]
        return sum((g**2).sum() for g in gradients)

    places = tuple(range(len(args)))
    close(*both(jax.grad(slope, places), *args, first=False), tolerance=1e-5)


def test_vmap(rng):
    x, *rest = arguments("gru", rng)
    many = jnp.stack([x, -x])
    run = with_gradients(gru)
    mapped = jax.jit(jax.vmap(lambda x: run(x, *rest)))(many)
    one = jax.jit(run)
    single = [jax.tree.leaves(one(x, *rest)) for x in many]
    for i, results in enumerate(single):
        close([y[i] for y in jax.tree.leaves(mapped)], results, 5e-6)


def test_in_a_loop_with_the_same_bits_each_time(rng):
    args = arguments("lstm", rng, 20, 9, 6, 33)

    def step(total, _):
        results = jax.tree.leaves(with_gradients(lstm)(*args))
        return total, results

    many = jax.jit(lambda: lax.scan(step, 0, length=5)[1])()
    for results in many:
        assert (results == results[0]).all()


def test_exported_without_custom_calls(rng):
    args = arguments("lstm", rng)
    exported = jax.export.export(jax.jit(lstm))(*args)
    assert "lamina_" not in exported.mlir_module()
    for a, b in zip(exported.call(*args), lstm(*args), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_unknown_sizes(rng):
    x, h, c, *weights = arguments("lstm", rng)
    shapes = jax.export.symbolic_shape("b, t")
    unknown = jax.ShapeDtypeStruct((*shapes, 3), "float32")
    state = jax.ShapeDtypeStruct((shapes[0], 5), "float32")
    exported = jax.export.export(jax.jit(lstm))(unknown, state, state, *weights)
    np.testing.assert_allclose(
        exported.call(x, h, c, *weights)[0], lstm(x, h, c, *weights)[0], atol=1e-6
    )


def test_what_the_compiled_forms_take(monkeypatch):
    x, h, weights = jnp.ones((4, 2, 3)), jnp.ones((2, 5)), jnp.ones((5, 20))
    fits = recurrence.fits
    assert fits(x, h, weights, None)
    assert fits(x, h, weights, jnp.ones((4, 2, 1), bool))
    assert not fits(x.astype("bfloat16"), h, weights, None)
    assert not fits(x[:0], h, weights, None)
    assert not fits(x, h[:1], weights, None)
    assert not fits(x, h, weights, jnp.ones((1, 2, 1), bool))
    monkeypatch.undo()  # with the limits: one step, and vectors that stay half empty
    assert fits(x, h, weights, None)
    assert not fits(x[:1], h, weights, None)
    assert not fits(jnp.ones((4, 9, 3)), jnp.ones((9, 5)), weights, None)
