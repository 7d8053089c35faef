"""Logs for TensorBoard, read back with TensorBoard's own reader."""

import io
import json
import sys

import numpy as np
import pytest

import lamina
from lamina.callbacks import Callback, TensorBoard, event_file

pytest.importorskip("tensorboard")

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(10, 3)).astype("float32")
Y = X[:, :1]
STEPS = 5  # in an epoch of 2 rows a batch


def compiled(optimizer="sgd", **kwargs):
    lamina.utils.set_random_seed(0)
    model = lamina.Sequential(
        [
            lamina.Input((3,)),
            lamina.layers.Dense(2, name="a"),
            lamina.layers.Dense(1, name="b"),
        ],
        name="net",
    )
    model.compile(optimizer, "mse", metrics=["mae"], **kwargs)
    return model


def train(model, board, epochs=2, validate=True, callbacks=(), **kwargs):
    held_out = (X[:3], Y[:3]) if validate else None
    return model.fit(
        X, Y, batch_size=2, epochs=epochs, verbose=0, validation_data=held_out,
        callbacks=[board, *callbacks], **kwargs,
    ).history  # fmt: skip


def read(folder):
    """Return `{run/tag: [(step, array), ...]}` and the plugins by tag."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    found, plugins = {}, {}
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                name = f"{path.parent.name}/{value.tag}"
                array = make_ndarray(value.tensor)
                found.setdefault(name, []).append((event.step, array))
                plugins[value.tag] = value.metadata.plugin_data.plugin_name
    return found, plugins


def curves(folder):
    found, plugins = read(folder)
    return {
        name: [(step, float(value)) for step, value in points]
        for name, points in found.items()
        if plugins[name.partition("/")[2]] == "scalars"
    }


def single(values):
    return [float(np.float32(v)) for v in values]


def test_curves_of_epochs(tmp_path):
    model = compiled()
    history = train(model, TensorBoard(tmp_path))
    found = curves(tmp_path)
    expected = {
        "train/epoch_loss": enumerate(single(history["loss"])),
        "train/epoch_mae": enumerate(single(history["mae"])),
        "train/epoch_learning_rate": enumerate(single([0.01, 0.01])),
        "validation/epoch_loss": enumerate(single(history["val_loss"])),
        "validation/epoch_mae": enumerate(single(history["val_mae"])),
        "validation/evaluation_loss_vs_iterations": zip(
            (STEPS, 2 * STEPS), single(history["val_loss"]), strict=True
        ),
        "validation/evaluation_mae_vs_iterations": zip(
            (STEPS, 2 * STEPS), single(history["val_mae"]), strict=True
        ),
    }
    assert found == {name: list(points) for name, points in expected.items()}


def test_the_accumulator_reads_it(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    history = train(compiled(), TensorBoard(tmp_path), validate=False)
    log = EventAccumulator(str(tmp_path / "train")).Reload()
    assert {"keras", "epoch_loss", "epoch_mae"} < set(log.Tags()["tensors"])
    losses = [float(make_ndarray(e.tensor_proto)) for e in log.Tensors("epoch_loss")]
    assert losses == single(history["loss"])
    assert not (tmp_path / "validation").exists()


@pytest.mark.parametrize(
    ("update_freq", "steps"),
    [("batch", range(1, 11)), (1, range(1, 11)), (3, (3, 6, 9)), (11, ())],
)
def test_curves_of_batches(tmp_path, update_freq, steps):
    seen = []

    class Note(Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(logs["loss"])

    board = TensorBoard(tmp_path, update_freq=update_freq)
    train(compiled(), board, callbacks=[Note()])
    found = curves(tmp_path)
    expected = [(step, *single([seen[step - 1]])) for step in steps]
    assert found.get("train/batch_loss", []) == expected
    assert [step for step, _ in found["train/epoch_loss"]] == [0, 1]


def test_speed(tmp_path):
    board = TensorBoard(tmp_path, update_freq=2, write_steps_per_second=True)
    train(compiled(), board)
    found = curves(tmp_path)
    for tag, steps in (("batch", [2, 4, 6, 8, 10]), ("epoch", [0, 1])):
        points = found[f"train/{tag}_steps_per_second"]
        assert [step for step, _ in points] == steps
        assert all(value > 0 for _, value in points)


def test_steps_that_are_run_together(tmp_path):
    board = TensorBoard(tmp_path, update_freq=2)
    train(compiled(steps_per_execution=3), board, epochs=1)
    assert [step for step, _ in curves(tmp_path)["train/batch_loss"]] == [3, 6]


def test_it_listens_only_when_it_has_to():
    def listens(**kwargs):
        callbacks = lamina.callbacks.CallbackList([TensorBoard("logs", **kwargs)])
        return [callbacks.listens_to_batches(p) for p in ("train", "test", "predict")]

    assert listens(histogram_freq=1, write_steps_per_second=True) == [False] * 3
    assert listens(update_freq=9) == [True, False, False]
    assert listens(profile_batch=2) == [True, False, False]

    class Loud(TensorBoard):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)

    assert lamina.callbacks.CallbackList([Loud("logs")]).listens_to_batches("train")


def test_evaluation_alone(tmp_path):
    model = compiled()
    loss, _ = model.evaluate(X, Y, verbose=0, callbacks=[TensorBoard(tmp_path)])
    found = curves(tmp_path)
    assert found["validation/evaluation_loss_vs_iterations"] == [(0, *single([loss]))]
    assert not (tmp_path / "train").exists()


def test_another_training_is_added(tmp_path):
    model, board = compiled(), TensorBoard(tmp_path)
    losses = [train(model, board, epochs=1)["loss"][0] for _ in range(2)]
    assert len(list((tmp_path / "train").iterdir())) == 2
    found = curves(tmp_path)["train/epoch_loss"]
    assert sorted(found) == sorted((0, *single([loss])) for loss in losses)


def test_several_learning_rates(tmp_path):
    optimizers = lamina.optimizers
    chosen = optimizers.OptimizerMap(
        optimizers.SGD(0.25, name="x"), {"net/a/.*": optimizers.SGD(0.5, name="y")}
    )
    model = compiled(optimizers.MultiOptimizer(chosen))
    train(model, TensorBoard(tmp_path), epochs=1)
    found = curves(tmp_path)
    assert found["train/epoch_learning_rate_x"] == [(0, 0.25)]
    assert found["train/epoch_learning_rate_y"] == [(0, 0.5)]


def test_an_optimizer_that_tells_no_learning_rate(tmp_path):
    class Descent:
        """An optimizer in optax's form."""

        def init(self, params):
            return ()

        def update(self, updates, state, params=None):
            return {name: -0.1 * update for name, update in updates.items()}, state

    train(compiled(Descent()), TensorBoard(tmp_path), epochs=1, validate=False)
    assert set(curves(tmp_path)) == {"train/epoch_loss", "train/epoch_mae"}


def test_histograms_and_images(tmp_path):
    kept = []

    class Keep(Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.append(self.model.get_weights())

    model = compiled()
    board = TensorBoard(tmp_path, histogram_freq=2, write_images=True)
    train(model, board, epochs=3, callbacks=[Keep()])
    found, plugins = read(tmp_path)
    assert plugins["net/a/kernel/histogram"] == "histograms"
    assert plugins["net/a/kernel/image"] == "images"
    for place, weight in enumerate(model.weights):
        points = found[f"train/{weight.path}/histogram"]
        assert [step for step, _ in points] == [0, 2]
        for step, bins in points:
            values = kept[step][place]
            assert bins[:, 2].sum() == values.size
            np.testing.assert_allclose(bins[0, 0], values.min(), rtol=1e-12)
            np.testing.assert_allclose(bins[-1, 1], values.max(), rtol=1e-12)
    assert "train/net/b/bias/image" not in found  # it has one number


@pytest.mark.parametrize(
    ("shape", "size", "count"),
    [
        ((4,), (1, 4), 1),
        ((2, 5), (5, 2), 1),
        ((5, 2), (5, 2), 1),
        ((1, 5), (1, 5), 1),
        ((3, 4, 1, 2), (4, 3), 2),
        ((3, 4, 2, 8), (4, 3), 3),
    ],
)
def test_an_image_shows_the_values(shape, size, count):
    from PIL import Image

    values = RANDOM.normal(size=shape)
    (value,) = event_file.image("tag", values).value
    width, height, *files = value.tensor.string_val
    assert (int(width), int(height)) == size
    assert len(files) == count
    pictures = [np.asarray(Image.open(io.BytesIO(file))) for file in files]
    flat = values.squeeze()
    flat = flat.T if shape == (5, 2) else flat
    flat = flat.reshape(size[1], size[0], -1)
    expected = (flat - flat.min()) / (flat.max() - flat.min()) * 255
    for i, picture in enumerate(pictures):
        assert picture.dtype == np.uint8
        np.testing.assert_allclose(picture, expected[:, :, i], atol=0.5)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_weights_that_went_wrong(value):
    (bins,) = event_file.histogram("tag", np.full((3, 2), value)).value
    assert bins.tag == "tag"
    (image,) = event_file.image("tag", np.full((3, 2), value)).value
    assert len(image.tensor.string_val) == 3


def test_the_graph_is_one_that_tensorboard_draws(tmp_path):
    from tensorboard.plugins.graph.keras_util import keras_model_to_graph_def

    x = lamina.Input((3,), name="x")
    left = lamina.layers.Dense(2, name="left")(x)
    right = lamina.layers.Dense(2, name="right")(x)
    model = lamina.Model(x, lamina.layers.Add(name="sum")([left, right]))
    model.compile("sgd", "mse")
    model.fit(X, X[:, :2], verbose=0, callbacks=[TensorBoard(tmp_path)])
    found, plugins = read(tmp_path)
    assert plugins["keras"] == "graph_keras_model"
    ((step, text),) = found["train/keras"]
    assert step == 0
    config = json.loads(text.item())
    assert config["class_name"] == "Functional"
    assert config["config"] == json.loads(model.to_json())["config"]
    nodes = {
        node.name: list(node.input) for node in keras_model_to_graph_def(config).node
    }
    scope = model.name
    assert nodes == {
        f"{scope}/x": [],
        f"{scope}/left": [f"{scope}/x"],
        f"{scope}/right": [f"{scope}/x"],
        f"{scope}/sum": [f"{scope}/left", f"{scope}/right"],
    }


def test_no_graph(tmp_path):
    train(compiled(), TensorBoard(tmp_path, write_graph=False), epochs=1)
    assert "train/keras" not in read(tmp_path)[0]


def test_a_model_that_cannot_be_written_costs_a_warning(tmp_path):
    class Own(lamina.layers.Layer):
        def get_config(self):
            raise NotImplementedError("not me")

        def call(self, x):
            return x

    model = lamina.Sequential([Own(), lamina.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="could not write the graph.*not me"):
        train(model, TensorBoard(tmp_path), epochs=1)
    assert "train/epoch_loss" in curves(tmp_path)


def embedding_model():
    model = lamina.Sequential(
        [
            lamina.Input((2,)),
            lamina.layers.Embedding(4, 3, name="words"),
            lamina.layers.Flatten(),
            lamina.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    return model


def test_embeddings(tmp_path):
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    board = TensorBoard(
        tmp_path, embeddings_freq=1, embeddings_metadata={"words": "labels.tsv"}
    )
    model = embedding_model()
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0, callbacks=[board])
    config = ProjectorConfig()
    text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), config)
    (entry,) = config.embeddings
    assert entry.tensor_name == "words"
    assert entry.metadata_path == "labels.tsv"
    table = np.loadtxt(tmp_path / entry.tensor_path, "float32", delimiter="\t")
    np.testing.assert_array_equal(table, model.get_weights()[0])


def test_labels_of_no_layer(tmp_path):
    board = TensorBoard(
        tmp_path, embeddings_freq=1, embeddings_metadata={"word": "labels.tsv"}
    )
    with pytest.raises(ValueError, match=r"of the model: \['words'\].*\['word'\]"):
        embedding_model().fit(
            np.ones((4, 2)), np.ones((4, 1)), verbose=0, callbacks=[board]
        )


@pytest.mark.parametrize(
    ("batches", "count"), [(2, 1), ((2, 3), 1), ("4,9", 1), (99, 0)]
)
def test_profile(tmp_path, batches, count):
    board = TensorBoard(tmp_path, profile_batch=batches, write_graph=False)
    train(compiled(), board, epochs=1)
    assert len(list(tmp_path.glob("train/plugins/profile/*/*.xplane.pb"))) == count


@pytest.mark.parametrize("event", ["begin", "end"])
def test_an_error_ends_the_profile(tmp_path, event):
    def fail(batch, logs):
        raise RuntimeError("in the middle")

    board = TensorBoard(tmp_path / "a", profile_batch=(1, 9), write_graph=False)
    broken = lamina.callbacks.LambdaCallback(**{f"on_train_batch_{event}": fail})
    with pytest.raises(RuntimeError, match="in the middle"):
        train(compiled(), board, callbacks=[broken])
    assert len(list(tmp_path.glob("a/train/plugins/profile/*/*.xplane.pb"))) == 1
    # JAX takes one profile at a time: this one would fail if the first went on.
    test_profile(tmp_path / "b", 1, 1)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"update_freq": "step"}, "'epoch', 'batch' or a positive number.*'step'"),
        ({"update_freq": 0}, "update_freq=0"),
        ({"update_freq": True}, "update_freq=True"),
        ({"histogram_freq": -1}, "histogram_freq=-1"),
        ({"embeddings_freq": 0.5}, "embeddings_freq=0.5"),
        ({"profile_batch": -1}, "profile_batch=-1"),
        ({"profile_batch": (3, 2)}, r"profile_batch=\(3, 2\)"),
        ({"profile_batch": (1, 2, 3)}, "tuple of 2 positive integers"),
        ({"profile_batch": "one"}, "profile_batch='one'"),
        ({"profile_batch": 1.5}, "profile_batch=1.5"),
    ],
    ids=str,
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        TensorBoard("logs", **kwargs)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match=r'pip install "lamina\[tensorboard\]"'):
        TensorBoard("logs")
