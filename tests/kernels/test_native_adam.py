"""Adam's compiled step is held to the plain form, for every level of the library."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina.kernels import native
from lamina.kernels.native import adam

pytestmark = pytest.mark.skipif(
    not native.available(), reason="needs the compiled kernels"
)

SETTINGS = {
    "new_mean": np.float32(0.1),
    "new_square": np.float32(0.001),
    "epsilon": np.float32(1e-7),
}


def arrays(size):
    random = np.random.default_rng(size)
    gradient, mean, square, weight = random.normal(size=(4, size)).astype("float32")
    gradient[::3] = 0
    if size > 9:
        gradient[1:8] = [np.nan, np.inf, -np.inf, 1e-30, 1e30, -0.0, 1e-42]
    return *map(jnp.asarray, (gradient, mean, np.square(square), weight)), 1e-3


def close(mine, theirs):
    for one, other in zip(mine, theirs, strict=True):
        # Whether a product and a sum round once or twice differs between levels.
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("size", [0, 1, 15, 17, 16_384, 16_385, 70_001])
def test_every_library_agrees_with_the_plain_form(target, size):
    given = arrays(size)
    call = jax.ffi.ffi_call(target("adam"), [jax.ShapeDtypeStruct((size,), "f4")] * 3)
    mine = call(*given[:4], jnp.float32(given[4]), **SETTINGS)
    close(mine, jax.jit(adam._plain)(*given, **SETTINGS))


def trained(monkeypatch, compiled, make, shape=(128, 80)):
    """Return the weights and averages after three steps, and the step's program."""
    if not compiled:
        monkeypatch.setattr(adam, "_LEAST", 1 << 60)
    random = np.random.default_rng(0)
    w = lamina.Variable(random.normal(size=shape).astype("float32"))
    optimizer = make()
    optimizer.build([w])
    step = jax.jit(optimizer.stateless_apply)
    state = [v.value for v in optimizer.variables], [w.value]
    for _ in range(3):
        gradient = [jnp.asarray(random.normal(size=shape), "float32")]
        program = step.lower(state[0], gradient, state[1]).as_text()
        state = step(state[0], gradient, state[1])[::-1]
    return jax.tree.leaves(state), program


@pytest.mark.parametrize(
    ("make", "runs"),
    [
        (lamina.optimizers.Adam, True),
        (lambda: lamina.optimizers.AdamW(1e-2, weight_decay=0.1, clipnorm=1.0), True),
        (lambda: lamina.optimizers.Adam(use_ema=True, ema_momentum=0.9), True),
        (lambda: lamina.optimizers.Adam(gradient_accumulation_steps=2), True),
        (lambda: lamina.optimizers.Adam(amsgrad=True), False),
    ],
)
def test_an_optimizer_makes_the_same_steps(monkeypatch, make, runs):
    mine, program = trained(monkeypatch, True, make)
    assert ("lamina_adam" in program) == runs
    theirs, program = trained(monkeypatch, False, make)
    assert "lamina_adam" not in program
    close(mine, theirs)


def test_small_and_half_arrays_stay_with_xla(monkeypatch):
    _, program = trained(monkeypatch, True, lamina.optimizers.Adam, (50, 50))
    assert "lamina_adam" not in program
    assert not adam.fits(*[jnp.ones((128, 80), "bfloat16")] * 4)


def test_mapped_and_differentiated():
    given = [x[None] for x in arrays(9)[:4]]

    def step(rate, *given):
        return adam.adam(*given, rate, 0.9, 0.999, 1e-7)

    rates = jnp.asarray([1e-3, 2e-3])
    mapped = jax.vmap(lambda rate: step(rate, *given))(rates)
    for i, rate in enumerate(rates):
        close([x[i] for x in mapped], step(rate, *given))
    slope = jax.grad(lambda rate: step(rate, *given)[2].sum())(rates[0])
    mean, square, _ = step(rates[0], *given)
    np.testing.assert_allclose(slope, -(mean / (np.sqrt(square) + 1e-7)).sum(), 1e-5)
