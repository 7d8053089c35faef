"""Collections of models and layers, pictures of models, and samples of rare classes."""

import hashlib

import keras
import numpy as np
from shared import data, rounded, trained


def filled(model):
    """Return a model with weights that are set here."""
    draw = np.random.default_rng(1)
    for weight in model.weights:
        if "float" in str(weight.dtype):
            value = draw.normal(size=weight.shape)
            inner = np.prod(weight.shape[:-1]) or 1.0
            weight.assign(abs(value) if value.ndim < 2 else value / inner**0.5)
    return model


def zeromodels_gpt2():
    from zeromodels.models.gpt2 import GPT2Model

    sizes = {"vocab_size": 20, "embed_dim": 8, "mlp_dim": 16, "num_layers": 2}
    model = filled(GPT2Model(num_heads=2, max_position_embeddings=12, **sizes))
    ids = data(2, 6, classes=20).astype("int32")
    x = {"input_ids": ids, "attention_mask": np.ones((2, 6), "int32")}
    outputs = keras.tree.flatten(model.predict(x, verbose=0))
    return len(model.weights), [rounded(one) for one in outputs]


def zeromodels_vit():
    from zeromodels.models.vit import ViTImageClassify

    sizes = {"patch_size": 8, "embed_dim": 8, "depth": 2, "num_heads": 2}
    model = ViTImageClassify(image_size=16, num_classes=3, **sizes)
    model.save("vit.keras")
    again = keras.models.load_model("vit.keras")
    x = data(2, 16, 16, 3)
    alike = np.allclose(model.predict(x, verbose=0), again.predict(x, verbose=0))
    return rounded(filled(again).predict(x, verbose=0)), bool(alike)


def medicai_unet():
    from medicai.models import UNet

    model = UNet(
        input_shape=(32, 32, 32, 1), encoder_name="resnet18", num_classes=2,
        classifier_activation="softmax",
    )  # fmt: skip
    x = data(1, 32, 32, 32, 1)
    y = filled(model).predict(x, verbose=0)
    return len(model.layers), len(model.weights), rounded(y.mean((0, 1, 2, 3)))


def pictures():
    import visualkeras

    x = keras.Input((4,))
    y = keras.layers.Dense(3, name="first")(x)
    y = keras.layers.Add()([y, keras.layers.Dense(3, name="second")(x)])
    drawn = visualkeras.graph_view(keras.Model(x, y))
    return drawn.size, hashlib.sha256(drawn.tobytes()).hexdigest()


def rwkv():
    import rwkv_ops

    rest = [data(1, 16, 2, 64) * 0.1 for _ in range(5)]
    y = rwkv_ops.generalized_delta_rule(-rest[0], *rest)
    return [rounded(one) for one in keras.tree.flatten(y)]


def balanced():
    from imblearn.keras import balanced_batch_generator

    x, y = data(12, 4), np.array([0] * 9 + [1] * 3)
    batches, steps = balanced_batch_generator(x, y, batch_size=2, random_state=0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    first = trained(model, x[:4], y[:4].astype("float32"))
    model.fit(batches, steps_per_epoch=steps, verbose=0)
    return steps, first, rounded(model.predict(x, verbose=0))


def graphs():
    from k3_node.layers import DirGNNConv, GATConv, GCNConv

    edges = data(2, 12, classes=6)
    convs = [GCNConv(4, 3), GATConv(4, 3), DirGNNConv(GCNConv(4, 3))]
    found = []
    for conv in convs:
        conv(data(6, 4), edges)
        filled(conv)
        found.append(rounded(conv(data(6, 4), edges)))
    return found


CASES = [
    zeromodels_gpt2, zeromodels_vit, medicai_unet, pictures, rwkv, balanced, graphs,
]  # fmt: skip
