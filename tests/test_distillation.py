import keras
import numpy as np
import pytest

import lamina
from lamina.distillation import (
    DistillationLoss,
    Distiller,
    FeatureDistillation,
    LogitsDistillation,
)

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(16, 4)).astype("float32"), rng.normal(size=(16, 3))
NAMES = {"teacher_layer_name": "wide", "student_layer_name": "thin"}


def network(m, hidden, units=8, outputs=3, **kwargs):
    return m.Sequential([
        m.Input((4,)), m.layers.Dense(units, "relu", name=hidden, **kwargs),
        m.layers.Dense(outputs, name=f"{hidden}_out"),
    ])  # fmt: skip


def pair(m, losses, **kwargs):
    teacher, student = network(m, "wide"), network(m, "thin")
    return m.distillation.Distiller(teacher, student, losses(m.distillation), **kwargs)


LOSSES = [
    lambda d: d.FeatureDistillation("mse"),
    lambda d: [d.FeatureDistillation("mae", **NAMES), d.FeatureDistillation("mse")],
    lambda d: d.LogitsDistillation(2.0, loss="mse"),
    lambda d: [d.LogitsDistillation(loss="categorical_crossentropy"),
               d.FeatureDistillation("cosine_similarity", **NAMES)],
]  # fmt: skip


@pytest.mark.parametrize("losses", LOSSES)
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_trains_as_keras(losses, weight):
    ours = pair(lamina, losses, student_loss_weight=weight)
    theirs = pair(keras, losses, student_loss_weight=weight)
    theirs.set_weights(ours.get_weights())
    found = []
    for model in (ours, theirs):
        model.compile("sgd", "mse", metrics=["mae"])
        fitted = model.fit(X, Y, epochs=3, batch_size=8, shuffle=False, verbose=0)
        measured = model.evaluate(X, Y, verbose=0, return_dict=True)
        found.append((fitted.history, measured, model.get_weights()))
    for (a, b, c), (d, e, f) in [found]:
        assert a.keys() == d.keys() and b.keys() == e.keys()
        for name in a:
            np.testing.assert_allclose(a[name], d[name], rtol=1e-5)
        np.testing.assert_allclose(list(b.values()), [e[k] for k in b], rtol=1e-5)
        for mine, other in zip(c, f, strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        ours.predict(X, verbose=0), ours.student.predict(X, verbose=0), rtol=1e-6
    )


def test_divergence_of_softened_probabilities():
    teacher, student = rng.normal(size=(2, 5, 3))

    def softmax(x):
        e = np.exp(x / 2.0)
        return e / e.sum(-1, keepdims=True)

    p, q = softmax(teacher), softmax(student)
    expected = 4.0 * np.mean(np.sum(p * np.log(p / q), axis=-1))
    for loss in ("kl_divergence", lamina.losses.KLDivergence()):
        found = LogitsDistillation(2.0, loss).compute_loss(teacher, student)
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    given = keras.distillation.LogitsDistillation(2.0, keras.losses.KLDivergence())
    np.testing.assert_allclose(given.compute_loss(teacher, student), found, rtol=1e-5)


def test_several_outputs_and_left_out_ones():
    a, b = rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 4, 3))
    outputs = ({"a": a[0], "b": b[0]}, {"a": a[1], "b": b[1]})
    loss = FeatureDistillation({"a": "mse", "b": None})
    loss.validate_outputs(*outputs)
    expected = np.mean((a[0] - a[1]) ** 2)
    np.testing.assert_allclose(loss.compute_loss(*outputs), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="Loss structure mismatch"):
        FeatureDistillation(["mse", "mse"]).validate_outputs(*outputs)


def test_the_teacher_is_frozen_and_in_inference():
    x = lamina.Input((4,))
    noisy = lamina.layers.Dropout(0.5)(lamina.layers.BatchNormalization()(x))
    teacher = lamina.Model(x, lamina.layers.Dense(3)(noisy))
    distiller = Distiller(teacher, network(lamina, "thin"), LogitsDistillation())
    distiller.compile("adam", "mse")
    before = teacher.get_weights()
    distiller.fit(X, Y, verbose=0)
    for a, b in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not teacher.trainable_variables


def test_sample_weights_and_regularization_count():
    ours = Distiller(
        network(lamina, "wide"),
        network(lamina, "thin", kernel_regularizer="l2"),
        FeatureDistillation(),
        student_loss_weight=1.0,
    )
    ours.compile("sgd", "mse")
    weight = np.arange(16.0)
    found = ours.evaluate(X, Y, 16, sample_weight=weight, verbose=0)
    error = np.mean((np.asarray(ours(X)) - Y) ** 2, axis=1)
    kernel = np.asarray(ours.student.layers[0].kernel)
    expected = np.mean(error * weight) + 0.01 * np.sum(kernel**2)
    loss = found[0] if isinstance(found, list) else found
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("losses", LOSSES)
def test_files(tmp_path, losses):
    model = pair(lamina, losses, student_loss_weight=0.3)
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    again = lamina.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model(X))
    assert again.get_config() == model.get_config()
    kept = again.evaluate(X, Y, verbose=0, return_dict=True)
    assert kept == model.evaluate(X, Y, verbose=0, return_dict=True)
    # Keras does not compile it again.
    theirs = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(theirs.predict(X, verbose=0), model(X), rtol=1e-5)


@pytest.mark.parametrize("losses", LOSSES)
def test_a_file_of_keras(tmp_path, losses):
    theirs = pair(keras, losses)
    theirs(X)
    theirs.save(tmp_path / "model.keras")
    ours = lamina.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(ours(X), theirs.predict(X, verbose=0), rtol=1e-5)
    np.testing.assert_allclose(
        ours.teacher(X), theirs.teacher.predict(X, verbose=0), rtol=1e-5
    )


class Own(lamina.Model):
    def call(self, x):
        return x


class Rows(DistillationLoss):
    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        return lamina.ops.mean(abs(teacher_outputs - student_outputs), axis=1)


def make(**kwargs):
    given = {
        "teacher": network(lamina, "wide"), "student": network(lamina, "thin"),
        "distillation_losses": FeatureDistillation(),
    }  # fmt: skip
    return Distiller(**(given | kwargs))


BAD = [
    (lambda: make(teacher="vgg"), "Teacher must be a lamina.Model"),
    (lambda: make(student=network(lamina, "thin", outputs=2)), "output shapes are inc"),
    (lambda: make(distillation_losses=None), "cannot be `None`"),
    (lambda: make(student_loss_weight="half"), "must be a number"),
    (lambda: make(student_loss_weight=1.5), "between 0.0 and 1.0"),
    (lambda: make(distillation_losses=[FeatureDistillation()],
                  distillation_loss_weights=[1, 2]), "must match number"),
    (lambda: make(distillation_losses=FeatureDistillation("mse", "none")),
     "In teacher model: No such layer: none"),
    (lambda: make(student=Own(), distillation_losses=FeatureDistillation(**NAMES)),
     "the student 'own' is subclassed"),
    (lambda: LogitsDistillation(0), "must be positive"),
    (lambda: LogitsDistillation("hot"), "must be a number"),
    (lambda: FeatureDistillation(None), "at least one loss"),
    (lambda: make().compile("sgd"), "`loss` cannot be `None`"),
    (lambda: make().compile("sgd", "mse", metrics="mae"), "must be a list or tuple"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_loss_for_each_row_is_refused():
    distiller = make(distillation_losses=Rows())
    distiller.compile("sgd", "mse")
    with pytest.raises(ValueError, match="Rows returned a non-scalar"):
        distiller.fit(X, Y, verbose=0)
    with pytest.raises(NotImplementedError, match="must implement compute_loss"):
        DistillationLoss().compute_loss(X, X)
