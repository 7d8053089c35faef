"""Lamina: build and train neural networks, the Keras way, on JAX.

    import lamina
    from lamina import layers

    model = lamina.Sequential([layers.Dense(64, "relu"), layers.Dense(10)])

Everything is loaded on first use, so importing the package costs little.
"""

import importlib.util

from lamina._imports import imported, missing
from lamina._version import __version__

_HOMES = {
    "DTypePolicy": "core.policy",
    "FloatDTypePolicy": "core.policy",
    "Function": "models",
    "Initializer": "initializers",
    "Input": "layers",
    "InputSpec": "layers",
    "KerasTensor": "ops.operators:SymbolicTensor",
    "Layer": "layers",
    "Loss": "losses",
    "Metric": "metrics",
    "Model": "models",
    "Operation": "core.operation",
    "Optimizer": "optimizers",
    "Quantizer": "quantizers",
    "Regularizer": "regularizers",
    "RematScope": "core.remat",
    "Sequential": "models",
    "StatelessScope": "core.scopes",
    "SymbolicScope": "core.scopes",
    "Variable": "core.variable",
    "device": "core.scopes",
    "name_scope": "core.context",
    "pure": "core.variable",
    "value_and_grad": "core.variable",
    "remat": "core.remat",
}
_MODULES = (
    "activations", "applications", "backend", "callbacks", "config", "constraints",
    "data", "datasets", "distillation", "dtype_policies", "export", "initializers",
    "layers", "legacy", "losses", "metrics", "mixed_precision", "models", "ops",
    "optimizers", "preprocessing", "quantizers", "random", "regularizers", "saving",
    "testing", "tree", "utils", "visualization", "wrappers",
)  # fmt: skip

__all__ = ["__version__", *sorted(_HOMES), *_MODULES]


def version() -> str:
    """Return the version of Lamina."""
    return __version__


def __getattr__(name):
    if name in _HOMES:
        home, _, attribute = _HOMES[name].partition(":")
        value = getattr(imported(f"lamina.{home}"), attribute or name)
    elif name in _MODULES and importlib.util.find_spec(f"lamina.{name}"):
        value = imported(f"lamina.{name}")
    else:
        raise missing(__name__, name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
