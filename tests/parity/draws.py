"""Random targets and predictions, and how near to Keras numbers must be."""

import numpy as np


class Draws:
    """Draws the same arrays whatever else is drawn in the process."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def numbers(self, *shape):
        return self.rng.normal(size=shape).astype("float32")

    def shares(self, *shape):
        x = self.rng.uniform(0.05, 1.0, size=shape).astype("float32")
        return x / x.sum(-1, keepdims=True)

    def bits(self, *shape):
        return self.rng.integers(0, 2, size=shape).astype("float32")

    def one_hot(self, n, classes):
        return np.eye(classes, dtype="float32")[self.labels(n, classes=classes)]

    def labels(self, *shape, classes=4):
        return self.rng.integers(0, classes, size=shape)


def close(ours, theirs, tolerance=1e-5):
    np.testing.assert_allclose(
        np.asarray(ours), np.asarray(theirs), rtol=tolerance, atol=tolerance
    )
