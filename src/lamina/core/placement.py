"""Where arrays lie on several devices, and how they get there."""

import jax
import numpy as np

from lamina.core.context import context


def put(value, sharding) -> jax.Array:
    """Return an array on the devices, as a sharding says.

    Each device gets no more than its part of a NumPy array.
    """
    here = not isinstance(value, jax.Array) or value.is_fully_addressable
    if here and not sharding.is_fully_addressable:
        value = np.asarray(value)  # devices of other processes: theirs to fill
        return jax.make_array_from_callback(value.shape, sharding, value.__getitem__)
    return jax.device_put(value, sharding)


def from_parts(shape, part) -> jax.Array:
    """Return an array that is made on the host, in parts where it is divided.

    Where a Variable of this shape is being made, it comes to lie as the Variable will.

    Args:
        shape: its shape.
        part: a function from slices to the part of the array in NumPy.
    """
    wanted, sharding = context.birth
    if sharding is None or tuple(shape) != wanted:
        return jax.device_put(part((slice(None),) * len(shape)))
    made = {}  # several devices may have the same part

    def once(index):
        key = tuple((s.start, s.stop) for s in index)
        if key not in made:
            made[key] = part(index)
        return made[key]

    return jax.make_array_from_callback(tuple(shape), sharding, once)
