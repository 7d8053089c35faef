"""Packages of whole models for Keras 3 and tf.keras, and what trains many of them."""

import keras
import numpy as np
from shared import data, trained


def tkan():
    from tkan import TKAN

    layers = [TKAN(4, return_sequences=True), TKAN(3), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((5, 2)), *layers])
    return trained(model, data(8, 5, 2), data(8, 1))


def k3im_images():
    from k3im.vit import ViT

    model = ViT(
        image_size=8, patch_size=4, num_classes=3, dim=8, depth=1, heads=2, mlp_dim=8,
        channels=3, dim_head=4,
    )  # fmt: skip
    x, y = data(8, 8, 8, 3), data(8, classes=3)
    return trained(model, x, y, "sparse_categorical_crossentropy")


def k3im_mixer():
    from k3im.convmixer import ConvMixer

    model = ConvMixer(8, 4, 2, 3, 2, 3, 3)
    x, y = data(8, 8, 8, 3), data(8, classes=3)
    return trained(model, x, y, "sparse_categorical_crossentropy")


def unet_collection():
    from keras_unet_collection import models

    model = models.att_unet_2d(
        (16, 16, 3), [4, 8], n_labels=2, stack_num_down=1, stack_num_up=1,
        activation="ReLU", atten_activation="ReLU", attention="add",
        output_activation="Sigmoid", batch_norm=True, pool=False, unpool=False,
    )  # fmt: skip
    return trained(model, data(4, 16, 16, 3), data(4, 16, 16, 2))


def kyolo_model():
    from kyolo.models import yolov8n

    model = yolov8n(nc=2, input_shape=(32, 32, 3))
    shapes = [tuple(one.shape) for one in keras.tree.flatten(model.outputs)]
    return len(model.weights), model.count_params(), shapes


def efficientnet():
    from efficientnet.tfkeras import EfficientNetB0

    model = EfficientNetB0(weights=None, input_shape=(32, 32, 3), classes=3)
    return len(model.weights), model.count_params(), model.output_shape


def classification_models():
    from classification_models.tfkeras import Classifiers

    network, _ = Classifiers.get("resnet18")
    model = network((32, 32, 3), weights=None, classes=3)
    return len(model.weights), model.count_params(), model.output_shape


def talos_scan():
    import talos

    def build(x, y, x_val, y_val, params):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        out = model.fit(x, y, epochs=params["epochs"], verbose=0)
        return out, model

    scan = talos.Scan(
        data(16, 3), data(16, 1), {"epochs": [1, 2]}, build, "run",
        disable_progress_bar=True, print_params=False,
    )  # fmt: skip
    return sorted(scan.data["epochs"].tolist()), list(scan.data.columns)


def category_embedding():
    import pandas as pd
    from category_embedding import CategoryEmbedding

    table = pd.DataFrame({"city": list("abcab") * 4, "age": np.arange(20.0)})
    encoder = CategoryEmbedding(
        task="regression", categorical_cols=["city"], numeric_cols=["age"], epochs=1,
        batch_size=4,
    )  # fmt: skip
    return np.asarray(encoder.fit_transform(table, np.arange(20.0))).shape


CASES = [
    tkan, k3im_images, k3im_mixer, unet_collection, kyolo_model, efficientnet,
    classification_models, talos_scan, category_embedding,
]  # fmt: skip
