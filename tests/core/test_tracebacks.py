"""Errors end at the user's line, without frames of the library."""

import contextlib
import dataclasses
import functools
import importlib
import inspect
import subprocess
import sys
import threading
import traceback
from tempfile import gettempdir

import jax
import numpy as np
import pytest

import lamina
from lamina import layers, ops
from lamina.core.placement import Distribution
from lamina.core.tracebacks import boundary, hide_frames, warn

X, Y = np.ones((8, 4), "float32"), np.ones((8, 1), "float32")


@pytest.fixture(autouse=True)
def hidden():
    lamina.config.enable_traceback_filtering()
    yield
    lamina.config.disable_traceback_filtering()  # as in the rest of the tests


def small():
    model = lamina.Sequential([lamina.Input((4,)), layers.Dense(3), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def frames(call):
    with pytest.raises(Exception) as raised:
        call()
    found = traceback.extract_tb(raised.value.__traceback__)
    return [f for f in found if f.name not in ("frames", "<lambda>")]


WIDE = np.ones((8, 5), "float32")


@pytest.mark.parametrize(
    "call",
    [
        lambda: small().fit(WIDE, Y),
        lambda: small().fit(X, Y[1:]),
        lambda: small().evaluate(WIDE, Y),
        lambda: small().predict(WIDE),
        lambda: small()(WIDE),
        lambda: small().train_on_batch(WIDE, Y),
        lambda: small().compile("adamm", "mse"),
        lambda: small().load_weights("nothing.weights.h5"),
        lambda: small().save("model.txt"),
        lambda: lamina.models.load_model("nothing.keras"),
        lambda: lamina.utils.image_dataset_from_directory("nothing"),
        lambda: lamina.utils.get_file(
            "no", "http://127.0.0.1:9/no", cache_dir=gettempdir()
        ),
        lambda: lamina.losses.huber(X, Y[:3]),
        lambda: lamina.random.normal((2,), dtype="int32"),
        lambda: lamina.models.clone_model(3),
        lambda: lamina.Model(lamina.Input((3,)), lamina.Input((3,))),
        lambda: layers.Conv2D(3, 3)(lamina.Input((4,))),
        lambda: lamina.Input((4,)) + lamina.Input((5,)),
        lambda: ops.matmul(X, X),
        lambda: lamina.callbacks.EarlyStopping(monitr="loss"),
        lambda: layers.Dense("3"),
        lambda: layers.Conv2D(3, 3, padding="smae"),
        lambda: lamina.Sequential([lamina.Input((4,)), layers.LSTM(3)]),
        lambda: lamina.Input(4),
        lambda: lamina.optimizers.Adam(lr=0.1),
        lambda: lamina.losses.MeanSquaredError(reduction="most"),
        lambda: lamina.metrics.TopKCategoricalAccuracy(key=3),
        lambda: lamina.initializers.VarianceScaling(mode="most"),
        lambda: lamina.regularizers.L2("much"),
        lambda: small().get_layer("none"),
        lambda: small().layers[0].set_weights([]),
        lambda: small().fit_generator([]),
        lambda: layers.Dense(3).kernel,
        lambda: lamina.utils.to_categorical([3], 3),
        lambda: lamina.applications.MobileNetV2(weights="imagenet", classes=3),
        lambda: np.sqrt(lamina.Input((3,))),
        lambda: bool(lamina.Input((3,)) > 0),
    ],
)
def test_no_frame_of_the_library_is_shown(call):
    assert frames(call) == []


def test_the_users_own_frames_are_shown():
    class Squared(lamina.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, x):
            return self.multiplied(self.dense(x))

        def multiplied(self, x):
            return x @ x

    model = Squared()
    model.compile("sgd", "mse")
    for call in (
        lambda: model.fit(X, Y),
        lambda: model.predict(X),
        lambda: model(X),
        lambda: model(lamina.Input((4,))),
    ):
        assert [frame.name for frame in frames(call)] == ["call", "multiplied"]


def test_an_error_in_a_callback_ends_in_it():
    class Wrong(lamina.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise RuntimeError("mine")

    found = frames(lambda: small().fit(X, Y, callbacks=[Wrong()], verbose=0))
    assert [frame.name for frame in found] == ["on_epoch_end"]


def test_an_error_in_the_data_ends_in_them():
    def batches():
        yield X, Y
        raise RuntimeError("mine")

    found = frames(lambda: small().fit(batches(), verbose=0))
    assert [frame.name for frame in found] == ["batches"]


def test_all_frames_on_request():
    lamina.config.disable_traceback_filtering()
    assert not lamina.config.is_traceback_filtering_enabled()
    found = frames(lambda: small().fit(WIDE, Y))
    assert any("lamina" in frame.filename for frame in found)
    assert any(frame.name == "check_inputs" for frame in found)
    assert jax.config.jax_traceback_filtering == "off"


def test_causes_are_shortened_too():
    def failing():
        try:
            ops.matmul(X, X)
        except TypeError as error:
            raise ValueError("mine") from error

    with pytest.raises(ValueError, match="mine") as raised:
        boundary(failing)()
    cause = traceback.extract_tb(raised.value.__cause__.__traceback__)
    assert [frame.name for frame in cause] == ["failing"]


def test_errors_that_cause_each_other_end():
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    hide_frames(one)
    assert one.__cause__ is other and other.__cause__ is one


def test_a_boundary_keeps_signature_name_and_result():
    @boundary
    def double(x: int, *, times: int = 2) -> int:
        """Words."""
        return x * times

    assert double(3) == 6
    assert (double.__name__, double.__doc__) == ("double", "Words.")
    assert list(inspect.signature(double).parameters) == ["x", "times"]


def test_a_misspelt_keyword_gets_the_nearest():
    for call, name in (
        (lambda: small().fit(X, Y, epoch=3), "epochs"),
        (lambda: small().compile("sgd", metric=["mae"]), "metrics"),
        (lambda: lamina.callbacks.EarlyStopping(patienc=3), "patience"),
    ):
        with pytest.raises(TypeError, match=f"Did you mean '{name}'"):
            call()
    for call, name in (
        (lambda: layers.Dense(3, actvation="relu"), "activation"),
        (lambda: lamina.optimizers.Adam(lr=0.1), "learning_rate"),
    ):
        with pytest.raises(ValueError, match=f"Did you mean '{name}'"):
            call()


def test_a_type_error_of_the_users_code_is_left_alone():
    class Wrong(layers.Layer):
        def call(self, x):
            return sorted([1, 2], rverse=True)

    with pytest.raises(TypeError) as raised:
        Wrong()(X)
    assert "Did you mean" not in str(raised.value)


def test_a_note_says_where_unless_the_sentence_does():
    """A layer of the model is named; further inside, the path is more."""
    with pytest.raises(ValueError, match="layer 'dense") as raised:
        small()(WIDE)
    assert not getattr(raised.value, "__notes__", [])
    outer = lamina.Sequential([lamina.Input((5,)), layers.Flatten()], name="outer")
    outer.add(lamina.Sequential([layers.Dense(1), layers.Lambda(lambda x: x + 1)]))
    outer.layers[1].layers[0].input_spec = layers.InputSpec(axes={-1: 4})
    with pytest.raises(ValueError, match="layer 'dense") as raised:
        outer(WIDE)
    (note,) = raised.value.__notes__
    assert "This happened in layer 'outer/sequential" in note


class Deciding(layers.Layer):
    def call(self, x):
        return x if ops.sum(x) > 0 else -x


class Converting(layers.Layer):
    def call(self, x):
        return np.tanh(x)


@pytest.mark.parametrize(
    ("layer", "cure"),
    [(Deciding, "lamina.ops.cond"), (Converting, "Use `lamina.ops` in its place")],
)
def test_errors_of_jax_are_given_a_cure(layer, cure):
    with pytest.raises(TypeError) as raised:
        layer()(lamina.Input((3,)))
    assert len(raised.value.__notes__) == 2
    assert cure in raised.value.__notes__[-1]


def test_a_tracer_that_is_asked_for_its_value():
    def loss(y_true, y_pred):
        return np.mean((y_true.numpy() - y_pred.numpy()) ** 2)

    model = small()
    model.compile("sgd", loss)
    with pytest.raises(AttributeError) as raised:
        model.fit(X, Y, verbose=0)
    (note,) = raised.value.__notes__
    assert "Use `lamina.ops` on the tensor itself" in note


PROGRAM = """
import numpy as np
import lamina

model = lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(np.ones((8, 5)), np.ones((8, 1)))
"""


def test_the_last_thing_on_the_screen_is_the_sentence(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True
    )
    lines = done.stderr.strip().splitlines()
    assert sum(line.startswith("  File ") for line in lines) == 1
    assert "model.fit(np.ones((8, 5)), np.ones((8, 1)))" in done.stderr
    assert "JAX has removed" not in done.stderr
    assert lines[-1].startswith("ValueError: Input 0 of layer 'dense' (Dense) is incom")


def test_warnings_point_at_the_line_that_called_the_library():
    class Lossy(layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, x):
            return jax.numpy.tanh(self.dense(x))

    def deep():
        return functools.reduce(lambda _, f: f(), [None, inner])

    @boundary
    def inner():
        warn("a library warning", RuntimeWarning)

    with pytest.warns(RuntimeWarning, match="a library warning") as told:
        deep()
    assert told[0].filename == __file__
    masked = layers.Embedding(5, 4, mask_zero=True)(np.ones((2, 3), "int32"))
    with pytest.warns(UserWarning, match="mask") as told:
        Lossy()(masked)
    assert [one.filename for one in told] == [__file__]


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int = 3


class ReadOnly(Exception):
    __notes__ = property(lambda self: ("a note",))
    __traceback__ = property(lambda self: None)


@pytest.mark.parametrize("kind", [Frozen, ReadOnly])
def test_an_exception_that_refuses_attributes_stays_what_it_is(kind):
    class Raising(layers.Layer):
        def call(self, x):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        try:
            raise kind()
        except kind:
            Raising()(X)


def test_notes_that_cannot_be_changed_stay():
    class Noted(Exception):
        __notes__ = property(lambda self: ("a note",))

    def batches():
        yield X, Y
        raise Noted()

    with pytest.raises(Noted):
        small().fit(batches(), verbose=0)


def test_callbacks_are_made_as_their_class_says():
    """With decorated constructors, mixins with `__new__`, and bases with arguments."""

    def renamed(function):
        @functools.wraps(function)
        def wrapper(self, *args, **kwargs):
            if "freq" in kwargs:
                kwargs["every"] = kwargs.pop("freq")
            return function(self, *args, **kwargs)

        return wrapper

    class Renamed(lamina.callbacks.Callback):
        @renamed
        def __init__(self, every=1):
            super().__init__()
            self.every = every

    class Mixin:
        def __new__(cls, path, **kwargs):
            made = super().__new__(cls)
            made.path = path
            return made

    class Mixed(lamina.callbacks.Callback, Mixin):
        def __init__(self, path):
            super().__init__()

    class Both(lamina.callbacks.Callback, layers.Layer):
        def __init__(self, units=3, **kwargs):
            layers.Layer.__init__(self, **kwargs)
            self.units = units

    class Word(lamina.callbacks.Callback, str):
        def __init__(self, word):
            super().__init__()

    assert Renamed(freq=3).every == 3
    assert Mixed("x").path == "x"
    assert Both(units=5).get_config()["units"] == 5
    assert str(Word("abc")) == "abc"
    assert not inspect.signature(lamina.callbacks.Callback).parameters


def test_a_warning_where_no_line_of_a_program_is():
    thread = threading.Thread(target=boundary(warn), args=("from a thread",))
    with pytest.warns(UserWarning, match="from a thread") as told:
        thread.start()
        thread.join()
    seen = [one.filename for one in told]
    assert len(seen) == 1 and seen[0] != "sys"


# Layers ask for these all the time.
_BARE = {"is_float_dtype", "is_int_dtype", "result_type", "standardize_dtype"}


@pytest.mark.parametrize(
    "room",
    "activations backend callbacks constraints distillation distribution "
    "dtype_policies export initializers layers losses metrics models ops optimizers "
    "quantizers random regularizers saving testing tree utils".split(),
)
@pytest.mark.filterwarnings("ignore")
def test_no_public_name_shows_frames_of_the_library(room, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Distribution, "any_made", Distribution.any_made)
    module = importlib.import_module(f"lamina.{room}")
    names = {*dir(module), *(dir(lamina) if room == "utils" else ())} - _BARE
    shown = []
    for name in sorted(n for n in names if not n.startswith(("_", "set_"))):
        thing = getattr(module, name, None) or getattr(lamina, name)
        home = getattr(thing, "__module__", None) or ""
        if not callable(thing) or home.split(".")[0] != "lamina":
            continue
        for count in (1, 2, 3):
            try:
                with contextlib.redirect_stdout(None):
                    thing(*[frozenset([object()])] * count)
            except Exception as error:
                files = [f.filename for f in traceback.extract_tb(error.__traceback__)]
                notes = " ".join(getattr(error, "__notes__", ()))
                if any("/lamina/" in file for file in files) or "JAX has rem" in notes:
                    shown.append((name, count))
    assert not shown


def test_gradients_show_no_frames_of_the_library():
    weight = lamina.Variable(2.0)

    def loss():
        return (weight * 2.0).nothing()

    run = lamina.value_and_grad(loss, [weight])
    assert [frame.name for frame in frames(run)] == ["loss"]


@pytest.mark.parametrize("given", [lambda x: x, lambda x: [x, x]])
@pytest.mark.parametrize("kind", [layers.Flatten, layers.LSTM, layers.Concatenate])
def test_a_tensor_in_the_place_of_settings(kind, given):
    with pytest.raises((TypeError, ValueError)) as caught:
        kind(given(lamina.Input((3,))))
    (note,) = caught.value.__notes__
    assert note.endswith(f", not to its class: `{kind.__name__}(...)(x)`.")
