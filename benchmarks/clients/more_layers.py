"""keras-nlp, keras-cv, keras-hexagdly, einops, jax2onnx, bayesflow."""

import keras
import numpy as np

X = np.random.default_rng(0).uniform(size=(2, 8, 8, 3)).astype("float32")


def keras_nlp():
    import keras_nlp

    layer = keras_nlp.layers.SinePositionEncoding()
    return np.asarray(layer(X[0])).round(4).sum()


def keras_cv():
    import keras_cv

    boxes = np.array([[0.0, 0.0, 4.0, 4.0]], "float32")
    made = keras_cv.bounding_box.convert_format(boxes, source="xyxy", target="xywh")
    return np.asarray(made).tolist()


def keras_hexagdly():
    import keras_hexagdly

    layer = keras_hexagdly.Conv2d(2, kernel_size=1)
    return tuple(layer(np.ones((1, 8, 8, 3), "float32")).shape)


def einops_layers():
    from einops.layers.keras import Rearrange

    layers = [Rearrange("b h w c -> b (h w c)"), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers]).output_shape


def einops_functions():
    import einops

    y = einops.rearrange(keras.ops.convert_to_tensor(X), "b h w c -> b c (h w)")
    return y.shape, float(einops.reduce(y, "b c p -> ", "max"))


def jax2onnx():
    import onnxruntime
    from jax2onnx import to_onnx

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "relu")])
    made = to_onnx(lambda x: model(x), [(2, 3)]).SerializeToString()
    run = onnxruntime.InferenceSession(made)
    x = X[:, 0, 0]
    (y,) = run.run(None, {run.get_inputs()[0].name: x})
    return bool(np.allclose(y, model.predict(x, verbose=0), atol=1e-5))


def bayesflow():
    import bayesflow as bf

    def prior():
        return {"theta": np.random.normal(size=2)}

    def likelihood(theta):
        return {"x": np.random.normal(theta, 0.1)}

    flow = bf.BasicWorkflow(
        simulator=bf.make_simulator([prior, likelihood]),
        inference_network=bf.networks.CouplingFlow(depth=2),
        inference_variables=["theta"],
        inference_conditions=["x"],
    )
    seen = flow.fit_online(epochs=2, num_batches_per_epoch=3, batch_size=8, verbose=0)
    drawn = flow.sample(num_samples=5, conditions={"x": np.zeros((3, 2))})
    return len(seen.history["loss"]), drawn["theta"].shape


CASES = (
    keras_nlp, keras_cv, keras_hexagdly, einops_layers,
    einops_functions, jax2onnx, bayesflow,
)  # fmt: skip
