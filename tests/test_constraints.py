import keras
import numpy as np
import pytest

from lamina import constraints

CASES = [
    ("MaxNorm", {"max_value": 0.7}),
    ("MaxNorm", {"max_value": 1.5, "axis": [0, 1]}),
    ("MinMaxNorm", {"min_value": 0.5, "max_value": 1.2, "rate": 0.3}),
    ("NonNeg", {}),
    ("UnitNorm", {}),
    ("UnitNorm", {"axis": 1}),
]


@pytest.mark.parametrize(("name", "kwargs"), CASES)
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4, 5)])
def test_result_and_config_are_those_of_keras(name, kwargs, shape):
    w = np.random.default_rng(0).normal(size=shape).astype("float32")
    w[0] = 0
    ours = getattr(constraints, name)(**kwargs)
    theirs = getattr(keras.constraints, name)(**kwargs)
    np.testing.assert_allclose(ours(w), theirs(w), rtol=1e-6, atol=1e-7)
    config = keras.constraints.serialize(theirs)
    assert constraints.serialize(ours) == config
    assert constraints.deserialize(config).get_config() == config["config"]
    assert keras.constraints.deserialize(config).get_config() == config["config"]


def test_get():
    assert isinstance(constraints.get("non_neg"), constraints.NonNeg)
    assert isinstance(constraints.get("UnitNorm"), constraints.UnitNorm)
    assert constraints.get(None) is None
    with pytest.raises(ValueError, match="'max_norm'"):
        constraints.get("max_nrm")
