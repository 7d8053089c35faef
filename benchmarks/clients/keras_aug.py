"""keras-aug: layers that augment images."""

import numpy as np

X = np.random.default_rng(0).uniform(size=(2, 8, 8, 3)).astype("float32")


def keras_aug():
    from keras_aug import layers

    flipped = layers.vision.RandomFlip("horizontal", p=1.0)(X)
    return bool(np.allclose(np.asarray(flipped), X[:, :, ::-1]))


CASES = [keras_aug]
