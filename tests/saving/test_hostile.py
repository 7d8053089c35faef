"""Files from strangers: each is refused with the reason, and does nothing."""

import json
import pathlib
import re
import subprocess
import sys
import traceback
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest
from hostile import (
    CASES,
    PLACE,
    members,
    patterned,
    put_layer,
    rewritten,
    with_config,
    with_weights,
)

import lamina
from lamina.core import budget, tracebacks
from lamina.saving import archive


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """What came of all hostile files, tried one after the other in one process."""
    folder = tmp_path_factory.mktemp("hostile")
    script = pathlib.Path(__file__).with_name("hostile.py")
    command = [sys.executable, "-c", _ALONE, *sys.path, "--", str(script), str(folder)]
    out = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert out.returncode == 0, out.stderr
    yield json.loads(out.stdout.splitlines()[-1])
    assert not (folder / "canary").exists()


# It finds the same packages as this process, whatever the working directory is.
_ALONE = """
import runpy, sys
end = sys.argv.index("--")
sys.path[:] = sys.argv[1:end]
sys.argv[:] = sys.argv[end + 1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_table_is_long_enough(tried):
    assert len(tried["cases"]) == len(CASES) >= 100


def test_hostile_files_are_refused_with_the_reason(tried):
    wrong = {}
    for name, (kind, told, _) in tried["cases"].items():
        known = kind in ("ValueError", "TypeError", "NotImplementedError")
        if not known or not re.search(CASES[name][1], told, re.DOTALL):
            wrong[name] = kind, told, CASES[name][1]
    assert not wrong
    assert max(len(told) for _, told, _ in tried["cases"].values()) < 6000


def test_hostile_files_reach_nothing(tried):
    assert not tried["reached"]
    assert tried["grown"] < 512 << 20


def test_hostile_looking_but_bounded(good):
    """A pattern that Python would try for years is matched all the same."""
    text = json.dumps(patterned("(a+)+$"))
    assert lamina.models.model_from_json(text).layers[0].units == 2
    with pytest.raises(ValueError, match="Patterns in files are plain"):
        lamina.models.model_from_json(json.dumps(patterned("a" * 501)))


def test_a_budget_is_for_configs_alone():
    auc = {"class_name": "AUC", "config": {"num_thresholds": 10**7}}
    with pytest.raises(ValueError, match="as much work as more than"):
        lamina.saving.deserialize_keras_object(auc)
    assert len(lamina.metrics.AUC(num_thresholds=200_000).thresholds) == 200_000


def test_large_values_that_are_no_sizes_are_let_in():
    for name, config in (
        ("Rescaling", {"scale": 10**6, "offset": -(10**6)}),
        ("Discretization", {"bin_boundaries": [0, 10**6]}),
        ("ReLU", {"max_value": 10**6, "threshold": 10**6}),
        ("Cropping1D", {"cropping": 200_000}),
    ):
        given = {"module": "keras.layers", "class_name": name, "config": config}
        lamina.layers.deserialize(given)


def test_what_a_number_makes_is_counted_and_not_the_number(tmp_path):
    layers, metrics = lamina.layers, lamina.metrics
    for shape, *some in (
        ((1,), layers.CategoryEncoding(200_000, output_mode="multi_hot")),
        ((3,), layers.RepeatVector(140_000)),
        ((320_000, 2), layers.AveragePooling1D(160_000)),
        ((3, 2), layers.UpSampling1D(200_000), layers.ZeroPadding1D(200_000)),
    ):
        model = lamina.Sequential([lamina.Input(shape), *some])
        model.compile(
            metrics=[metrics.MeanIoU(3000), metrics.AUC(num_thresholds=150_000)]
        )
        model.save(tmp_path / "a.keras")
        lamina.saving.load_model(tmp_path / "a.keras")


@pytest.fixture
def good(tmp_path):
    model = lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(3)])
    model.save(tmp_path / "good.keras")
    return tmp_path / "good.keras"


def refused(path, match, kind=ValueError, **kwargs):
    with pytest.raises(kind, match=match):
        lamina.saving.load_model(path, **kwargs)


# ---- the archive -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5", "assets/words"])
def test_decompression_bombs(good, name):
    found = {**members(good), name: bytes(100 << 20)}
    with zipfile.ZipFile(good, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, data in found.items():
            archive.writestr(key, data)
    refused(good, "decompression bomb.*100 MiB")


def test_a_compressed_archive_of_honest_size_loads(good):
    found = members(good)
    with zipfile.ZipFile(good, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, data in found.items():
            archive.writestr(key, data)
    assert lamina.saving.load_model(good).layers[0].units == 3


def test_other_compressions(good):
    found = members(good)
    with zipfile.ZipFile(good, "w", zipfile.ZIP_BZIP2) as archive:
        for key, data in found.items():
            archive.writestr(key, data)
    refused(good, "compressed with method 12")


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_a_missing_member(good, name):
    refused(rewritten(good, **{name.replace(".", "__"): None}), f"has no {name}")


def test_flipped_bits_are_noticed(good):
    data = bytearray(good.read_bytes())
    weights = members(good)["model.weights.h5"]
    start = data.index(weights)
    data[start + len(weights) // 2] ^= 0xFF
    good.write_bytes(data)
    refused(good, "damaged at 'model.weights.h5'")


# ---- HDF5 --------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"chunks": (1 << 10, 1 << 10)}, {}])
def test_shape_bombs(good, options):
    def change(file):
        del file[f"{PLACE}/0"]
        file[PLACE].create_dataset("0", (1 << 20, 1 << 20), "f4", **options)

    refused(with_weights(good, change), "shape bomb.*declares 4 TiB")


def test_a_filter_of_its_own(good):
    def change(file):
        del file[f"{PLACE}/0"]
        space = h5py.h5s.create_simple((4, 3))
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((4, 3))
        plan.set_filter(31999, h5py.h5z.FLAG_OPTIONAL)
        h5py.h5d.create(file[PLACE].id, b"0", h5py.h5t.IEEE_F32LE, space, plan)

    refused(with_weights(good, change), "filter 31999")


def test_no_hdf5_at_all(good):
    refused(rewritten(good, model__weights__h5=b"no"), "not an HDF5 file")


# ---- configs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "get_file", "load_model", "deserialize", "eval", "os.system", "clear_session",
        "enable_unsafe_deserialization", "save_img", "load_img", "CSVLogger",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["function", "class"])
def test_functions_are_no_gadgets(good, name, kind):
    function = {"module": "builtins", "class_name": kind, "config": name}
    layer = {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": function, "arguments": {"origin": "http://localhost"}},
    }
    reason = "Could not locate (function|class)|that a config may refer to"
    refused(with_config(good, put_layer(layer)), reason, kind=TypeError)


@pytest.mark.parametrize(
    "text, reason",
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"[]", "describes no model"),
        (b"3", "describes no model"),
        (b'"a"', "describes no model"),
        (b"{}", "describes no model"),
        (b'{"class_name": 3}', "holds a dict"),
        (b'{"class_name": "L2", "config": {}}', "holds a L2"),
        (b'{"class_name": "Sequential", "config": {"layers": 3}}', "lists its layers"),
        (b'{"class_name": "Sequential", "config": {"layers": [3]}}', "has no config"),
        (b'{"class_name": "Dense", "config": {"units": "a"}}', "units"),
    ],
    ids=str,
)
def test_configs_of_no_model(good, text, reason):
    refused(rewritten(good, config__json=text), reason)
    with pytest.raises((ValueError, TypeError)):
        lamina.models.model_from_json(text.decode("latin-1"))


# ---- budgets -----------------------------------------------------------------------


@pytest.mark.parametrize("units, count", [(10**9, 1), (8_000, 30)])
def test_json_cannot_make_more_than_the_memory(units, count):
    layers = [
        {"class_name": "InputLayer", "config": {"batch_shape": [None, units]}},
        *(
            {
                "class_name": "Dense",
                "config": {
                    "units": units,
                    "name": f"d{i}",
                    # A first value that takes no time, until there are too many.
                    "kernel_initializer": "zeros",
                },
            }
            for i in range(count)
        ),
    ]
    config = {"class_name": "Sequential", "config": {"layers": layers}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lamina.core.budget.memory", lambda: 400 << 20)
        with pytest.raises(ValueError, match="this machine has 400 MiB of memory"):
            lamina.models.model_from_json(json.dumps(config))


def test_who_trusts_a_config_allows_it_more(good):
    hidden = lamina.Sequential([lamina.Input((100,)), lamina.layers.Dense(100)])
    config, file = hidden.get_config(), json.loads(members(good)["config.json"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lamina.core.bounds.MEMORY", 10_000)
        with pytest.raises(ValueError, match=r"limits\(memory=1 \* 2\*\*30\)"):
            lamina.Sequential.from_config(config)
        with lamina.saving.limits(memory=1 << 20):
            assert lamina.Sequential.from_config(config).count_params() == 10_100
        patch.setattr("lamina.core.bounds.WORK", 30)
        patch.setattr("lamina.core.bounds.WORK_EACH", 0)
        with pytest.raises(ValueError, match=r"limits\(work="):
            lamina.saving.load_model(good)
        with lamina.saving.limits(work=10_000):
            assert lamina.saving.load_model(good).layers[0].units == 3
    file["config"]["layers"][1]["config"]["units"] = 4000
    with lamina.saving.limits(memory=1000), pytest.raises(ValueError, match="1000 byt"):
        lamina.saving.load_model(rewritten(good, config__json=json.dumps(file)))
    with pytest.raises(ValueError, match="`limits` expected `work`"):
        lamina.saving.limits(work=-1)


@pytest.mark.parametrize(
    ("shape", "op", "settings", "reason"),
    [
        # The tensors to concatenate are the rows of one: JAX writes out each.
        ((50_000, 2), "Concatenate", {}, "as much work"),
        (
            (None, 4, 4),
            "nn.Fold",
            {"output_size": 9, "kernel_size": 2000},
            "as much work",
        ),
        (
            (None, 10**8, 1),
            "nn.AveragePool",
            {"pool_size": 2, "padding": "same"},
            "as much",
        ),
        ((None, 4, 4), "nn.AdaptiveMaxPool", {"output_size": 9000}, "as much work"),
        ((None, 4), "NanToNum", {"nan": [0] * 50_000}, "as much work"),
        (
            (None, 4),
            "Pad",
            {"pad_width": [[0, 0], [0, 10**8]], "mode": "symmetric"},
            "as much work",
        ),
        ((None, *[1] * 80), "Sin", {}, "an array of 8. axes"),
        ((None, 4), "Reshape", {"newshape": [1] * 99}, "an array of 99 axes"),
    ],
)
def test_what_makes_no_equations_is_counted(shape, op, settings, reason):
    x = lamina.Input((3,))
    config = json.loads(lamina.Model(x, lamina.ops.sin(x)).to_json())
    first, last = config["config"]["layers"]
    first["config"]["batch_shape"] = shape
    place, _, last["class_name"] = op.rpartition(".")
    last["module"] = f"keras.src.ops.{place or 'numpy'}"
    last["config"] = {**settings, "name": last["config"]["name"]}
    last["inbound_nodes"][0]["args"][0]["config"]["shape"] = shape
    with pytest.raises(ValueError, match=reason):
        lamina.models.model_from_json(json.dumps(config))


@pytest.mark.parametrize("kind", ["Conv3D", "Conv3DTranspose"])
def test_long_windows_are_counted_before_they_are_written_out(kind):
    layer = getattr(lamina.layers, kind)(8, (3, 1, 1), padding="same")
    model = lamina.Sequential([lamina.Input((9, 4, 4, 8), batch_size=2), layer])
    text = model.to_json().replace("[3, 1, 1]", "[60000, 1, 1]")
    with pytest.raises(ValueError, match="as much work"):
        lamina.models.model_from_json(text)


def test_too_many_axes_of_attention_are_refused():
    config = lamina.layers.MultiHeadAttention(2, 3).get_config()
    layer = lamina.layers.MultiHeadAttention.from_config(
        {**config, "output_shape": [1] * 63}
    )
    with pytest.raises(ValueError, match="expected at most 52 axes"):
        layer.build((None, 2, 3), (None, 2, 3))


def test_work_is_counted_for_configs_alone():
    """The same calls in a script have no limit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lamina.core.bounds.WORK", 100)
        patch.setattr("lamina.core.bounds.WORK_EACH", 0)
        x = lamina.Input((4,))
        model = lamina.Model(x, lamina.layers.Dense(4)(lamina.layers.Dense(4)(x)))
        with pytest.raises(ValueError, match="as much work as more than 100"):
            lamina.models.model_from_json(model.to_json())
        assert len(lamina.models.clone_model(model).layers) == 3


def built(layer, shape, **kwargs):
    first = {"batch_shape": [None, *shape]}
    layers = [
        {"class_name": "InputLayer", "config": first},
        {"class_name": layer, "config": kwargs},
    ]
    config = {"class_name": "Sequential", "config": {"layers": layers}}
    return lamina.models.model_from_json(json.dumps(config))


@pytest.mark.parametrize(
    "layer",
    [
        {"layer": "AdaptiveMaxPooling1D", "output_size": 1000, "shape": (10**8, 1)},
        {
            "layer": "Dense",
            "units": 1,
            "dtype": {"class_name": "Int4DTypePolicy", "config": {"mode": "int4/64"}},
            "shape": (10**10,),
        },
    ],
)
def test_tables_are_made_after_they_were_counted(layer):
    """Those of places and of groups, which are as long as an input."""
    tracemalloc.start()
    with pytest.raises(ValueError, match="Not allowed: "):
        built(**layer)
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


class Normed(lamina.layers.Dense):
    def __init__(self, units, norm=None, **kwargs):
        super().__init__(units, **kwargs)
        self.norm = norm


@pytest.mark.parametrize("argument", ["norm", "activation"])
def test_layers_of_ones_own_may_take_classes(argument):
    kind = {"module": "builtins", "class_name": "class", "config": "StringLookup"}
    config = {"class_name": "Normed", "config": {"units": 2, argument: kind}}
    with lamina.saving.custom_object_scope({"Normed": Normed}):
        if argument == "norm":
            made = lamina.saving.deserialize_keras_object(config)
            assert made.norm is lamina.layers.StringLookup
            return
        with pytest.raises(TypeError, match="`Dense` takes a function"):
            lamina.saving.deserialize_keras_object(config)


@pytest.mark.parametrize("options", [{"libver": "latest"}, {"track_order": True}])
def test_newer_forms_of_hdf5(tmp_path, options):
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w", **options) as file:
        for i in range(100):  # more than eight are kept in a heap
            file[f"layers/l{i}/vars/0"] = np.full((3, 2), i, "f4")
            file.attrs[f"a{i}"] = "text"
        data = np.arange(600.0).reshape(20, 30)
        more = {"chunks": (3, 7), "compression": "gzip", "shuffle": True}
        more = {} if "libver" in options else more  # the newer form is refused
        file.create_dataset("vars/0", data=data, **more)
    weights = lamina.saving.KerasFileEditor(path).weights_dict
    assert (weights["0"] == data).all() and (weights["layers"]["l77"]["0"] == 77).all()


@pytest.mark.parametrize("change", ["node", "tensor", "history", "layers", "args"])
@pytest.mark.parametrize("value", [None, {}, [], "x", -1, 2**70, ["a", 9, 9]])
def test_graphs_of_no_model(change, value):
    x = lamina.Input((4,), name="a")
    model = lamina.Model(x, lamina.layers.Dense(2, name="b")(x))
    config = json.loads(model.to_json())
    node = config["config"]["layers"][1]["inbound_nodes"][0]
    match change:
        case "node":
            config["config"]["layers"][1]["inbound_nodes"][0] = value
        case "tensor":
            node["args"][0]["config"] = value
        case "history":
            node["args"][0]["config"]["keras_history"] = value
        case "layers":
            config["config"]["layers"][0] = value
        case "args":
            node["args"] = value
    for door in (lambda c: lamina.models.model_from_json(json.dumps(c)), _from_config):
        with pytest.raises((ValueError, TypeError)):
            door(config)


def test_layers_in_any_order_are_looked_at_once(monkeypatch):
    from lamina.models.graph_config import _Tensors

    found, counts = _Tensors.find, []
    monkeypatch.setattr(_Tensors, "find", lambda *x: counts.append(1) or found(*x))
    steps = []
    for count in (20, 40, 80):
        x = y = lamina.Input((2,), name="in")
        for i in range(count):
            y = lamina.layers.Identity(name=f"layer{i}")(y)
        config = lamina.Model(x, y).get_config()
        config["layers"].reverse()
        counts.clear()
        model = lamina.Model.from_config(config)
        assert len(model.layers) == count + 1
        steps.append(len(counts))
    assert steps[2] - steps[1] == 2 * (steps[1] - steps[0])


def _from_config(config):
    return lamina.Model.from_config(config["config"])


@pytest.mark.parametrize("value", [[{}], [None], [2**100], [[1], [2, 3]]])
def test_arrays_in_configs_hold_numbers_or_text(value):
    config = {"class_name": "__numpy__", "config": {"value": value, "dtype": "float32"}}
    with pytest.raises(ValueError, match="must hold numbers or text"):
        lamina.saving.deserialize_keras_object(config)
    config["config"] = {"value": [1], "dtype": "object"}
    with pytest.raises(ValueError, match="object"):
        lamina.saving.deserialize_keras_object(config)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(class_name={"a": 1}),
        lambda c: c["config"]["layers"][1].update(class_name=["Dense"]),
        lambda c: c["config"]["layers"][1]["config"].update(units={"a": 1}),
        lambda c: c["config"].update(layers=3),
        lambda c: c["config"]["layers"][0]["config"].update(batch_shape=3),
        lambda c: c["config"]["layers"][0]["config"].update(batch_shape=[None, [4]]),
        lambda c: c["config"]["layers"][1]["config"].update(dtype=[[]]),
    ],
)
def test_other_types_are_refused_in_words(good, change):
    """What an operation says of a value of another type is no answer by itself."""
    path = with_config(good, change)
    with pytest.raises((ValueError, TypeError)) as caught:
        lamina.saving.load_model(path)
    bare = re.match(
        "unhashable|'|argument of type|cannot|string indices", str(caught.value)
    )
    assert not bare, caught.value


def test_an_axis_that_is_a_text():
    """JAX takes it for an axis of devices, and says so in a NameError."""
    x = lamina.Input((4,))
    model = lamina.Model(x, lamina.ops.softmax(x + 1.0, axis=1))
    text = model.to_json().replace('"axis": 1', '"axis": "a"')
    with pytest.raises(ValueError, match="describes no model: NameError.*axis name: a"):
        lamina.models.model_from_json(text)


def test_all_that_an_error_shows_is_bounded():
    """Its causes and notes are printed with it."""
    long = "x" * 50_000
    with pytest.raises(ValueError) as caught, budget.errors_about("'file'"):
        try:
            raise KeyError(long, long)
        except KeyError as error:
            error.add_note(long)
            raise ValueError(long) from error
    shown = "".join(traceback.format_exception(caught.value))
    assert long[:1000] in shown
    assert len(shown) < 20_000
    with pytest.warns(UserWarning) as warned:
        tracebacks.warn(long)
    assert len(str(warned[0].message)) < 5000


def test_an_error_says_what_was_read(good):
    path = with_config(
        good, lambda c: c["config"]["layers"][1]["config"].update(units=-3)
    )
    with pytest.raises(ValueError, match=f"^In the config of '{path}': .*units=-3"):
        lamina.saving.load_model(path)


def test_layers_of_ours_read_assets_of_their_own_alone(tmp_path, monkeypatch):
    """However many there are: each asset is looked for and copied once."""
    words = lamina.Input((1,), dtype="string")
    made = [lamina.layers.TextVectorization() for _ in range(3)]
    for layer in made:
        layer.adapt(["b c"])
    path = tmp_path / "texts.keras"
    lamina.Model(words, [layer(words) for layer in made]).save(path)
    opened = []
    real = archive.Archive.open
    monkeypatch.setattr(
        archive.Archive, "open", lambda a, name: opened.append(name) or real(a, name)
    )
    loaded = lamina.saving.load_model(path)
    assets = [name for name in opened if name.startswith("assets/")]
    assert len(set(assets)) == len(assets) == 6
    expected = [layer.get_vocabulary() for layer in made]
    assert [layer.get_vocabulary() for layer in loaded.layers[1:]] == expected


def test_a_name_that_is_missing_is_a_type_error(good):
    path = with_config(good, put_layer({"class_name": "Mine", "config": {}}))
    refused(path, "Could not locate class 'Mine'", TypeError)


@pytest.mark.parametrize("kind", [lamina.Sequential, lamina.Model, lamina.layers.Dense])
def test_a_config_is_a_dict(kind):
    for config in (None, [1], "layers"):
        with pytest.raises(TypeError, match="from_config` expected a dict. Received"):
            kind.from_config(config)
