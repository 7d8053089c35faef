"""Helpers for the tests of layers: one comparison with real Keras."""

import json

import keras
import numpy as np
import pytest

import lamina
from lamina.testing import check_layer, compare_numbers


def plain(config):
    return json.loads(json.dumps(config))


def data(shape, dtype="float32"):
    """Random arrays for a shape, or for a list of shapes."""
    random = np.random.default_rng(0)
    if isinstance(shape, list):
        return [random.normal(size=s).astype(dtype) for s in shape]
    if dtype == "int32":
        return random.integers(0, 5, shape).astype(dtype)
    return random.normal(size=shape).astype(dtype)


checked = set()


@pytest.fixture
def same_as_keras():
    """Compares a layer with Keras' of the same name: config, numbers, gradients.

    The first case of each class passes all checks; the others are built by a
    symbolic call and compared, which takes a third of the time.
    """

    def compare(name, kwargs, inputs, call_kwargs=None, **more):
        if isinstance(inputs, (tuple, list)):
            inputs = data(inputs)
        kwargs, call_kwargs = {"name": "one", **kwargs}, call_kwargs or {}
        cls = getattr(lamina.layers, name)
        layer, reference = cls(**kwargs), getattr(keras.layers, name)(**kwargs)
        assert plain(layer.get_config()) == plain(reference.get_config())
        if name not in checked:
            checked.add(name)
            return check_layer(
                cls,
                kwargs,
                inputs,
                call_kwargs=call_kwargs,
                reference=reference,
                **more,
            )
        spec = call_symbolically(layer, lamina.KerasTensor, inputs, call_kwargs)
        call_symbolically(reference, keras.KerasTensor, inputs, call_kwargs)
        output = compare_numbers(layer, reference, inputs, call_kwargs)
        assert (spec.shape[1:], spec.dtype) == (output.shape[1:], output.dtype.name)
        return layer

    return compare


def call_symbolically(layer, tensor, inputs, call_kwargs):
    def spec(x):
        return tensor((None, *x.shape[1:]), x.dtype.name) if hasattr(x, "shape") else x

    specs = [spec(x) for x in inputs] if isinstance(inputs, list) else spec(inputs)
    return layer(specs, **{k: spec(v) for k, v in call_kwargs.items()})
