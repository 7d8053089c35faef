"""Programs for Keras run unedited; each in a process of its own."""

import contextlib
import importlib
import os
import pathlib
import pickle
import py_compile
import runpy
import subprocess
import sys
import textwrap

import h5py
import jax
import numpy as np
import pytest

import lamina
from lamina.compat import names as private
from lamina.compat.shims import stars

SOURCE = pathlib.Path(lamina.__file__).parents[1]


def run(folder, *arguments, **files):
    """Write files, and run `python` with arguments in their folder."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    settings = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    settings["PYTHONPATH"] = str(SOURCE)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env=settings, capture_output=True, text=True, check=False,
    )  # fmt: skip


def printed(result):
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_a_script_for_keras(tmp_path):
    keras = importlib.import_module("keras")
    theirs = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    theirs.compile("adam", "mse")
    expected = theirs.predict(np.ones((2, 3)), verbose=0)
    things = theirs, keras.losses.Huber(reduction="sum"), theirs.optimizer, expected
    (tmp_path / "theirs.pkl").write_bytes(pickle.dumps(things))
    lines = printed(
        run(
            tmp_path,
            "-m",
            "lamina",
            "train.py",
            "--epochs",
            "2",
            helper="VALUE = 7",
            train="""
            import importlib.metadata, pickle, sys
            import keras, numpy as np
            import keras.api, keras.src.backend
            from helper import VALUE
            from keras import layers, ops
            from keras.optimizers.schedules import ExponentialDecay
            from keras.layers import Dense
            from keras.src import backend
            from keras.src.backend.jax import numpy  # not the merging layers
            assert numpy.subtract(1.0, numpy.ones(2)).tolist() == [0.0, 0.0]
            from keras.src.layers.merging.subtract import subtract
            assert subtract.__module__ == "lamina.layers.merging"
            from keras.src.layers.layer import Layer
            from keras.src.api_export import keras_export
            from keras.src.utils.module_utils import LazyModule
            from keras.src import layers as private_layers
            from keras.src.saving.saving_lib import H5IOStore
            from keras.src.saving import serialization_lib
            from keras.src.trainers.data_adapters import data_adapter_utils

            @keras.saving.register_keras_serializable()
            class Twice(layers.Layer):
                def call(self, x):
                    return 2 * x

            model = keras.Sequential([keras.Input((3,)), Twice(), Dense(1)])
            model.compile("adam", "mse")
            model.fit(np.ones((8, 3)), np.ones((8, 1)), verbose=0)
            model.save("m.keras")
            again = keras.models.load_model("m.keras")
            copied = pickle.loads(pickle.dumps(again))
            print(copied.predict(np.ones((2, 3)), verbose=0).shape)
            print(sys.argv, VALUE, __name__)
            print(keras.__version__, importlib.metadata.version("keras"))
            from keras.src.version import __version__
            assert __version__ == keras.__version__
            print(keras.backend.backend(), Layer is layers.Layer)
            print(type(model).__module__.split(".")[0])
            print({"layers", "ops"} <= set(keras.__all__), hasattr(keras, "nothing"))
            print(LazyModule("json").dumps([1]), LazyModule("none_").available)
            print(backend.standardize_dtype("float32"), type(keras) is type(sys))
            from keras.src.backend.common.symbolic_scope import in_symbolic_scope
            with keras.SymbolicScope():
                print(in_symbolic_scope())
            print(in_symbolic_scope())
            store = H5IOStore("x.h5", mode="w")
            store.make("a/b")["w"] = np.ones(2)
            store.close()
            assert model.output._keras_history.operation is model.layers[-1]
            print(private_layers.Dense is Dense, H5IOStore("x.h5").get("a/b")["w"][:])
            print(data_adapter_utils.class_weight_to_sample_weights([1, 0], {1: 2.0}))
            print(serialization_lib.in_safe_mode() is None)
            print(keras.utils.np_utils.normalize is keras.utils.normalize)
            import importlib.util, inspect, pkgutil
            for line in (
                "from keras.src.layers import NotThere",
                "from keras.src.layers.layer import NotThere, Layer",
                "from keras.src.layers.not_there import NotThere",
                "import keras.src.not_there",
            ):
                try:
                    exec(line)
                except ImportError as error:
                    print(error.name, "packages were seen" in str(error))
            gone = "keras.data", "keras.src.gone", "keras.layers.basic"
            print([importlib.util.find_spec(name) for name in gone])
            print(hasattr(keras, "data"), hasattr(keras, "value_and_grad"))
            print(vars(layers)["Dense"] is Dense)
            space = {}
            exec("from keras.src.ops import *", space)
            assert space["mean"] is ops.mean and "BatchNormalization" not in space
            assert issubclass(space["Add"], keras.Operation)
            exec("from keras.src.backend import *", space)
            assert space["nn"].relu is ops.relu and "torch" not in space
            from keras.src import backend
            from keras.src.backend import random
            assert random.dropout is keras.random.dropout
            assert backend.image.resize is ops.image.resize and callable(backend.rnn)
            print(("Dense", Dense) in inspect.getmembers(layers, inspect.isclass))
            found = list(pkgutil.walk_packages(keras.ops.__path__, "keras.ops."))
            print([(one.name, one.ispkg) for one in found])
            with open("theirs.pkl", "rb") as file:
                theirs, huber, optimizer, expected = pickle.load(file)
            np.testing.assert_allclose(theirs(np.ones((2, 3))), expected, rtol=1e-6)
            print(type(theirs).__module__, theirs.loss, huber.reduction, optimizer.name)
            """,
        )  # fmt: skip
    )
    assert lines == [
        "(2, 1)", "['train.py', '--epochs', '2'] 7 __main__", "3.15.1 3.15.1",
        "jax True", "lamina", "True False", "[1] False", "float32 True",
        "True", "False", "True [1. 1.]", "[2. 1.]", "True",
        "True", "keras.src.layers False", "keras True",
        "keras.src.layers.not_there False", "keras.src.not_there False",
        "[None, None, None]", "False False", "True", "True",
        "[('keras.ops.image', False), ('keras.ops.linalg', False), "
        "('keras.ops.nn', False), ('keras.ops.numpy', False)]",
        "lamina.models.sequential mse sum adam",
    ]  # fmt: skip


def test_scripts_for_tensorflow_without_tensorflow(tmp_path):
    lines = printed(
        run(
            tmp_path,
            "-m",
            "lamina",
            "train.py",
            train="""
            import importlib
            import numpy as np, tf_keras
            tf = importlib.import_module("tensorflow")
            import tensorflow.keras.backend as K
            from tensorflow import keras
            from tensorflow.keras.layers import Dense
            from tensorflow.keras.models import Sequential
            from tf_keras import losses

            model = Sequential([Dense(2, input_shape=(3,))])
            print(type(model).__module__.split(".")[0], Sequential is keras.Sequential)
            print(tf.keras.layers.Dense is Dense is tf_keras.layers.Dense)
            print(losses.MSE is keras.losses.mean_squared_error)
            print(float(K.mean(np.array([1, 2]))), K.int_shape(model.output))
            print(keras.layers.Rescaling(2.0)(np.ones((1, 2))))
            for x in keras.utils.timeseries_dataset_from_array([1, 2], None, 2):
                print(x)
            try:
                tf.constant(1)
            except AttributeError as error:
                print(error)
            for line in ("from tensorflow import nn", "import tensorflow.nn.relu"):
                try:
                    exec(line)
                except ImportError as error:
                    print("`tensorflow.nn` needs `pip install" in str(error))
            try:
                from tensorflow.keras.layers import NotThere
            except ImportError as error:
                print("pip install" in str(error))
            """,
        )  # fmt: skip
    )
    assert lines[:4] == ["lamina True", "True", "True", "1.0 (None, 2)"]
    assert lines[4:6] == ["[[2. 2.]]", "[[1 2]]"]
    assert "`tensorflow.constant` needs `pip install tensorflow`" in lines[6]
    assert lines[7:] == ["True", "True", "False"]


def test_who_asks_is_told_that_there_is_no_tensorflow(tmp_path):
    (tmp_path / "site-packages").mkdir()
    guard = "try:\n import tensorflow as tf\nexcept ImportError:\n tf = None\n"
    for name, text in {
        "asks": f"{guard}from tensorflow import keras",
        "asks_later": guard,
        "needs": "import tensorflow as tf\ntf.constant(1)",
        "keras_alone": f"{guard}Dense = tf.keras.layers.Dense",
        "keras_and_more": "import sys\ndef tensor(x):\n import tensorflow as tf\n"
        " return tf.is_tensor(x) or isinstance(x, (tf.Tensor, tf.Variable))\n"
        "def K():\n import tensorflow as tf\n return tf.keras.backend",
    }.items():
        (tmp_path / "site-packages" / f"{name}.py").write_text(text)
    result = run(
        tmp_path, "-m", "lamina", "train.py",
        train="""
        import contextlib, importlib.util, sys
        sys.path.append("site-packages")
        def spec():
            return importlib.util.find_spec("tensorflow")
        try:
            import tensorflow
        except ImportError as error:
            print(error)
        with contextlib.suppress(ModuleNotFoundError):
            import tensorflow
            print("unreached")
        print(importlib.util.find_spec("tensorflow"))
        import os
        try:
            import needs
        except ImportError as error:
            print(error.name)
        import asks
        os.chdir("/")
        import keras_and_more
        print(keras_and_more.tensor(1), keras_and_more.K().backend())
        from tensorflow.keras.layers import Dense
        print(spec())
        import asks_later, keras_alone
        print(asks.tf, asks_later.tf, keras_alone.Dense is Dense)
        try:
            import needs
        except AttributeError as error:
            print("pip install" in str(error))
        import tensorflow as tf
        print(isinstance(1, tf.Tensor), isinstance(1, tf.data.Dataset))
        import pkgutil
        loader = getattr(pkgutil, "find_loader", importlib.util.find_spec)
        print("tensorflow" in sys.modules, loader("tensorflow"))
        tf = importlib.import_module("tensorflow")
        from tensorflow.keras import Model
        import tensorflow.keras.layers as L
        import cloudpickle
        print(tf.keras.layers is L, importlib.util.find_spec("tensorflow"))
        again = cloudpickle.loads(cloudpickle.dumps(lambda: (tf.keras.Model, L)))
        print(again() == (Model, L))
        import pydoc
        paths = "tensorflow.keras.layers.Dense", "tensorflow.Tensor"
        print([pydoc.locate(path) is Dense for path in paths], spec())
        """,
    )  # fmt: skip
    assert printed(result) == [
        "No module named 'tensorflow'", "None", "tensorflow", "False jax",
        "None", "None None True", "True", "False False", "False None",
        "True None", "True", "[True, False] None",
    ]  # fmt: skip


def test_tensorflow_keeps_all_but_its_keras(tmp_path):
    package = tmp_path / "tensorflow"
    package.mkdir()
    (package / "__init__.py").write_text("constant = float\nkeras = 'its own'\n")
    result = run(
        tmp_path, "-m", "lamina", "train.py",
        train="""
        import tensorflow as tf
        from tensorflow.keras.layers import Dense
        print(tf.constant("1.5"), Dense.__module__.split(".")[0])
        print(tf.keras.layers.Dense is Dense, tf.__spec__.loader is not None)
        """,
    )  # fmt: skip
    assert printed(result) == ["1.5 lamina", "True True"]


def test_workers_and_modules(tmp_path):
    lines = printed(
        run(
            tmp_path,
            "-m",
            "lamina",
            "-m",
            "pool",
            "argument",
            pool="""
            import concurrent.futures, multiprocessing, subprocess, sys
            import cloudpickle, joblib, keras, numpy as np

            def home(_):
                import keras.layers
                return keras.layers.Dense.__module__.split(".")[0]

            if __name__ == "__main__":
                # Before JAX runs here, a fork is as good.
                with concurrent.futures.ProcessPoolExecutor(1) as workers:
                    print(*workers.map(home, [0]))
                with multiprocessing.get_context("spawn").Pool(1) as workers:
                    print(workers.map(home, [0]))
                model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
                total = lambda x: float(keras.ops.sum(model(x)))
                parcel = cloudpickle.dumps((total, keras, keras.ops.numpy, keras.src))
                twin, *modules = cloudpickle.loads(parcel)
                print(twin(np.ones((2, 3))) == total(np.ones((2, 3))))
                print(modules == [keras, keras.ops.numpy, keras.src])
                print(joblib.Parallel(2)([joblib.delayed(home)(0)]))
                code = "import keras; print(keras.Model.__module__)"
                print(subprocess.check_output([sys.executable, "-c", code], text=True))
                print(sys.argv[1:])
            """,
        )  # fmt: skip
    )
    assert lines == [
        "lamina", "['lamina']", "True", "True", "['lamina']", "lamina.models.model", "",
        "['argument']",
    ]  # fmt: skip


def test_under_pytest(tmp_path):
    result = run(
        tmp_path, "-m", "lamina", "-m", "pytest", "-q", "-p", "no:cacheprovider",
        test_one="""
        import keras

        def test_it():
            assert keras.Model.__module__ == "lamina.models.model"
        """,
    )  # fmt: skip
    assert "1 passed" in printed(result)[-1]


def test_install_in_a_notebook(tmp_path):
    code = (
        "import lamina; lamina.install(); lamina.install()\n"
        "import keras; print(keras.Model is lamina.Model)"
    )
    assert printed(run(tmp_path, "-c", code)) == ["True"]
    failed = "try:\n import keras\nexcept ValueError:\n pass\nimport lamina\n" + code
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "src.py").write_text("")
    (tmp_path / "keras" / "__init__.py").write_text(
        "import keras.src\nraise ValueError"
    )
    assert printed(run(tmp_path, "-c", failed)) == ["True"]
    (tmp_path / "keras" / "__init__.py").write_text("")
    late = run(tmp_path, "-c", "import keras, lamina\nlamina.install()")
    assert "comes too late: `keras` was imported already" in late.stderr
    assert printed(run(tmp_path, "-c", "import lamina, sys\n"
        "print('lamina.compat' in sys.modules)")) == ["False"]  # fmt: skip
    assert printed(run(tmp_path, "-c", "import lamina, sys\nlamina.install()\n"
        "import keras\n"
        "print({'jax', 'numpy'} & {*sys.modules})")) == ["set()"]  # fmt: skip


GUARDED = """
import traceback
def asks():
    try:
        import tensorflow
    except ImportError:
        print("none")
asks()
exec("x = 1\\ntry: import tensorflow\\nexcept ImportError: print(x)")
try:
    exec("\\n\\n1 / 0")
except ZeroDivisionError:
    traceback.print_exc()
raise KeyboardInterrupt
"""
SHOWS = """
import sys
class Own:
    pass
print(__name__, sys.argv, sys.path[0], __package__, __doc__)
print(globals().get("__file__"), [n for n in dir() if n[0] != "_"])
print(sys.modules["__main__"].Own is Own)
if "fail" in sys.argv:
    1 / 0
sys.exit(7)
"""


@pytest.mark.parametrize(
    "words",
    [
        ["shows.py", "a"], ["inner/shows.py"], ["./inner/../shows.pyc"],
        ["plain", "-x"], ["-m", "shows", "a"], ["inner", "a"], ["-m", "inner"],
        ["-c", SHOWS, "-m"], ["shows.py", "fail"], ["-c", SHOWS, "fail"],
        ["none.py"], ["-m", "none_"], ["broken.py"], ["-c", GUARDED], ["-"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_program_runs_as_python_runs_it(tmp_path, words):
    (tmp_path / "inner").mkdir()
    for name in ("plain", "inner/shows.py", "inner/__main__.py"):
        (tmp_path / name).write_text(SHOWS)
    py_compile.compile(str(tmp_path / "plain"), str(tmp_path / "shows.pyc"))
    ways = [
        run(tmp_path, *way, *words, shows=SHOWS, broken="def (")
        for way in ([], ["-m", "lamina"])
    ]
    python, lamina_ = ways
    assert python.returncode == lamina_.returncode
    assert python.stdout == lamina_.stdout
    if "-m" not in words:  # Python shows frames of its own there
        assert python.stderr == lamina_.stderr


def test_start_asks_for_no_more_than_the_program(tmp_path):
    # sklearn and much else would come with the namespaces that are looked through.
    code = (
        "import sys\nfrom keras.src.saving import serialization_lib\n"
        "from keras.src.backend.common import KerasVariable\n"
        "print({'sklearn', 'matplotlib', 'lamina.applications'} & {*sys.modules})"
    )
    assert printed(run(tmp_path, "-m", "lamina", "-c", code)) == ["set()"]


def test_the_page_counts_lines_as_the_command_does():
    count = runpy.run_path(str(SOURCE.parent / "benchmarks" / "size.py"))["count"]
    room = SOURCE / "lamina" / "compat"

    def lines(*names):
        files = [
            file for name in names for file in [room / name, *room.glob(f"{name}/*")]
        ]
        return sum(count(file)[0] for file in files if file.suffix == ".py")

    page = (SOURCE.parent / "docs" / "packages.md").read_text()
    own = "aliases", "names", "runner", "without_tensorflow", "__init__"
    runner = lines("site", *(f"{name}.py" for name in own))
    assert runner < 600 and f"is {runner} lines of code" in page
    assert f"(`shims`, {lines('shims')})" in page
    assert f"`uses.py`, {lines('check.py', 'uses.py')};" in page


def test_every_private_name_is_there():
    for name in private._private():
        assert private.find(name) is not None
    assert private.find("ImageDataGenerator").flow
    with pytest.raises(AttributeError):
        private.find("NothingOfThisName")


def test_modules_have_the_names_that_they_have_in_keras():
    paths = private._modules("keras") | {""}
    for path in (path for path in paths if not private.is_private(path)):
        theirs = vars(importlib.import_module(f"keras.{path}".rstrip(".")))
        ours, find = private.names_in(False, path)
        listed = {word for word in ours if word[0] != "_"}
        assert listed == {word for word in theirs if word[0] != "_"}, path
        words = [x for x in ours if not private.is_module(f"{path}.{x}".lstrip("."), 0)]
        assert all(find(word) is not None for word in words)


@pytest.mark.parametrize("path", [
    "ops", "ops.core", "layers.core.dense", "layers.rnn.lstm", "losses.losses",
    "metrics.accuracy_metrics", "initializers.random_initializers", "backend.config",
    "backend.jax.core", "backend.jax.nn", "callbacks.monitor_callback",
    "tree.tree_api", "utils.file_utils", "utils.python_utils",
])  # fmt: skip
def test_import_with_a_star_takes_what_is_here(path):
    theirs, path = importlib.import_module(f"keras.src.{path}"), f"src.{path}"
    listed = stars.names_of(path)
    for word in listed:
        assert private.is_module(f"{path}.{word}", 0) or private.find(word, path)
    for word, thing in vars(theirs).items():
        if word not in listed and getattr(thing, "__module__", "") == theirs.__name__:
            with contextlib.suppress(AttributeError):
                private.find(word, path)
                assert word[0] == "_", word


def test_operations_have_a_class_each():
    def of(name, file="numpy"):
        return private.find(name, f"src.ops.{file}")

    a, x = np.arange(6.0, dtype="float32").reshape(2, 3), lamina.Input((3,))
    product = of("Einsum")("ij,kj->ik")
    np.testing.assert_array_equal(product(a, a), a @ a.T)
    drawn = lamina.ops.einsum("ij,kj->ik", x, x)._keras_history.operation
    assert isinstance(drawn, of("Einsum")) and not isinstance(drawn, of("Matmul"))
    assert type(drawn) is of("Einsum") and drawn.subscripts == "ij,kj->ik"
    node = drawn._inbound_nodes[0]  # as converters walk through graphs
    depths = lamina.Model(x, lamina.layers.Dense(2)(x))._nodes_by_depth
    assert [(d, len(nodes)) for d, nodes in depths.items()] == [(1, 1), (0, 1)]
    assert node.parent_nodes == 2 * [x._keras_history.operation._inbound_nodes[0]]
    assert node.arguments.keras_tensors == [x, x] == [*node.arguments.args]
    assert isinstance(product, of("Einsum")) and isinstance(product, lamina.Operation)
    again = pickle.loads(pickle.dumps(product))
    assert type(again) is of("Einsum") and again.subscripts == product.subscripts
    with pytest.raises(AttributeError, match="'Einsum' object has no attribute 'axis'"):
        again.axis  # noqa: B018
    with pytest.raises(TypeError, match="`subscripts`"):
        of("Einsum")()
    total = of("Add")()(of("Max")(-1, keepdims=True)(x), x)  # not the layer
    model = lamina.Model.from_config(lamina.Model(x, total).get_config())
    np.testing.assert_array_equal(model(a), a.max(-1, keepdims=True) + a)
    shape = of("compute_conv_output_shape", "operation_utils")
    assert shape((None, 8, None, 3), 4, (3, 3), 2, "same") == (None, 4, None, 4)
    shape = of("compute_pooling_output_shape", "operation_utils")
    assert shape((2, 8, 3), (2,), None) == (2, 4, 3)


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")
def test_private_functions_do_what_those_of_keras_do(tmp_path):
    attention = importlib.import_module(
        "keras.src.layers.attention.multi_head_attention"
    )
    dense = importlib.import_module("keras.src.layers.core.einsum_dense")
    for name, home, cases in (
        ("_build_proj_equation", attention, [(2, 1, 2), (1, 2, 1), (3, 2, 1)]),
        ("_build_attention_equation", attention, [(4, (1,)), (5, (2,)), (6, (1, 3))]),
        ("_analyze_einsum_string", dense, [
            ("abc,cd->abd", "d", (None, 4, 5), (4, 7)),
            ("abc,bcd->ad", None, (None, 4, 5), 6),
            ("0x,xy->0y", "y", (None, 4, 5), (7,)),
        ]),
    ):  # fmt: skip
        for case in cases:
            assert private.find(name)(*case) == getattr(home, name)(*case)

    for module, name, cases in (
        ("losses.loss", "squeeze_or_expand_to_same_rank", [
            (np.ones(3), np.ones((3, 1))), (np.ones((3, 4, 1)), np.ones((3, 4))),
            (np.ones(3), np.ones((3, 4))),
        ]),
        ("metrics.metrics_utils", "confusion_matrix", [
            ([0, 1, 1], [1, 1, 0], 3), ([0, 1], [1, 1], 2, [0.5, 2], "float32"),
        ]),
        ("initializers.random_initializers", "compute_fans", [((3,),), ((2, 3, 4),)]),
        ("layers.core.einsum_dense", "_analyze_quantization_info", [
            ("abc,bcd->ad", (2, 3, 4)), ("...x,xy->...y", (None, 4, 5)),
        ]),
        ("applications.imagenet_utils", "correct_pad", [
            (lamina.Input((224, 225, 3)), 3), (lamina.Input((None, 8, 3)), (5, 3)),
        ]),
        ("utils.naming", "to_snake_case", [("MaxPool2D",), ("relu",)]),
        ("utils.python_utils", "to_list", [(1,), ([1],), ((1, 2),)]),
    ):  # fmt: skip
        theirs = getattr(importlib.import_module(f"keras.src.{module}"), name)
        for case in cases:
            found, expected = private.find(name)(*case), theirs(*case)
            if "quantization" in name:
                found, expected = ([*x[:2], x[8]] for x in (found, expected))
                assert found == expected
                continue
            jax.tree.map(np.testing.assert_array_equal, found, expected)
    saved = private.find("KerasSaveable")
    assert isinstance(lamina.layers.Dense(1), saved) and private.find(
        "in_stateless_scope"
    )
    assert (
        private.find("load_data", "src.datasets.imdb") is lamina.datasets.imdb.load_data
    )

    path = str(tmp_path / "m.h5")
    model, twin = (
        lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2, name="one")])
        for _ in range(2)
    )
    model.save(path)
    for name in (
        "load_weights_from_hdf5_group",
        "load_weights_from_hdf5_group_by_name",
    ):
        twin.layers[0].kernel.assign(np.zeros((3, 2)))
        with h5py.File(path) as file:
            private.find(name)(file["model_weights"], twin)
            with pytest.raises(ValueError, match="from a file or its 'model_weights'"):
                private.find(name)(file["model_weights/one"], twin)
        np.testing.assert_array_equal(twin.get_weights()[0], model.get_weights()[0])
    with h5py.File(path) as file:
        listed = private.find("load_attributes_from_hdf5_group")
        assert listed(file["model_weights"], "layer_names") == ["one"]

    batches = [(np.ones((2, 3)), {"a": np.ones((2, n), "int32")}) for n in (4, 5)]
    first, rest = private.find("get_keras_tensor_spec")(batches)
    assert (first.shape, rest["a"].shape, rest["a"].dtype) == (
        (2, 3), (2, None), "int32"
    )  # fmt: skip

    class Two(lamina.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return np.full((2, 1), index), np.array([0, 1])

    adapter = private.find("PyDatasetAdapter")(Two(), class_weight={1: 3.0})
    x, y, weights = list(adapter.get_numpy_iterator())[1]
    assert adapter.num_batches == 2 and x[0, 0] == 1 and weights.tolist() == [1, 3]

    x, y = np.arange(10.0, dtype="float32")[:, None], np.arange(10) % 2
    theirs = importlib.import_module("keras.src.trainers.epoch_iterator").EpochIterator
    for given in (
        {"x": x}, {"x": x, "y": y, "class_weight": {0: 1.0, 1: 3.0}},
        {"x": {"a": x}, "y": y, "steps_per_epoch": 3},
        {"x": x, "y": y, "sample_weight": x[:, 0], "steps_per_execution": 3},
    ):  # fmt: skip
        ours, kept = (
            of(**given, batch_size=4) for of in (private.find("EpochIterator"), theirs)
        )
        assert ours.num_batches == kept.num_batches
        for _ in range(2):
            pairs = zip(ours.enumerate_epoch(), kept, strict=True)
            for found, expected in pairs:
                jax.tree.map(np.testing.assert_array_equal, found, expected)

    files = {n: private.find(n, "src.utils.file_utils") for n in ("join", "exists")}
    assert files["exists"](files["join"](tmp_path, "m.h5"))
    of_one = private.find("preprocess_input", "src.applications.resnet")
    assert of_one is lamina.applications.resnet.preprocess_input


def test_bases_of_layers_are_subclassed_and_asked_for(tmp_path):
    lines = printed(
        run(
            tmp_path,
            "-m",
            "lamina",
            "bases.py",
            bases="""
            import abc
            import keras, numpy as np
            from keras import layers
            from keras.src.backend import compute_output_spec
            from keras.src.layers.convolutional.base_conv import BaseConv
            from keras.src.layers.convolutional.base_separable_conv import (
                BaseSeparableConv,
            )
            from keras.src.layers.merging.base_merge import Merge
            from keras.src.layers.pooling.base_adaptive_pooling import (
                BaseAdaptivePooling,
            )
            from keras.src.layers.pooling.base_global_pooling import BaseGlobalPooling
            from keras.src.layers.pooling.base_pooling import BasePooling
            from keras.src.layers.preprocessing.image_preprocessing import (
                base_image_preprocessing_layer as images,
            )
            from keras.src.layers.rnn.dropout_rnn_cell import DropoutRNNCell

            class Scaled(BaseConv):
                def __init__(self, filters, kernel_size, scale=1.0, **kwargs):
                    super().__init__(2, filters, kernel_size, **kwargs)
                    self.scale = scale

                def call(self, x):
                    return super().call(x) * self.scale

            class Separable(BaseSeparableConv):
                def __init__(self, filters):
                    super().__init__(2, 1, filters, 3)

            class Cell(layers.Layer, DropoutRNNCell):
                def __init__(self, units):
                    super().__init__()
                    self.state_size = self.output_size = units
                    self.dropout = self.recurrent_dropout = 0.5
                    self.seed_generator = keras.random.SeedGenerator(1)

                def call(self, x, states, training=False):
                    if training:
                        x = x * self.get_dropout_mask(x)
                        states = [states[0] * self.get_recurrent_dropout_mask(x)]
                    return x, [x + states[0]]

            x = np.ones((1, 4, 4, 2))
            layer = Scaled(3, 2, scale=2.0, kernel_initializer="ones")
            again = Scaled.from_config(layer.get_config())
            print(float(layer(x)[0, 0, 0, 0]), again.scale, Separable(5)(x).shape)
            kinds = layers.Conv1D(1, 1), layers.SeparableConv1D(1, 1), layer
            print([isinstance(kind, BaseConv) for kind in kinds])
            print(isinstance(kinds[0], Scaled), issubclass(Scaled, BaseConv))

            class Kind(abc.ABCMeta):
                pass

            class Mixed(layers.Layer, metaclass=Kind):
                pass

            class Both(Mixed, BaseConv):
                pass

            print(Both(1, 2, 2, kernel_initializer="ones")(np.ones((1, 3, 1))).sum())
            print(isinstance(layers.GlobalMaxPooling1D(), BaseGlobalPooling))
            print([isinstance(x, Merge) for x in (layers.Add(), layers.Dot(1),
                                                  layers.Concatenate())])

            class Gap(Merge):
                def _merge_function(self, inputs):
                    return abs(inputs[0] - inputs[1])

            print(np.asarray(Gap()([np.ones((1, 1, 2)), np.full((1, 2), 3.0)])))
            steps = layers.RNN(cell := Cell(3), return_sequences=True)
            y = np.asarray(steps(np.ones((2, 5, 3)), training=True))
            print((y == y[:, :1]).all(), {*y.flat} == {0.0, 2.0}, cell._dropout_mask)
            print(compute_output_spec(lambda x: x[:, 1], keras.Input((3, 4))).shape)

            class Largest(BaseGlobalPooling):
                def __init__(self, keepdims=False, **kwargs):
                    super().__init__(pool_dimensions=1, keepdims=keepdims, **kwargs)

                def call(self, x):
                    return keras.ops.max(x, axis=1, keepdims=self.keepdims)

            class Windows(BasePooling):
                def __init__(self, pool_size, mode="average"):
                    super().__init__(pool_size, None, 1, mode)

            class Halves(BaseAdaptivePooling):
                def __init__(self):
                    super().__init__((2,))

            class Shift(images.BaseImagePreprocessingLayer):
                def __init__(self, by, seed=None, **kwargs):
                    super().__init__(factor=by, **kwargs)
                    self.seed, self.generator = seed, keras.random.SeedGenerator(seed)

                def get_random_transformation(self, data, training=True, seed=None):
                    seed = self._get_seed_generator(self.backend._backend)
                    return self.backend.random.uniform((), 1, 1, seed=seed)

                def transform_images(self, images, transformation, training=True):
                    return self.backend.numpy.add(images, transformation)

            x = np.arange(4.0).reshape(1, 4, 1)
            again = Largest.from_config(Largest(keepdims=True).get_config())
            kinds = (again, Windows(2), Windows(2, "max"), Halves())
            print([np.ravel(kind(x)).tolist() for kind in kinds], again(x).shape)
            print(isinstance(layers.MaxPooling2D(), BasePooling),
                  float(Shift(0.2, 1)(np.zeros((1, 1, 1, 1))).sum()),
                  Shift.from_config(Shift(0.2, 1).get_config()).factor)
            try:
                Windows(2, "min")
            except ValueError as error:
                print("'max', 'average'" in str(error))
            """,
        )  # fmt: skip
    )
    assert lines == [
        "16.0 2.0 (1, 2, 2, 5)", "[True, False, True]", "False True", "8.0", "True",
        "[True, True, True]", "[[[2. 2.]]]", "True True None", "(None, 4)",
        "[[3.0], [0.5, 2.5], [1.0, 3.0], [1.0, 3.0]] (1, 1, 1)", "True 1.0 (-0.2, 0.2)",
        "True",
    ]  # fmt: skip


def test_sizes_of_convolutions_are_those_of_tensorflow():
    def of(name, cases):
        found = private.find(name, "src.utils.conv_utils")
        return [found(*case) for case in cases]

    pairs = [(s, d) for s in (1, 2) for d in (1, 2)]
    cases = [(10, 3, p, *pair) for p in ("same", "valid", "full") for pair in pairs]
    assert of("conv_output_length", [*cases, (None, 3, "same", 1)]) == [
        10, 10, 5, 5, 8, 6, 4, 3, 12, 14, 6, 7, None,
    ]  # fmt: skip
    pairs = [(o, s) for s in (1, 2) for o in (None, 1)]
    cases = [(5, 3, p, *pair) for p in ("same", "valid", "full") for pair in pairs]
    assert of("deconv_output_length", [*cases, (None, 3, "same", None, 1)]) == [
        5, 6, 10, 10, 7, 8, 11, 12, 3, 4, 7, 8, None,
    ]  # fmt: skip
    cases = [(5, 3, p, 2) for p in ("same", "valid", "full")]
    lengths = of("conv_input_length", [*cases, (None, 3, "same", 1)])
    assert lengths == [9, 11, 7, None]
    assert of("normalize_tuple", [(3, 2, "a"), ([0, 2], 2, "a")]) == [(3, 3), (0, 2)]
    assert of("normalize_padding", [("SAME",)]) == ["same"]
    letters = [("channels_first", 4), ("channels_last", 3), ("channels_last", 5)]
    assert of("convert_data_format", letters) == ["NCHW", "NWC", "NDHWC"]
    assert of("normalize_data_format", [(None,)]) == ["channels_last"]


def test_tensors_of_pytorch_are_of_its_module():
    torch = pytest.importorskip("torch")
    make, back, kind = (
        private.find(name, "backend.torch")
        for name in ("convert_to_tensor", "convert_to_numpy", "to_torch_dtype")
    )
    assert torch.is_tensor(make([1.0])) and kind("int8") == torch.int8
    for dtype in ("float32", "bfloat16"):
        tensor = make([1.5], dtype)
        assert tensor.dtype == kind(dtype)
        array = back(tensor)
        assert array.dtype == dtype and array.tolist() == [1.5]
    assert private.find("convert_to_tensor", "backend") is lamina.ops.convert_to_tensor


def test_what_only_old_programs_import(tmp_path):
    lines = printed(
        run(
            tmp_path,
            "-m",
            "lamina",
            "old.py",
            old="""
            import importlib.metadata, sys
            import keras, pathlib
            import keras.api._v2.keras.layers, tf_keras.api._v2.keras
            import tensorflow.compat.v2 as tf2
            from keras.engine.base_layer import Layer
            from keras.engine.training import Model
            from keras.src.legacy.preprocessing.image import ImageDataGenerator
            from tensorflow.compat.v1 import keras as first
            from tensorflow.python.keras import backend as K
            from tensorflow.python.keras.engine.base_layer import Layer as Private
            print(Layer is Private is first.layers.Layer is keras.layers.Layer)
            print(tf2.keras.Model is Model, K.int_shape is not None)
            print([importlib.metadata.version(n) for n in ("tf-keras", "Keras")])
            print(pathlib.Path(keras.__file__).exists(), keras.layers.__file__[-3:])
            try:
                tf2.constant
            except AttributeError as error:
                print("tensorflow.compat.v2.constant" in str(error))
            """,
        )  # fmt: skip
    )
    assert lines == ["True", "True True", "['3.15.1', '3.15.1']", "True .py", "True"]


def test_layers_are_tested_as_keras_tests_them(tmp_path):
    result = run(
        tmp_path, "-m", "lamina", "-m", "pytest", "-q", "-p", "no:cacheprovider",
        test_layers="""
        import keras, numpy as np
        from absl.testing import parameterized
        from keras.src import testing
        from keras.src.testing.test_utils import named_product

        class LayersTest(testing.TestCase, parameterized.TestCase):
            @parameterized.named_parameters(named_product(units=[1, 2], bias=[True]))
            def test_dense(self, units, bias):
                given = {"units": units, "use_bias": bias}
                expected = dict(
                    input_shape=(2, 3), expected_output_shape=(2, units),
                    expected_num_trainable_weights=2, supports_masking=True,
                )
                self.run_layer_test(keras.layers.Dense, given, **expected)
                with self.assertRaises(AssertionError):
                    expected["expected_num_trainable_weights"] = 3
                    self.run_layer_test(keras.layers.Dense, given, **expected)

            def test_numbers(self):
                assert self.test_dense_2_true  # as Keras names it
                self.assertAllClose([1.0], keras.ops.ones(1))
                self.assertNotAllClose([1.0], [1.1])
                self.assertTrue(self.get_temp_dir())
        """,
    )  # fmt: skip
    assert "3 passed" in printed(result)[-1]


def test_targets_are_broadcast_as_keras_does_and_it_is_said(tmp_path):
    result = run(
        tmp_path,
        "-m",
        "lamina",
        "train.py",
        train="""
        import keras, numpy as np
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse", metrics=["mae"])
        x, y = np.ones((4, 2)), np.arange(12.0).reshape(4, 3)
        mse, mae = model.evaluate(x, y, verbose=0)
        error = model.predict(x, verbose=0) - y
        np.testing.assert_allclose(mse, (error**2).mean(), rtol=1e-5)
        np.testing.assert_allclose(mae, abs(error).mean(), rtol=1e-5)
        """,
    )
    assert printed(result) == []
    assert "y_true.shape=(4, 3), y_pred.shape=(4, 1)" in result.stderr
