"""Helpers for the tests of layers: one comparison with real Keras."""

import keras
import numpy as np
import pytest

import lamina
from lamina.testing import check_layer
from tests.layers.parity import plain


def data(shape, dtype="float32"):
    """Random arrays for a shape, or for a list of shapes."""
    random = np.random.default_rng(0)
    if isinstance(shape, list):
        return [random.normal(size=s).astype(dtype) for s in shape]
    if dtype == "int32":
        return random.integers(0, 5, shape).astype(dtype)
    return random.normal(size=shape).astype(dtype)


@pytest.fixture
def same_as_keras():
    """Compares a layer with Keras' of the same name: config, numbers, gradients."""

    def compare(name, kwargs, inputs, call_kwargs=None, **more):
        if isinstance(inputs, (tuple, list)):
            inputs = data(inputs)
        kwargs, call_kwargs = {"name": "one", **kwargs}, call_kwargs or {}
        cls = getattr(lamina.layers, name)
        reference = getattr(keras.layers, name)(**kwargs)
        assert plain(cls(**kwargs).get_config()) == plain(reference.get_config())
        return check_layer(
            cls, kwargs, inputs, call_kwargs=call_kwargs, reference=reference, **more
        )

    return compare
