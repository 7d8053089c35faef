"""Packages of 2024 to 2026: graphs, series, tables, quantization, curves."""

import keras
import numpy as np
from shared import data, rounded, trained


def settled(layer, x, **given):
    """Return what a layer gives whose weights are set here."""
    layer(x, **given)
    draw = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        weight.assign(draw.normal(size=weight.shape, scale=0.3))
    return [rounded(part) for part in keras.tree.flatten(layer(x, **given))]


def keras_geometric():
    from keras_geometric.layers import GATv2Conv, GCNConv, GINConv, SAGEConv

    edges = np.array([[0, 1, 2, 3, 0], [1, 2, 3, 0, 2]], "int32")
    kinds = GCNConv(3), GINConv(3), SAGEConv(3), GATv2Conv(3, heads=2)
    return [settled(layer, [data(4, 5), edges]) for layer in kinds]


def mingru():
    from mingru_keras import MinGRU

    layers = [keras.Input((6, 2)), MinGRU(3), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    return trained(model, data(8, 6, 2), data(8, 1))


def scikit_keras():
    from skkeras import KerasClassifier, KerasRegressor, Straight
    from sklearn.model_selection import cross_val_score

    found = []
    for kind, y in ((KerasRegressor, data(20)), (KerasClassifier, data(20, classes=3))):
        keras.utils.set_random_seed(0)
        net = Straight(dense_units=[4], dense_activation="relu")
        estimator = kind(hidden=net, verbose=0, epochs=2)
        found.append(cross_val_score(estimator, data(20, 3), y, cv=2).round(3).tolist())
    return found


def segmodels():
    import segmodels_keras

    model = segmodels_keras.Unet(
        "resnet18", (32, 32, 3), encoder_weights=None, decoder_filters=(8, 8, 4, 4, 4)
    )
    return len(model.weights), model.count_params(), model.output_shape


def without_products():
    from keras_mml.layers import GRUMML, DenseMML, RMSNorm

    layers = [DenseMML(8), RMSNorm(), GRUMML(8, fully_mml=True)]
    return [settled(layer, data(2, 5, 4)) for layer in layers]


def kerasfactory():
    from kerasfactory import layers

    kinds = (
        layers.GatedLinearUnit(4), layers.GatedResidualNetwork(4),
        layers.SlowNetwork(6, 2, 4), layers.TabularMoELayer(2, 4),
        layers.BoostingBlock(4),
    )  # fmt: skip
    return [settled(layer, data(8, 6)) for layer in kinds]


def forecasting():
    from keras_climate.forecasting import DLinear, PatchTST

    nets = DLinear(8, 4, 2, 3), PatchTST(8, 4, 2, patch_len=4, stride=2, d_model=8,
                                         num_heads=2, depth=1)  # fmt: skip
    return [settled(net, data(2, 8, 2)) for net in nets]


def keras_vision():
    from keras_vision.MobileViT_v1 import build_MobileViT_v1

    model = build_MobileViT_v1("XXS", input_shape=(32, 32, 3), num_classes=3)
    return len(model.weights), model.count_params(), model.output_shape


def livelossplot():
    import livelossplot

    plot = livelossplot.PlotLossesKeras(outputs=["ExtremaPrinter"])
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    x, y = data(16, 3), data(16, 1)
    model.fit(x, y, validation_data=(x, y), epochs=2, verbose=0, callbacks=[plot])
    return sorted(plot.liveplot.logger.log_history)


def hgq_layers():
    from hgq.layers import QConv2D, QDense, QMaxPooling2D

    first, last = QConv2D(2, 3, activation="relu"), QDense(3)
    layers = [first, QMaxPooling2D(2), keras.layers.Flatten(), last]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    draw = np.random.default_rng(1)
    for layer in (first, last):  # not the numbers of bits, which are weights as well
        layer.kernel.assign(draw.normal(size=layer.kernel.shape, scale=0.5))
    model.compile("sgd", "mse")
    x, y = data(8, 8, 8, 1), data(8, 3)
    losses = model.fit(x, y, batch_size=4, shuffle=False, verbose=0).history["loss"]
    return len(model.weights), rounded(losses), rounded(model.predict(x, verbose=0))


def molecules():
    from kgcnn.layers.conv import GCN

    edges = np.array([[0, 1, 2, 3, 0], [1, 2, 3, 0, 2]], "int32")
    given = [data(4, 3), data(5, 1), edges]
    return settled(GCN(3), given)


CASES = [
    keras_geometric, mingru, scikit_keras, segmodels, without_products, kerasfactory,
    forecasting, keras_vision, livelossplot, hgq_layers, molecules,
]  # fmt: skip
