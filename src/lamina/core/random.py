"""Seeds: `SeedGenerator`, the global generator, and keys for JAX's draws."""

import contextlib
import functools
import random as python_random
import sys
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from lamina import _generators
from lamina.core.config import Constructed
from lamina.core.context import context, having, name_scope
from lamina.core.naming import automatic_name
from lamina.core.processes import service
from lamina.core.tracebacks import boundary
from lamina.core.types import Seed
from lamina.core.variable import Variable, from_host

# The seed, and the generator, which is made when something first draws from it: a
# Variable starts JAX, and nothing may before `jax.distributed.initialize`.
_global: dict[str, Any] = {"seed": None, "generator": None, "agreed": False}
_PATIENCE = 20_000  # milliseconds to wait for the service that joined the processes


def make_default_seed() -> int:
    """Draw a seed from Python's own generator, which `set_random_seed` seeds.

    Where processes were joined and no seed was set, it goes on from one of all.
    """
    if service() is not None and (agreed := _agreed_seed()) is not None:
        python_random.seed(agreed)
    return _drawn_seed()


def _drawn_seed():
    return python_random.randint(1, int(1e9))


def seeds_as_now():
    """Return a function that lets the next seeds be those that would be drawn now."""
    return functools.partial(python_random.setstate, python_random.getstate())


@boundary
def set_random_seed(seed: int) -> None:
    """Seed Python's, NumPy's and Lamina's generators.

    TensorFlow's and PyTorch's too, where they are loaded: pipelines of data draw from
    them. Neither is imported for it.

    Args:
        seed: a non-negative integer below 2**32.

    Raises:
        ValueError: `seed` is not an integer.

    >>> import lamina
    >>> lamina.utils.set_random_seed(7)
    >>> a = lamina.random.normal((2,))
    >>> lamina.utils.set_random_seed(7)
    >>> bool((a == lamina.random.normal((2,))).all())
    True
    """
    if not isinstance(seed, (int, np.integer)):
        raise ValueError(
            "`set_random_seed` expected `seed` to be an integer. "
            f"Received: seed={seed!r} (of type {type(seed).__name__})"
        )
    with _generators.lock:
        python_random.seed(int(seed))
        np.random.seed(int(seed))
    for seeder in (
        loaded("tensorflow", "random", "set_seed"),
        loaded("torch", "manual_seed"),
    ):
        if seeder is not None:
            seeder(int(seed))
    _global.update(seed=int(seed), generator=None)


def loaded(package: str, *path: str) -> Any:
    """Return what a package that is imported already has at a path, else None."""
    found: Any = sys.modules.get(package)
    for name in path:
        found = getattr(found, name, None)
    return found


class SeedGenerator(Constructed):
    """A stream of seeds, held in a Variable so that it flows through `pure`.

    The state is `[seed, counter]`; each draw uses the state and adds one to the
    counter.

    Args:
        seed: an integer, or None for one drawn from Python's generator.
        name: the generator's name.

    Raises:
        ValueError: `seed` is neither.

    >>> import lamina
    >>> seeds = lamina.random.SeedGenerator(1)
    >>> [int(i) for i in seeds.next()], [int(i) for i in seeds.next()]
    ([1, 0], [1, 1])
    """

    def __init__(self, seed: Seed = None, name: str | None = None, **kwargs):
        kwargs.pop("backend", None)  # Keras' layers say whose arrays: there is one kind
        if kwargs:
            raise ValueError(f"Unrecognized keyword arguments: {sorted(kwargs)}")
        self.name = name or automatic_name("seed_generator")
        self._initial_seed = seed
        if seed is None:
            seed = make_default_seed()
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
            raise ValueError(
                "Argument `seed` must be an integer. "
                f"Received: seed={seed!r} (of type {type(seed).__name__})"
            )
        self.seed = int(seed)
        start = np.array([self.seed & 0xFFFFFFFF, 0], np.uint32)
        with name_scope(self.name):
            self.state = Variable(
                start, trainable=False, autocast=False, name="seed_generator_state"
            )

    def next(self, ordered=True):
        """Return the current seed, a uint32 pair, and step to the next.

        Args:
            ordered: whether the counter goes up by one. Else both numbers are mixed,
                as Keras does for draws that were given no seed.
        """
        if _generators.draws.noted is not None:
            _generators.draws.noted.append(self)
        key = self.state.value
        following = key + np.array([0, 1], np.uint32)
        self.state.assign(following if ordered else (key + 1) * 5387 % 933199)
        return key


def global_seed_generator() -> SeedGenerator:
    """Return the generator behind every draw that was given no seed.

    Its own seed comes from Python's generator, as that of a layer does.
    """
    if _global["generator"] is None:
        with having(scopes=(), distribution=None):
            generator = SeedGenerator(name="global_seed_generator")
        _global["generator"] = generator
    return _global["generator"]


def global_state():
    """Return the state of the global generator; None before its first draw."""
    generator = _global["generator"]
    return None if generator is None else np.asarray(generator.state.value)


def set_global_state(state) -> None:
    """Set the global generator to what `global_state` gave."""
    if state is None:
        _global["generator"] = None
    else:
        global_seed_generator().state.assign(state)


def forget_global_seed() -> None:
    """Let the next unseeded draw begin a new global generator."""
    _global.update(seed=None, generator=None)


def agree_on_seed() -> None:
    """Let all processes have one seed, where none was set."""
    if (agreed := _agreed_seed()) is not None:
        set_random_seed(agreed)


def _agreed_seed():
    """Return what the first process that asked drew; None where that is settled."""
    if _global["agreed"] or _global["seed"] is not None:
        return None
    _global["agreed"], client = True, service()
    with contextlib.suppress(Exception):  # another one was the first
        client.key_value_set("lamina/seed", str(_drawn_seed()))
    return int(client.blocking_key_value_get("lamina/seed", _PATIENCE))


def draw_seed(seed) -> Any:
    """Turn what a user gave as `seed` into a key: a uint32 pair.

    Args:
        seed: a SeedGenerator (stepped), an integer (always the same key), a key,
            or None (the global generator).

    Raises:
        ValueError: the seed is of another kind, or an unseeded draw stands
            inside a compiled function, where it would be frozen.
    """
    if isinstance(seed, SeedGenerator):
        return seed.next()
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        return from_host(np.array([int(seed) & 0xFFFFFFFF, 0], np.uint32))
    if seed is None:
        generator = global_seed_generator()
        bound = any(generator.state in frame.values for frame in context.frames)
        traced = isinstance(jnp.zeros(()), Tracer)
        if traced and not bound and not context.runs("symbolic"):
            raise ValueError(
                "A random draw without a seed stands inside a compiled function: it "
                "would give the same numbers at every step. Make a "
                "`seed = lamina.random.SeedGenerator()` in the layer's `__init__`, "
                "keep it as an attribute, and pass `seed=seed` to the draw."
            )
        return generator.next(ordered=False)
    if hasattr(seed, "shape") and hasattr(seed, "dtype"):
        return seed
    raise ValueError(
        "`seed` must be an integer, a `lamina.random.SeedGenerator` or None. "
        f"Received: seed={seed!r} (of type {type(seed).__name__})"
    )
