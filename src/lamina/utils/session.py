"""A fresh start within a process."""

import gc

import jax

from lamina.core.context import context
from lamina.core.naming import forget_names
from lamina.core.placement import set_distribution
from lamina.core.policy import forget_policy
from lamina.core.random import forget_global_seed
from lamina.core.tracebacks import boundary


@boundary
def clear_session(free_memory: bool = True) -> None:
    """Forget automatic names, open name scopes, seed, dtype policy and distribution.

    Args:
        free_memory: collect garbage as well, and forget what JAX traced and compiled:
            for each new shape it keeps some of that, also when the model is gone.
            Models that are still used are compiled again when they run.

    >>> import lamina
    >>> lamina.utils.clear_session(free_memory=False)
    >>> lamina.layers.Dense(1).name, lamina.layers.Dense(1).name
    ('dense', 'dense_1')
    >>> lamina.utils.clear_session(free_memory=False)
    >>> lamina.layers.Dense(1).name
    'dense'
    """
    forget_names()
    context.scopes = ()
    forget_global_seed()
    forget_policy()
    set_distribution(None)
    if free_memory:
        gc.collect()
        jax.clear_caches()
