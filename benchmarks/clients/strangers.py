"""Packages of layers, models and tools for Keras 3 and tf.keras, a case or two each."""

import keras
import numpy as np
from shared import data, rounded, trained


def saved(model, x, **objects):
    model.save("model.keras")
    again = keras.models.load_model("model.keras", custom_objects=objects or None)
    first, second = (np.asarray(one(x)) for one in (model, again))
    return bool(np.allclose(first, second, atol=1e-6))


def keras_tcn():
    from tcn import TCN

    layers = [TCN(4, 2, dilations=(1, 2), use_layer_norm=True), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((8, 3)), *layers])
    x = data(8, 8, 3)
    return trained(model, x, data(8, 1)), saved(model, x, TCN=TCN)


def keras_sig():
    from keras_sig import SigLayer

    layers = [SigLayer(depth=3, stream=False), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((6, 2)), *layers])
    return trained(model, data(8, 6, 2), data(8, 1))


def keras_custom():
    from keras_custom import MulConstant, Pow
    from keras_custom.model import nested_models  # noqa: F401

    model = keras.Sequential([keras.Input((3,)), Pow(2), MulConstant(3.0)])
    return rounded(model(data(2, 3))), saved(model, data(2, 3))


def keras_fft():
    import keras_fft

    x = data(2, 8, 3)
    return [rounded(part) for part in keras.tree.flatten(keras_fft.rfft(x))]


def keras_proba():
    from keras_proba import layers, metrics

    model = keras.Sequential([keras.Input((4,)), layers.GaussianHead(1)])
    made = trained(model, data(8, 4), data(8, 1), keras.losses.get("mse"))
    metric = metrics.ExpectedCalibrationError(from_logits=True)
    metric.update_state(data(8, classes=3), data(8, 3))
    return made, rounded(metric.result())


def keras_sciml():
    from keras_sciml.models import FNO1D

    model = FNO1D(modes=3, width=4)
    return trained(model, data(4, 16, 1), data(4, 16, 1))


def kerex_layers():
    from kerex.layers.conv import Conv2D
    from kerex.layers.wrapper import Residual

    layers = [Conv2D(3, 3, padding="same", activation=keras.layers.ReLU())]
    layers = [*layers, Residual(keras.layers.Conv2D(3, 1)), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((4, 4, 3)), *layers, keras.layers.Dense(1)])
    return trained(model, data(8, 4, 4, 3), data(8, 1))


def keras_bio():
    from keras_bio.protein import esm2  # noqa: F401

    return sorted(name for name in dir(esm2) if name[0].isupper())


def lime():
    from lime.lime_tabular import LimeTabularExplainer

    layers = [keras.Input((4,)), keras.layers.Dense(2, "softmax", name="last")]
    model = keras.Sequential(layers)
    x = data(20, 4)
    trained(model, x, data(20, classes=2), "sparse_categorical_crossentropy")
    explainer = LimeTabularExplainer(x, random_state=0)
    predict = lambda rows: model.predict(rows, verbose=0)  # noqa: E731
    found = explainer.explain_instance(x[0], predict, num_samples=50)
    return [(name, round(value, 2)) for name, value in found.as_list()]


def alrelu():
    from alrelu_keras import ALReLU

    return rounded(ALReLU(0.1)(data(2, 3) - 0.5))


CASES = [
    keras_tcn, keras_sig, keras_custom, keras_fft, keras_proba, keras_sciml,
    kerex_layers, keras_bio, lime, alrelu,
]  # fmt: skip
