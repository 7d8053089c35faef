"""keras-rs, kimm, keras-mdn-layer: a layer, a model or a metric of each."""

import keras
import numpy as np

X = np.ones((2, 3), "float32")


def cross():
    import keras_rs

    return keras_rs.layers.FeatureCross()(X, X).shape


def ranking():
    import keras_rs

    gain = keras_rs.metrics.NDCG(k=2)
    return round(float(gain(np.array([[0.0, 1.0]]), np.array([[0.1, 0.2]]))), 4)


def mixture():
    import keras_mdn_layer

    layers = [keras.layers.Dense(4), keras_mdn_layer.MDN(2, 3)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile("adam", keras_mdn_layer.get_mixture_loss_func(2, 3))
    losses = model.fit(X, X[:, :2], verbose=0).history["loss"]
    return bool(np.isfinite(losses).all())


def images():
    import kimm

    model = kimm.models.MobileNetV3W050Small(
        input_shape=(32, 32, 3), weights=None, classes=3
    )
    return model.predict(np.ones((1, 32, 32, 3)), verbose=0).shape


CASES = (cross, ranking, mixture, images)
