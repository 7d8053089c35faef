"""`lamina check`: programs are read, and what they use is looked up."""

import importlib.util
import os
import pathlib
import re
import textwrap

import pytest

from lamina.__main__ import main
from lamina.compat.check import _rows, check
from lamina.core import bounds

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "differences.md"


@pytest.fixture
def written(tmp_path):
    def write(text, name="train.py"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return file

    return write


def names(program, missing=True):
    return [one.name for one in check(program) if one.missing == missing]


MISSING = {
    "import keras; keras.layers.Dens": ["keras.layers.Dens"],
    "import keras.layers as L; L.Dens()": ["keras.layers.Dens"],
    "from keras import layers as L; L.Dense.nothing": ["keras.layers.Dense.nothing"],
    "from keras.layers import Dense, Dens": ["keras.layers.Dens"],
    "from tensorflow import keras; keras.nope": ["tensorflow.keras.nope"],
    "import tensorflow as tf; tf.keras.ops.nope(1)": ["tensorflow.keras.ops.nope"],
    "import tf_keras; K = tf_keras.backend; K.nope": ["tf_keras.backend.nope"],
    "from keras.preprocessing.text import Tokenizer": [
        "keras.preprocessing.text.Tokenizer"
    ],
    "import keras.engine.nothing": ["keras.engine.nothing"],
    "from keras.src.layers.layer import Layer, Foo": ["keras.src.layers.layer.Foo"],
    "from keras.src.saving import saving_lib; saving_lib.nope": [
        "keras.src.saving.saving_lib.nope"
    ],
    "import keras; getattr(keras, 'gone')": ["keras.gone"],
    "from keras.src.utils.module_utils import none_of_it as tf; tf.gone": [
        "keras.src.utils.module_utils.none_of_it",
        "keras.src.utils.module_utils.none_of_it.gone",
    ],
    "from keras.src.no.such import module": ["keras.src.no.such.module"],
    "import keras; L, M = keras.layers, keras.models; L.Dens, M.x": [
        "keras.layers.Dens",
        "keras.models.x",
    ],
    "import keras; L: object = keras.layers; L.Dens": ["keras.layers.Dens"],
    "import keras; (L := keras.layers).Dens, L.Den": [
        "keras.layers.Den",
        "keras.layers.Dens",
    ],
    "import keras; L = keras.layers if 1 else None; L.Dens": ["keras.layers.Dens"],
    "import keras; L = getattr(keras, 'layers'); L.Dens": ["keras.layers.Dens"],
    "import importlib; L = importlib.import_module('keras.layers'); L.Dens": [
        "keras.layers.Dens"
    ],
    "import keras\ndef f(L=keras.layers, *, y=keras.gone): L.Dens": [
        "keras.gone",
        "keras.layers.Dens",
    ],
    "import keras\ndef f(x: keras.Dens, *y: 'keras.Den') -> keras.De: pass": [
        "keras.De",
        "keras.Den",
        "keras.Dens",
    ],
    "import keras\nclass A:\n L = keras.layers\n B = L.Den\n def f(s): s.L.Dens": [
        "keras.layers.Den",
        "keras.layers.Dens",
    ],
    "import keras\nclass A:\n L = keras.layers\nclass B(A): pass\nA.L.Dens; B.L.Den": [
        "keras.layers.Den",
        "keras.layers.Dens",
    ],
    "import keras\nclass A:\n def __init__(self): self.L = keras.layers\n"
    " def f(me): me.L.Dens": ["keras.layers.Dens"],
    "try: from keras import layers, x\nexcept ImportError: x = 1\nlayers.Dens, x.y": [
        "keras.layers.Dens"
    ],
    "try: import tensorflow as tf\nexcept ImportError: tf = 1\ntf.nn, tf.keras.x": [
        "tensorflow.keras.x"
    ],
    "from keras import backend as K, x\nif K.backend() != 'jax': K.a\nelse: K.b": [
        "keras.backend.b",
        "keras.x",
    ],
    "import keras\nif keras.config.backend() in ('jax', 'torch'): keras.x": ["keras.x"],
    "class A:\n from keras import layers\n x = layers.Dens": ["keras.layers.Dens"],
    "import keras\ndef f():\n from keras import ops\n return lambda: ops.nope": [
        "keras.ops.nope"
    ],
    "import keras\ntry: keras.a()\nexcept AttributeError: pass\nkeras.a()": ["keras.a"],
    "import keras\ntry:\n def f(): keras.a\nexcept AttributeError: pass": ["keras.a"],
    "import keras\nif hasattr(keras, 'a'): keras.a\nkeras.a": ["keras.a"],
    "import keras\nif not hasattr(keras, 'ops'): keras.a\nelse: keras.b": ["keras.b"],
    "import keras\nb = keras.config.backend()\nif b == 'jax': keras.a": ["keras.a"],
    "import keras\ndef f():\n if keras.backend.backend() == 'jax': return keras.a\n"
    " keras.b": ["keras.a"],
    "import keras\nmatch keras.config.backend():\n case 'jax' | 'torch': keras.a\n"
    " case _: keras.b": ["keras.a"],
    "import keras\nif keras.__version__ >= '3': keras.a\nelse: keras.b": ["keras.a"],
    "import keras\nx = getattr(keras, 'a', None) or keras.a": ["keras.a"],
    "try: from keras import a as L\nexcept ImportError: from keras import layers as L\n"
    "L.Dens": ["keras.layers.Dens"],
    "import keras\ndef f(): keras.a = 1\ndef g(): keras.b": ["keras.b"],
    "import keras\nkeras.gone.Own = 1": ["keras.gone"],
    "try: from keras import a\nexcept ImportError: raise ValueError": ["keras.a"],
    "def f(): K.x\nK = None\ndef load():\n global K\n import keras.backend as K": [
        "keras.backend.x"
    ],
    "import keras\ndef f(): return keras.version() < '3'\nif f: keras.x": ["keras.x"],
    "import keras\nassert keras.version() and x\nkeras.x": ["keras.x"],
    "import keras, pytest\n@pytest.mark.skipif(keras.version() < '3', reason='')\n"
    "def test(): keras.x": ["keras.x"],
    "import keras\nhasattr(keras, 'x') or hasattr(keras, 'ops') and keras.a": [
        "keras.a"
    ],
    "try:\n import keras\n HAS = True\nexcept ImportError: HAS = False\n"
    "if HAS: keras.x\nelse: keras.y": ["keras.x"],
    "import keras\ndef f():\n o = None\n def g():\n  nonlocal o\n  o = keras.ops\n"
    " def h(): o.x": ["keras.ops.x"],
}
FOUND = [
    "from contextlib import suppress\nwith suppress(ImportError): import keras.nope",
    "from keras import layers\nclass A:\n layers = []\n def f(self): self.layers.x",
    "import keras\nclass A:\n keras = 3\n def f(self): keras.layers",
    "import keras; keras.layers.Dense(3); keras.utils.to_categorical",
    "from keras import layers\ndef f(layers): layers.append(1)",
    "from keras import layers\ndef f(m):\n return [layers.old for layers in m]",
    "from keras import layers\ndef f():\n for layers in (): layers.old",
    "from tensorflow.keras.backend import mean, int_shape",
    "from tensorflow.keras.preprocessing.text import Tokenizer",
    "from keras.utils import np_utils; np_utils.to_categorical",
    "from keras.layers.core import Dense; import keras.engine.topology",
    "from tensorflow.keras.layers.experimental.preprocessing import Rescaling",
    "import tf_keras; tf_keras.preprocessing.image.ImageDataGenerator().flow",
    "from keras.src import backend; backend.standardize_dtype",
    "from keras.src.backend.common import variables; variables.standardize_shape",
    "try:\n from keras.nope import x\nexcept ImportError:\n x = None\nx()",
    "import keras\ntry:\n keras.nope\nexcept (AttributeError, KeyError):\n pass",
    "import keras\nif hasattr(keras, 'nope'):\n keras.nope()",
    "import keras; getattr(keras.ops, 'nope', None)",
    "try: from keras.nope import x, y\nexcept ImportError: x = 1\nx.a.b(), y.c",
    "import keras\nkeras.layers.Own = object\nkeras.layers.Own.x",
    "import keras\nsetattr(keras.layers, 'Own', 1)\nkeras.layers.Own.x",
    "from tensorflow.keras import backend as K\nif K.backend() == 'tensorflow': K.x",
    "from keras.src import backend as b\nx = b.x if b.backend() == 'torch' else 1",
    "import keras\nif 'torch' == keras.config.backend() and a: keras.x",
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n from keras.nope import x",
    "import numpy as keras; keras.nope",
    "from keras import __version__, version",
    "import keras.src.backend.jax as module; module.cast",
    "import keras.api._v2.keras as k; k.layers.Dense",
    "from keras.engine.base_layer import Layer; import keras.engine.training",
    "from tensorflow.python.keras import backend as K; K.int_shape",
    "import keras\ntry: keras.nope(1).x\nexcept Exception: pass",
    "import keras, pytest\nwith pytest.raises(AttributeError): keras.nope(1)",
    "try: import keras.nope\nexcept ImportError: x = 0\nif x: keras.nope.a",
    "try: from keras import layers as L\nexcept ImportError: from keras import x as L\n"
    "L.Dense",
    "import keras\nif hasattr(keras, 'nope'):\n keras.nope, keras.nope.x, keras.more",
    "import keras\nHAS = hasattr(keras, 'nope')\ndef f():\n if HAS and 1: keras.nope",
    "import keras\ndef f():\n if not hasattr(keras, 'nope'): return\n keras.nope",
    "import keras\nx = getattr(keras, 'nope', None)\nif x: x.y",
    "import keras\nb = keras.backend.backend()\nif b == 'tensorflow': keras.nope",
    "import keras\nb = keras.config.backend()\nx = keras.nope if b == 'torch' else 1",
    "import keras\nTF = keras.config.backend() == 'tensorflow'\nif TF: keras.nope",
    "from keras.config import backend\nif backend() != 'torch': raise ValueError\n"
    "from keras import nope",
    "import keras\ndef f():\n if keras.config.backend() == 'jax': return\n keras.nope",
    "import keras\nmatch keras.config.backend():\n case 'torch': keras.nope\n"
    " case 'jax': pass\n case _: keras.nope",
    "import keras\nif keras.__version__.startswith('2'): keras.nope",
    "import keras\nif int(keras.__version__.split('.')[0]) < 3: keras.nope",
    "import keras\nfrom packaging import version as v\n"
    "OLD = v.parse(keras.__version__) < v.parse('3.0.0')\nif OLD: keras.nope",
    "import keras\nif tuple(map(int, keras.version().split('.')[:1])) < (3,): keras.x",
    "import keras\nif Version(keras.__version__).major < 3: keras.x",
    "import keras\nV = tuple(int(i) for i in keras.__version__.split('.')[:2] if i)\n"
    "if V < (3, 0): keras.x",
    "import keras\nif float(keras.__version__[:3]) < 3: keras.x",
    "import keras\nif hasattr(keras, 'x') and keras.x.y(): keras.x",
    "import keras\nB = keras.backend.backend()\nB == 'tensorflow' and keras.x\n"
    "y = B == 'jax' or keras.x",
    "try:\n from keras.nope import y\n HAS = True\nexcept ImportError: HAS = False\n"
    "if HAS: from keras.nope import z",
    "try:\n import keras\n OLD = keras.__version__ < '3'\nexcept ImportError:\n"
    " from tensorflow import keras\n OLD = True\nif OLD: keras.nope",
    "import keras\ndef three():\n 'Ask.'\n if not hasattr(keras, 'ops'): return False\n"
    " return keras.version() >= '3'\nif not three(): keras.nope",
    "from importlib import metadata\nimport keras\n"
    "if metadata.version('keras') < '3': keras.nope",
    "import keras, os\nif os.environ['KERAS_BACKEND'] == 'torch': keras.nope\n"
    "if (os.environ.get('KERAS_BACKEND') or 'torch') == 'torch': keras.nope",
    "import keras\ndef f():\n assert keras.config.backend() == 'torch'\n keras.nope",
    "import keras, pytest\nOTHER = keras.config.backend() != 'torch'\n"
    "@pytest.mark.skipif(OTHER, reason='')\ndef test(): keras.nope\n"
    "@unittest.skipUnless(not OTHER, '')\nclass Test:\n def test(self): keras.nope\n"
    "def more():\n if OTHER: pytest.skip()\n keras.nope",
    "import keras\nif (b := keras.config.backend()) != 'jax': keras.nope",
    "import keras, tensorflow as tf\ntry: OLD = parse(tf.__version__) < parse('2.4')\n"
    "except AttributeError: pass\nif OLD: keras.nope",
    "import keras\nwhile hasattr(keras, 'nope'): keras.nope",
]


@pytest.mark.parametrize("text", MISSING)
def test_missing(written, text):
    assert names(written(text)) == MISSING[text]


@pytest.mark.parametrize("text", FOUND)
def test_nothing_missing(written, text):
    assert names(written(text)) == []


def test_the_programs_own_modules_are_followed(written):
    written(
        "from .deep import L, C, thing\nfrom keras.layers import *", "own/__init__.py"
    )
    written("from keras import layers as L\nclass C: K = L\nthing = 3", "own/deep.py")
    script = written("""
        import own, unrelated_package
        from own import Dense, L, thing
        Dense(3); own.L.Dens; L.Den; own.C.K.Dn; thing.real
    """)
    assert names(script) == [f"keras.layers.{x}" for x in ("Den", "Dens", "Dn")]
    assert names(script.parent / "own") == []
    written("import keras; keras.nope", "own/more.py")
    (found,) = [one for one in check(script.parent / "own") if one.missing]
    assert found.places[0].endswith("more.py:1")


SEVERAL = {
    "all of a module": (
        {
            "s.py": "from common import *\nkeras.x, ops.y, print\ndef f(ops): ops.z",
            "common.py": "import keras\nfrom more import *\nfrom keras.layers import *",
            "more.py": "from keras import ops",
        },
        ["keras.ops.y", "keras.x"],
    ),
    "all of modules of Keras": (
        {
            "s.py": "import own\nfrom own import *\nown.x, own.Model.y, print, Dense.z",
            "own.py": "from keras.layers import *\nfrom keras.models import *",
        },
        ["keras.layers.Dense.z", "keras.layers.x", "keras.models.Model.y"],
    ),
    "a class elsewhere": (
        {
            "a.py": "from z import Base\nclass A(Base):\n def f(s): s.L.x, s.y",
            "z.py": "import keras\nclass Base(keras.Layer): L = keras.layers",
        },
        ["keras.layers.x"],
    ),
    "modules for other backends": (
        {
            "p/__init__.py": "import keras\nif keras.config.backend() == 'torch':\n"
            " from .other import x\nelse:\n from .own import x",
            "p/other.py": "from .beside import x\nimport keras\nkeras.x",
            "p/beside.py": "from . import other, both\nimport keras\nkeras.y",
            "p/own.py": "from . import both\nif TYPE_CHECKING: from . import hints",
            "p/both.py": "import keras\nkeras.a",
            "p/hints.py": "import keras\nkeras.b",
            "p/alone.py": "import keras\nkeras.c",
        },
        ["keras.a", "keras.b", "keras.c"],
    ),
    "packages in src, and scripts in folders": (
        {
            "src/p/__init__.py": "import keras\nL = keras.layers",
            "src/p/m.py": "from p import L\nL.x",
            "tests/test_p.py": "import p.m\np.L.y",
            "examples/common.py": "from keras import ops",
            "examples/e.py": "from common import *\nops.z",
        },
        ["keras.layers.x", "keras.layers.y", "keras.ops.z"],
    ),
}


@pytest.mark.parametrize("kind", SEVERAL)
def test_several_files(written, tmp_path, kind):
    files, missing = SEVERAL[kind]
    for name, text in files.items():
        written(text, name)
    assert names(tmp_path) == missing


def test_files_that_cannot_be_read(written, tmp_path, capsys):
    written("import keras\nprint 'x'", "old.py")
    (tmp_path / "nul.py").write_bytes(b"x = 1\0")
    (tmp_path / "binary.py").write_bytes(b"\xff\xfe\x00")
    written("x" + ".a" * 900 + ".b()" * 900, "deep.py")
    written("import keras, old, deep; keras.nope", "s.py")
    assert main(["check", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "5 missing, 0 that differ" in shown and "s.py:1: keras.nope" in shown
    for place in ("old.py:2", "nul.py:1", "binary.py:1", "deep.py:1"):
        assert f"{place}: cannot be read" in shown
    with pytest.raises((SyntaxError, ValueError), match=r"nul\.py"):
        check(tmp_path / "nul.py")
    assert [one.name for one in check(tmp_path / "s.py")] == ["", "", "keras.nope"]


def test_what_one_file_catches_is_not_caught_in_others(written):
    folder = written("", "own/__init__.py").parent
    guards = "import keras\nif hasattr(keras, 'a'): keras.a\ntry: from keras import b\n"
    written(
        f"{guards}except ImportError: b = None\nOLD = keras.version() < '3'", "own/g.py"
    )
    written("import keras; keras.a, keras.b", "own/uses.py")
    written("from .g import OLD, b\nimport keras; b.x\nif OLD: keras.c", "own/fine.py")
    places = {one.name: one.places for one in check(folder)}
    assert {name: len(x) for name, x in places.items()} == {"keras.a": 1, "keras.b": 1}
    assert all(x[0].endswith("uses.py:1") for x in places.values())


def test_what_is_assigned_as_a_file_is_imported(written):
    folder = written("", "programs/own.py").parent
    written("import keras\nkeras.a = 1\ndef f(): keras.b = 1", "programs/patch.py")
    written("import keras; keras.a, keras.b", "programs/uses.py")
    written("import keras; keras.a, keras.b", "programs/alone.py")
    written("import patch, uses", "programs/main.py")
    places = {one.name: [x[-10:-2] for x in one.places] for one in check(folder)}
    assert places == {"keras.a": ["alone.py"], "keras.b": ["alone.py", "/uses.py"]}


def test_modules_that_take_all_of_each_other(written):
    for i in range(6):
        others = "".join(f"from own.m{j} import *\n" for j in range(6) if j != i)
        last = "import keras\nL = keras.layers\n" if i == 4 else ""
        written(f"{others}{last}from own import m1; m1.L.Dens; m1.x", f"own/m{i}.py")
    folder = written("", "own/__init__.py").parent
    (found,) = check(folder)
    assert found.name == "keras.layers.Dens" and len(found.places) == 6


def test_rows(written):
    script = written("""
        import keras
        keras.layers.Attention()
        keras.losses.Huber(), keras.losses.CategoricalCrossentropy(axis=1)
        keras.callbacks.TensorBoard.summary
        keras.applications.resnet50.preprocess_input
    """)
    differs = {one.name: one.text for one in check(script)}
    assert "what is masked" in differs["keras.layers.Attention"]
    assert "keras.losses.Huber" not in differs
    assert "the classes' axis" in differs["keras.losses.CategoricalCrossentropy"]
    assert "without TensorFlow" in differs["keras.callbacks.TensorBoard.summary"]
    assert "floatx" in differs["keras.applications.resnet50.preprocess_input"]


def test_what_comments_name_is_there():
    marked = re.findall(r"<!-- (.*?) ?-->", PAGE.read_text())
    words = {
        word.strip().partition("(")[0] for row in marked for word in row.split(";")
    }
    exact = {w for w in words if w and "*" not in w and "tensorflow" not in w}
    known = {name for name, thing, _, _ in _rows() if thing is not None}
    assert len(exact) > 40 and exact <= known


def test_command(written, capsys):
    assert main(["check", str(written("import keras; keras.layers.Dense"))]) == 0
    assert capsys.readouterr().out == "0 missing, 0 that differ.\n"
    assert main(["check", str(written("import keras\nkeras.nope\nkeras.nope"))]) == 1
    shown = capsys.readouterr().out
    assert "train.py:2 (and 1 more): keras.nope: missing" in shown
    assert main(["check", "no_such_package"]) == 2
    assert main(["check", str(written("1 +"))]) == 1
    assert "train.py, line 1" in capsys.readouterr().err


TOO_MUCH = {
    "large": "import keras\n" + "keras.layers.Dens\n" * (bounds.SOURCE // 18),
    "deep": "x" + ".a" * 900 + ".b()" * 900,
    "deeper": "-" * 100_000 + "1",
}


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_programs_that_are_refused(written, kind):
    with pytest.raises(ValueError, match="larger than 1 MiB|nested too deeply"):
        check(written(TOO_MUCH[kind]))


def test_names_that_grow_without_end(written):
    written("import own.m.m.m as m", "own/m.py")
    grow = "\n".join(f"a{i + 1} = a{i}.{'a' * 99}" for i in range(1000))
    text = f"import keras as a0\n{grow}\na1000\nfrom own import m\nm.m.x\n"
    found = names(written(text + "a0" + ".a" * 400))
    assert "keras" + ".a" * 400 in found and max(map(len, found)) < bounds.NAME


def test_texts_that_take_long_to_run_are_read(written):
    either = "keras.a"
    for _ in range(60):
        either = f"not (x or not ({either} and hasattr(keras, 'ops')))"
    functions = "".join(
        f"{' ' * i}def f():\n{' ' * i} global K\n{' ' * i} class A(A, A): pass\n"
        for i in range(60)
    )
    many = f"[{'[' * 9}0{' for a in (1,) * 99]' * 9} for a in (1,) * 99]"
    twice = "".join(f"b{i + 1} = tuple((b{i}, b{i}))\n" for i in range(60))
    twice = f"b0 = tuple((keras.version(),))\n{twice}if str(b60): 1\n"
    text = f"import keras\nif {either}: 1\n{functions}{' ' * 60}return K\n{twice}"
    assert names(written(f"{text}if {many} or keras.version(): keras.b")) == [
        "keras.a",
        "keras.b",
    ]


def test_files_that_are_none(written, tmp_path, capsys):
    os.mkfifo(tmp_path / "a.py")
    (tmp_path / "b.py").mkdir()
    written("import keras; keras.nope", "\x1b[31m.py")
    assert main(["check", str(tmp_path)]) == 1
    assert "\\x1b[31m.py:1: keras.nope" in capsys.readouterr().out


def test_an_installed_package(written, tmp_path, monkeypatch):
    assert names("optax") == []
    written("from spaced.inner import Missing as it; it", "spaced/a.py")
    written("from keras.layers import Missing", "spaced/inner.py")
    monkeypatch.syspath_prepend(tmp_path)
    assert names("spaced") == ["keras.layers.Missing"]


def test_a_private_module_may_have_the_name_of_a_function(written):
    program = """
    from keras.src.layers.convolutional.conv1d import Conv1D
    from keras.src.layers.pooling import base_pooling
    from keras.src.layers.convolutional.conv2d import Missing
    base_pooling.BasePooling, base_pooling.Missing
    """
    assert names(written(program)) == [
        "keras.src.layers.convolutional.conv2d.Missing",
        "keras.src.layers.pooling.base_pooling.Missing",
    ]


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is there"
)
def test_without_tensorflow(written):
    (found,) = check(written("import tensorflow as tf; tf.constant(1)"))
    assert found.missing and "pip install tensorflow" in found.text


def test_functions_of_tensorflow_have_a_row(written):
    (found,) = check(written("import tensorflow as tf; tf.GradientTape()"))
    assert "lamina.value_and_grad" in found.text
