"""Writes that are whole or not at all, and errors that help."""

import errno
import os
import pathlib
import zipfile

import numpy as np
import pytest

import lamina
from lamina.saving import hdf5, state


def stack(units=3):
    return lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(units)])


@pytest.mark.parametrize("place", ["write", "fsync", "replace", "check"])
@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_an_interrupted_write_leaves_the_old_file(place, ending, tmp_path, monkeypatch):
    path = tmp_path / f"m{ending}"
    old = stack()
    save = old.save if ending == ".keras" else old.save_weights
    save(path)
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    if place == "write":
        monkeypatch.setattr(hdf5, "write", fail)
    elif place == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    elif place == "replace":
        monkeypatch.setattr(pathlib.Path, "replace", fail)
    else:
        monkeypatch.setattr(state, "checksum", fail)
    new = stack()
    with pytest.raises(OSError, match="No space left"):
        new.save(path) if ending == ".keras" else new.save_weights(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_disk_that_lies_is_noticed(tmp_path, monkeypatch):
    honest = hdf5.write

    def lie(file, values):
        honest(
            file,
            {p: (n, {k: v + 1 for k, v in o.items()}) for p, (n, o) in values.items()},
        )

    monkeypatch.setattr(hdf5, "write", lie)
    with pytest.raises(
        OSError, match="layers/dense/vars/0 reads back as something else"
    ):
        stack().save(tmp_path / "m.keras")
    assert not list(tmp_path.iterdir())


def test_a_file_keeps_its_mode(tmp_path):
    path = tmp_path / "m.keras"
    stack().save(path)
    path.chmod(0o640)
    stack().save(path)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_model_that_could_not_be_loaded_again_is_saved_with_a_warning(tmp_path):
    class Forgets(lamina.layers.Layer):
        def __init__(self, factor, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, x):
            return x * self.factor

        def get_config(self):
            return super().get_config()

    class Unwritable(lamina.layers.Layer):
        def call(self, x):
            return x

        def get_config(self):
            return {**super().get_config(), "thing": object()}

    class Grows(lamina.layers.Layer):
        width = 2

        def build(self, input_shape):
            self.extra = self.add_weight(shape=(self.width,), name="extra")

        def call(self, x):
            return x

    late = Grows(name="late")
    late.width = 5

    def ending_in(layer):
        return lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(4), layer])

    with pytest.raises(ValueError, match="Layer 'mine' .Unwritable. cannot be saved"):
        ending_in(Unwritable(name="mine")).save(tmp_path / "m.keras")
    assert not list(tmp_path.iterdir())
    for layer, match, error in (
        (
            Forgets(2.0, name="mine"),
            "Layer 'mine' .Forgets. cannot be made again(.|\\n)*has `get_config`",
            "missing 1 required positional argument: 'factor'",
        ),
        (
            late,
            "Layer 'late' .Grows. is saved with weights of the shapes",
            r"(?s)'late'.* shape \(2,\)\..*The file holds .*\(5,\)",
        ),
    ):
        for ending in (".keras", ".h5"):
            model, path = ending_in(layer), tmp_path / f"m{ending}"
            with pytest.warns(UserWarning, match=match):
                model.save(path)
            model.save(path)  # it was said
            with pytest.raises((TypeError, ValueError), match=error):
                lamina.models.load_model(
                    path, custom_objects={type(layer).__name__: type(layer)}
                )
            fresh = ending_in(layer)
            fresh.load_weights(path)
            np.testing.assert_array_equal(
                fresh.get_weights()[0], model.get_weights()[0]
            )


def test_a_lambda_that_uses_names_of_the_program_trains_and_says_what_is_missing(
    tmp_path,
):
    size = lamina.layers.Lambda(lambda x: lamina.ops.abs(x), name="size")
    model = lamina.Sequential([lamina.Input((4,)), size, lamina.layers.Dense(2)])
    model.compile("sgd", "mse")
    x, path = -np.ones((4, 4), "float32"), tmp_path / "m.keras"
    keep = lamina.callbacks.ModelCheckpoint(path)
    with pytest.warns(UserWarning, match="Layer 'size' .Lambda.*'lamina'") as caught:
        model.fit(x, np.ones((4, 2)), epochs=3, verbose=0, callbacks=[keep])
    assert len(caught) == 1
    load = lamina.models.load_model
    with pytest.raises(ValueError, match="custom_objects={'lamina': lamina}"):
        load(path, safe_mode=False)
    loaded = load(path, custom_objects={"lamina": lamina}, safe_mode=False)
    np.testing.assert_array_equal(loaded(x), model(x))


def test_overwrite_false(tmp_path):
    stack().save(tmp_path / "m.keras")
    with pytest.raises(FileExistsError, match="overwrite=False"):
        stack().save(tmp_path / "m.keras", overwrite=False)


def test_errors_of_loading(tmp_path):
    load = lamina.saving.load_model
    stack().save(tmp_path / "there.keras")
    with pytest.raises(ValueError, match="File not found.*there.keras"):
        load(tmp_path / "missing.keras")
    (tmp_path / "text.keras").write_text("no zip")
    with pytest.raises(ValueError, match="not a zip file"):
        load(tmp_path / "text.keras")
    with pytest.raises(ValueError, match="File format not supported"):
        load(tmp_path / "there.png")
    (tmp_path / "old.h5").write_bytes(b"x")
    with pytest.raises(ValueError, match="not an HDF5 file"):
        load(tmp_path / "old.h5")


@pytest.mark.parametrize("form", ["keras", "h5", "tf"])
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_the_ending_decides_whatever_save_format_says(form, ending, tmp_path):
    model, path = stack(), tmp_path / f"m{ending}"
    with pytest.warns(UserWarning, match=f"save_format.*no effect.*{form}"):
        model.save(path, save_format=form)
    assert zipfile.is_zipfile(path) == (ending == ".keras")
    loaded = lamina.models.load_model(path)
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])
    lamina.saving.save_model(model, path, save_format=None)


def test_errors_of_saving(tmp_path):
    model = stack()
    with pytest.raises(ValueError, match="Invalid filepath extension"):
        model.save(tmp_path / "m.model")
    with pytest.raises(ValueError, match=r"are not supported.*format"):
        model.save(tmp_path / "m.keras", format="x")
    with pytest.raises(ValueError, match="Invalid filepath extension"):
        model.save(tmp_path / "m", save_format="h5")
    with pytest.raises(FileNotFoundError, match="no folder"):
        model.save(tmp_path / "none" / "m.keras")
    with pytest.raises(ValueError, match="must end in `.weights.h5`"):
        model.save_weights(tmp_path / "m.h5")


def test_a_missing_custom_object_shows_what_to_pass(tmp_path):
    class Mine(lamina.layers.Dense):
        pass

    model = lamina.Sequential([lamina.Input((4,)), Mine(2)])
    model.save(tmp_path / "m.keras")
    with pytest.raises(TypeError, match="pass `custom_objects={'Mine': Mine}`"):
        lamina.saving.load_model(tmp_path / "m.keras")
    loaded = lamina.saving.load_model(tmp_path / "m.keras", {"Mine": Mine})
    assert type(loaded.layers[0]) is Mine
    with lamina.saving.custom_object_scope({"Mine": Mine}):
        assert type(lamina.saving.load_model(tmp_path / "m.keras").layers[0]) is Mine


def test_two_classes_of_one_name_cannot_share_a_file(tmp_path):
    def make():
        class Mine(lamina.layers.Dense):
            pass

        return Mine

    model = lamina.Sequential([lamina.Input((4,)), make()(2), make()(2)])
    with pytest.raises(ValueError, match="Two classes or functions of the name 'Mine'"):
        model.save(tmp_path / "m.keras")


def test_a_mismatch_names_the_layer_and_both_shapes(tmp_path):
    path = tmp_path / "m.weights.h5"
    stack(3).save_weights(path)
    other = stack(5)
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"(?s)layer 'dense_1'.*\(4, 5\).*\(4, 3\)"):
        other.load_weights(path)
    with pytest.warns(UserWarning, match="does not fit the model: 1 object"):
        other.load_weights(path, skip_mismatch=True)
    for a, b in zip(before, other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_skip_mismatch_loads_the_rest(tmp_path):
    def two(units):
        return lamina.Sequential(
            [lamina.Input((4,)), lamina.layers.Dense(3), lamina.layers.Dense(units)]
        )

    first, second = two(2), two(5)
    first.save_weights(tmp_path / "m.weights.h5")
    with pytest.warns(UserWarning, match="1 object"):
        second.load_weights(tmp_path / "m.weights.h5", skip_mismatch=True)
    a, b = first.layers[0].get_weights(), second.layers[0].get_weights()
    np.testing.assert_array_equal(a[0], b[0])


def test_objects_to_skip(tmp_path):
    first, second = stack(), stack()
    first.save_weights(tmp_path / "m.weights.h5")
    before = second.get_weights()[0]
    skip = [second.layers[0]]
    second.load_weights(tmp_path / "m.weights.h5", objects_to_skip=skip)
    np.testing.assert_array_equal(second.get_weights()[0], before)


def test_checkpoints_and_repeated_saves(tmp_path):
    model = stack()
    model.compile("sgd", "mse")
    x = np.ones((4, 4), "float32")
    path = str(tmp_path / "{epoch}.keras")
    checkpoint = lamina.callbacks.ModelCheckpoint(path)
    model.fit(x, np.ones((4, 3)), epochs=2, verbose=0, callbacks=[checkpoint])
    loaded = lamina.saving.load_model(tmp_path / "2.keras")
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])


def test_keras_names_are_in_the_archive(tmp_path):
    stack().save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as file:
        assert file.namelist() == ["metadata.json", "config.json", "model.weights.h5"]
        assert {i.compress_type for i in file.infolist()} == {zipfile.ZIP_STORED}
