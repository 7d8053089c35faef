"""The theory of Lamina: variables, symbolic tensors, contexts, configs.

Nothing here knows what a layer is. Everything above imports from here, and
this package imports only JAX, NumPy and the standard library.
"""

from lamina._imports import imported

imported("jax.numpy")

from lamina.core import runtime  # noqa: E402

runtime.set_up()
