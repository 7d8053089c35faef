"""Files from strangers: each is refused with the reason, and does nothing."""

import base64
import io
import json
import marshal
import stat
import warnings
import zipfile

import h5py
import numpy as np
import pytest

import lamina


@pytest.fixture
def good(tmp_path):
    model = lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(3)])
    model.save(tmp_path / "good.keras")
    return tmp_path / "good.keras"


@pytest.fixture
def canary(tmp_path):
    path = tmp_path / "canary"
    yield path
    assert not path.exists()


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(path, **changes):
    """Write the members of a file again, some of them changed; None leaves one out."""
    found = {**members(path), **{k.replace("__", "."): v for k, v in changes.items()}}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in found.items():
            if data is not None:
                archive.writestr(name, data)
    return path


def with_config(path, change):
    config = json.loads(members(path)["config.json"])
    change(config)
    return rewritten(path, config__json=json.dumps(config))


def with_weights(path, change):
    data = io.BytesIO(members(path)["model.weights.h5"])
    with h5py.File(data, "a") as file:
        change(file)
    return rewritten(path, **{"model__weights__h5": data.getvalue()})


def refused(path, match, kind=ValueError, **kwargs):
    with pytest.raises(kind, match=match):
        lamina.saving.load_model(path, **kwargs)


# ---- the archive -----------------------------------------------------------------


@pytest.mark.parametrize(
    "name, reason",
    [
        ("../evil", "leaves the archive"),
        ("assets/../../evil", "leaves the archive"),
        ("/etc/evil", "absolute"),
        ("C:/evil", "absolute"),
        ("assets\\..\\evil", "backslash"),
        ("assets//evil", "no plain path"),
        ("./config.json", "no plain path"),
    ],
)
def test_member_names(good, name, reason):
    refused(rewritten(good, **{name: b"x"}), reason)


def test_two_members_of_one_name(good):
    with zipfile.ZipFile(good, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("config.json", "{}")
    refused(good, "two members")


def test_a_link_in_the_archive(good):
    link = zipfile.ZipInfo("assets/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(good, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    refused(good, "a link")


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


def test_sizes_that_differ(good):
    data = bytearray(good.read_bytes())
    at = data.rindex(b"PK\x01\x02")  # the directory's entry of the weights
    data[at + 24 : at + 28] = (2**31).to_bytes(4, "little")
    good.write_bytes(data)
    refused(good, "two sizes|damaged|not a zip")


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

PLACE = "layers/dense/vars"


def link(file, thing, at=f"{PLACE}/0"):
    del file[at]
    file[at] = thing


@pytest.mark.parametrize(
    "at", ["layers", "layers/dense", "layers/dense/vars", "layers/dense/vars/0"]
)
@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda at: h5py.SoftLink("/vars"), "SoftLink"),
        (lambda at: h5py.ExternalLink("/tmp/other.h5", "/" + at), "ExternalLink"),
    ],
)
def test_links_at_every_component(good, at, make, reason):
    refused(with_weights(good, lambda f: link(f, make(at), at)), f"'{at}'.*{reason}")


def test_a_loop_of_hard_links(good):
    def change(file):
        file["layers/dense/again"] = file["layers"]

    refused(with_weights(good, change), "another path as well")


def test_values_in_another_file(good, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(48))

    def change(file):
        del file[f"{PLACE}/0"]
        file[PLACE].create_dataset("0", (4, 3), "f4", external=[(str(secret), 0, 48)])

    refused(with_weights(good, change), "in another file.*secret")


def test_virtual_datasets(good, tmp_path):
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file["x"] = np.zeros((4, 3), "f4")

    def change(file):
        layout = h5py.VirtualLayout((4, 3), "f4")
        layout[:] = h5py.VirtualSource(tmp_path / "source.h5", "x", (4, 3))
        del file[f"{PLACE}/0"]
        file[PLACE].create_virtual_dataset("0", layout)

    refused(with_weights(good, change), "virtual dataset")


@pytest.mark.parametrize(
    "kind",
    [
        h5py.string_dtype(),
        h5py.vlen_dtype(np.int32),
        h5py.ref_dtype,
        h5py.regionref_dtype,
        np.dtype([("a", "f4"), ("b", "i4")]),
        np.dtype("V16"),
    ],
    ids=str,
)
def test_values_that_are_no_numbers(good, kind):
    def change(file):
        del file[f"{PLACE}/0"]
        file[PLACE].create_dataset("0", (4, 3), kind)

    refused(with_weights(good, change), "no numbers")


def test_a_named_type(good):
    def change(file):
        link(file, np.dtype("f4"))

    refused(with_weights(good, change), "a named type")


@pytest.mark.parametrize("options", [{"chunks": (1 << 10, 1 << 10)}, {}])
def test_shape_bombs(good, options):
    def change(file):
        del file[f"{PLACE}/0"]
        file[PLACE].create_dataset("0", (1 << 20, 1 << 20), "f4", **options)

    refused(with_weights(good, change), "shape bomb.*declares 4 TiB")


def test_many_datasets_just_under_the_limit(good):
    def change(file):
        for i in range(2000):
            file.create_dataset(f"more/vars/{i}", (1 << 20,), "f4", chunks=(1 << 10,))

    refused(with_weights(good, change), "shape bomb")


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
    refused(rewritten(good, model__weights__h5=b"no"), "no HDF5 file")


def test_weights_alone_pass_the_same_guard(tmp_path):
    model = lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(3)])
    path = tmp_path / "w.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        link(file, h5py.SoftLink("/vars"), "layers")
    with pytest.raises(ValueError, match="SoftLink"):
        model.load_weights(path)


# ---- configs -----------------------------------------------------------------------


def bytecode(canary):
    code = compile(f"lambda x: open({str(canary)!r}, 'w') and x", "", "eval")
    body = next(c for c in code.co_consts if hasattr(c, "co_code"))
    return base64.encodebytes(marshal.dumps(body)).decode()


def lambda_layer(canary, **more):
    code = {"code": bytecode(canary), "defaults": None, "closure": None}
    return {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": {"class_name": "__lambda__", "config": code}, **more},
    }


def put_layer(layer):
    return lambda config: config["config"]["layers"].append(layer)


@pytest.mark.parametrize("safe_mode", [True, None, 0, "no"])
def test_lambdas(good, canary, safe_mode):
    path = with_config(good, put_layer(lambda_layer(canary)))
    refused(path, "arbitrary code execution", safe_mode=safe_mode)


def test_lambdas_in_other_places(good, canary):
    value = {
        "class_name": "__lambda__",
        "config": {"value": [bytecode(canary), None, None]},
    }

    def change(config):
        config["config"]["layers"][1]["config"]["activation"] = value

    refused(with_config(good, change), "arbitrary code execution")


def test_json_and_configs_are_safe_as_well(canary):
    layer = lambda_layer(canary)
    stack = {"class_name": "Sequential", "config": {"name": "s", "layers": [layer]}}
    with pytest.raises(ValueError, match="arbitrary code execution"):
        lamina.models.model_from_json(json.dumps(stack))
    with pytest.raises(ValueError, match="arbitrary code execution"):
        lamina.Sequential.from_config(stack["config"])
    with pytest.raises(ValueError, match="arbitrary code execution"):
        lamina.saving.deserialize_keras_object(layer)


def test_a_file_cannot_switch_safety_off(good, canary):
    path = with_config(good, put_layer({**lambda_layer(canary), "safe_mode": False}))
    refused(path, "arbitrary code execution")
    path = with_config(path, lambda c: c["config"].update(safe_mode=False))
    refused(path, "arbitrary code execution")


@pytest.mark.parametrize(
    "module, name",
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("subprocess", "Popen"),
        ("lamina.core.config", "function_from_bytecode"),
        ("keras.src.saving.saving_lib", "load_model"),
        ("keras.utils", "get_file"),
        ("keras.config", "enable_unsafe_deserialization"),
        (None, "__import__"),
    ],
)
def test_modules_are_never_imported(good, module, name):
    layer = {"module": module, "class_name": name, "config": {"command": "x"}}
    reason = "Could not locate class|no `from_config"
    refused(with_config(good, put_layer(layer)), reason, kind=TypeError)


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


def test_a_custom_name_never_means_a_class_of_ours(good):
    layer = {
        "module": "keras.layers",
        "class_name": "Dense",
        "registered_name": "mine>Dense",
        "config": {"units": 1},
    }
    refused(with_config(good, put_layer(layer)), "resolved to a Keras built-in")


def test_configs_cannot_make_huge_weights(good):
    def change(config):
        config["config"]["layers"][1]["config"]["units"] = 1 << 40

    refused(with_config(good, change), "Not allowed: the architecture.*16 TiB")


def test_many_layers_share_one_budget(good):
    layer = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2000}}

    def change(config):
        for i in range(100):
            named = {**layer, "config": {"units": 2000, "name": f"d{i}"}}
            config["config"]["layers"].append(named)

    refused(with_config(good, change), "Not allowed: the architecture")


def test_what_a_file_cannot_hold(good):
    def change(config):
        config["config"]["layers"][1]["config"]["activation"] = {
            "class_name": "__held__", "config": 0
        }  # fmt: skip

    refused(with_config(good, change), "no file can hold")


@pytest.mark.parametrize(
    "text, reason",
    [
        (b"", "is no JSON"),
        (b"{", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"\xff\xfe", "is no UTF-8"),
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
        patch.setattr("lamina.saving.reading._memory", lambda: 400 << 20)
        with pytest.raises(ValueError, match="this machine has 400 MiB of memory"):
            lamina.models.model_from_json(json.dumps(config))


@pytest.mark.parametrize("value", [[{}], [None], [2**100], [[1], [2, 3]]])
def test_arrays_in_configs_hold_numbers_or_text(value):
    config = {"class_name": "__numpy__", "config": {"value": value, "dtype": "float32"}}
    with pytest.raises(ValueError, match="must hold numbers or text"):
        lamina.saving.deserialize_keras_object(config)
    config["config"] = {"value": [1], "dtype": "object"}
    with pytest.raises(ValueError, match="object"):
        lamina.saving.deserialize_keras_object(config)


def test_bombs_within_bombs(good):
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        file.create_dataset(
            f"{PLACE}/0", data=np.zeros((1 << 23,), "f4"), compression="gzip"
        )
    found = {**members(good), "model.weights.h5": data.getvalue()}
    with zipfile.ZipFile(good, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, value in found.items():
            archive.writestr(key, value)
    refused(good, "shape bomb.*declares 32 MiB with .* stored")


def test_texts_that_hold_hdf5_for_ever(good):
    """An entry of size zero in a collection of texts, which HDF5 walks in circles."""
    data = bytearray(members(good)["model.weights.h5"])
    at = data.index(b"GCOL\x01") + 16
    data[at : at + 2] = bytes(2)
    data[at + 8 : at + 16] = bytes(8)
    path = good.with_name("m.weights.h5")
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged collection of texts"):
        lamina.saving.KerasFileEditor(path)
