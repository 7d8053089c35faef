"""`plot_model` and `model_to_dot`: what is drawn, and what is refused."""

import inspect
import re
import sys
import types
import xml.etree.ElementTree as xml

import keras
import numpy as np
import pytest

import lamina
from lamina import Input, Model, Sequential, layers
from lamina.utils import model_to_dot, plot_model
from lamina.utils.plot_boxes import Options, read
from lamina.utils.plot_colors import COLORS

matplotlib = pytest.importorskip("matplotlib")
Dense = layers.Dense


def look(model, expand=False, **flags):
    defaults = dict.fromkeys(("shapes", "dtype", "activations", "trainable"), False)
    return read(model, Options(**{**defaults, **flags}, expand=expand))


def kinds(graph):
    return [box and box.kind for box in graph.boxes]


def lines(graph):
    """The edges by the names of the boxes they join."""
    names = [box.name if box else None for box in graph.boxes]
    return [(names[a], names[b]) for a, b, *_ in graph.edges]


def small():
    return Sequential([Input((3,)), Dense(4, activation="relu"), Dense(1)])


def residual():
    x = Input((4,), name="x")
    y = Dense(4, name="y")(x)
    return Model(x, layers.Add(name="sum")([x, y]) * 2.0)


def shared():
    a, b = Input((3,), name="a"), Input((3,), name="b")
    same = Dense(2, name="same")
    return Model([a, b], layers.Subtract(name="minus")([same(a), same(b)]))


def nested():
    x = Input((4,), name="x")
    inner = Model(x, [Dense(2, name="one")(x), Dense(3, name="two")(x)], name="inner")
    z = Input((4,), name="z")
    one, two = inner(layers.Dropout(0.1, name="drop")(z))
    return Model(z, layers.Concatenate(name="join")([two, one]))


def svg_texts(path):
    """The texts of an svg in the order they were drawn."""
    root = xml.parse(path).getroot()
    return [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]


def arguments(function):
    """Names, kinds and defaults; Keras says no types."""
    return [
        (one.name, one.kind, one.default)
        for one in inspect.signature(function).parameters.values()
    ]


def test_signatures():
    for mine, theirs in (
        (plot_model, keras.utils.plot_model),
        (model_to_dot, keras.utils.model_to_dot),
    ):
        assert arguments(mine) == arguments(theirs)


def test_a_stack_is_a_chain():
    model = small()
    graph = look(model)
    assert kinds(graph) == ["Input", "Dense", "Dense"]
    names = [box.name for box in graph.boxes]
    assert lines(graph) == list(zip(names, names[1:], strict=False))


def test_details():
    model = small()
    model.layers[0].trainable = False
    first, second, third = look(
        model, shapes=True, dtype=True, activations=True, trainable=True
    ).boxes
    assert first.details == ("(None, 3)", "float32")
    assert second.details == ("relu", "(None, 4)", "float32")
    assert third.details == ("linear", "(None, 1)", "float32")
    assert [b.trained for b in (first, second, third)] == [None, False, True]


def test_ops_are_boxes():
    graph = look(residual())
    assert kinds(graph) == ["Input", "Dense", "Add", "Multiply"]
    assert lines(graph)[:3] == [("x", "y"), ("x", "sum"), ("y", "sum")]
    x = Input((2,))
    assert [b.family for b in look(Model(x, x + x * 2.0)).boxes] == [
        "input",
        "op",
        "merge",
    ]


def test_a_shared_layer_is_one_box():
    graph = look(shared())
    assert sorted(kinds(graph)) == ["Dense", "Input", "Input", "Subtract"]
    assert lines(graph).count(("same", "minus")) == 2
    (box,) = (b for b in graph.boxes if b.name == "same")
    assert box.details == ("shared by 2 calls",)


def test_a_layer_called_on_its_own_result_has_a_box_for_each_call():
    x = Input((2,))
    step = Dense(2)
    graph = look(Model(x, step(step(x))))
    details = [box.details for box in graph.boxes]
    assert details == [(), ("call 1 of 2",), ("call 2 of 2",)]
    assert [(a, b) for a, b, *_ in graph.edges] == [(0, 1), (1, 2)]


def test_nested_models():
    closed = look(nested())
    assert kinds(closed) == ["Input", "Dropout", "Functional", "Concatenate"]
    assert closed.boxes[2].family == "model"
    opened = look(nested(), expand=True)
    inner = opened.boxes[2].inner
    assert kinds(inner) == [None, "Dense", "Dense", None, None]
    assert inner.inputs == [0]
    assert inner.outputs == [3, 4]
    # The second output comes first into the Concatenate.
    assert [edge[2] for edge in opened.edges if edge[1] == 3] == [1, 0]


def test_each_call_of_a_shared_model_is_opened(tmp_path):
    x = Input((3,), name="x")
    encoder = Model(x, Dense(2, name="code")(x), name="encoder")
    a, b = Input((3,), name="a"), Input((3,), name="b")
    model = Model([a, b], layers.Subtract(name="minus")([encoder(a), encoder(b)]))
    graph = look(model, shapes=True, expand=True)
    frames = [box for box in graph.boxes if box.inner]
    assert [box.details for box in frames] == [("shared by 2 calls",)] * 2
    assert {("a", "encoder"), ("b", "encoder")} < {*lines(graph)}
    assert lines(graph).count(("encoder", "minus")) == 2
    assert len({edge[0] for edge in graph.edges if edge[1] == 4}) == 2
    plot_model(model, tmp_path / "model.svg", expand_nested=True)
    assert svg_texts(tmp_path / "model.svg").count("shared by 2 calls") == 2


def test_a_subclass_is_one_box():
    class Own(Model):
        def __init__(self):
            super().__init__()
            self.dense = Dense(2)

        def call(self, x):
            return self.dense(x)

    model = Own()
    with pytest.raises(ValueError, match="has not yet been built"):
        look(model)
    model(np.ones((1, 3), "float32"))
    assert kinds(look(model)) == ["Own"]


def test_wrapped_layers_are_named():
    x = Input((5, 3))
    y = layers.Bidirectional(layers.LSTM(2, return_sequences=True))(x)
    y = layers.TimeDistributed(Dense(2))(y)
    boxes = look(Model(x, y)).boxes
    assert [b.kind for b in boxes[1:]] == [
        "Bidirectional(LSTM)",
        "TimeDistributed(Dense)",
    ]
    assert [b.family for b in boxes[1:]] == ["sequence", "weights"]


@pytest.mark.parametrize(
    ("layer", "family"),
    [
        (lambda: layers.Conv1D(2, 1), "weights"),
        (lambda: layers.MaxPooling1D(1), "shape"),
        (layers.Flatten, "shape"),
        (layers.BatchNormalization, "normalization"),
        (lambda: layers.Dropout(0.5), "normalization"),
        (lambda: layers.GRU(2), "sequence"),
        (layers.ReLU, "activation"),
        (layers.Identity, "op"),
        (lambda: type("Mine", (Dense,), {})(2), "weights"),
        (lambda: type("Other", (layers.Layer,), {"call": lambda s, x: x})(), "op"),
    ],
)
def test_families(layer, family):
    (_, box) = look(Sequential([Input((4, 2)), layer()])).boxes
    assert box.family == family
    assert family in COLORS


@pytest.mark.parametrize(
    ("rankdir", "splines"),
    [("TB", "ortho"), ("LR", "curved"), ("BT", "line"), ("RL", "ortho")],
)
@pytest.mark.parametrize("make", [small, residual, shared, nested])
def test_everything_is_inside_the_picture(make, rankdir, splines, tmp_path):
    file = tmp_path / "model.svg"
    shown = plot_model(
        make(), file, show_shapes=True, rankdir=rankdir, splines=splines,
        expand_nested=True,
    )  # fmt: skip
    assert shown is None
    root = xml.parse(file).getroot()
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    found = 0
    for element in root.iter("{http://www.w3.org/2000/svg}path"):
        if "clip-path" not in element.attrib:
            continue
        numbers = [float(t) for t in element.attrib["d"].split() if not t.isalpha()]
        found += 1
        assert min(numbers) > 0
        assert max(numbers[::2]) < width
        assert max(numbers[1::2]) < height
    assert found >= len(look(make()).boxes)


def test_what_is_written(tmp_path):
    file = tmp_path / "model.svg"
    model = Sequential([Input((3,), name="in$_1"), Dense(4, name="a")])
    plot_model(model, file, show_layer_names=True, show_shapes=True)
    assert svg_texts(file) == ["Input", "in$_1", "(None, 3)", "Dense", "a", "(None, 4)"]
    plot_model(model, file)
    assert svg_texts(file) == ["Input", "Dense"]
    plot_model(nested(), file, expand_nested=True)
    assert "inner" in svg_texts(file)


@pytest.mark.parametrize(
    ("name", "start"),
    [("m.png", b"\x89PNG"), ("m.pdf", b"%PDF"), ("m.svg", b"<?xml"), ("m", b"\x89PNG")],
)
def test_the_ending_is_the_format(name, start, tmp_path):
    file = tmp_path / name
    plot_model(small(), str(file), dpi=50)
    assert file.read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_dpi(tmp_path):
    from PIL import Image

    sizes = []
    for dpi in (72, 144):
        plot_model(small(), tmp_path / "m.png", dpi=dpi)
        with Image.open(tmp_path / "m.png") as image:
            sizes.append(image.size)
    assert sizes[1] == pytest.approx([2 * n for n in sizes[0]], abs=2)


def test_a_notebook_gets_the_picture(tmp_path, monkeypatch):
    display = types.ModuleType("IPython.display")
    display.Image = display.SVG = lambda filename: ("shown", filename)
    package = types.ModuleType("IPython")
    package.display = display
    package.get_ipython = lambda: None  # matplotlib asks
    package.version_info = (9, 0)
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    for name in ("m.png", "m.svg"):
        file = str(tmp_path / name)
        assert plot_model(small(), file, dpi=50) == ("shown", file)
    assert plot_model(small(), tmp_path / "m.pdf") is None


def test_refused(tmp_path):
    file = tmp_path / "m.png"
    with pytest.raises(ValueError, match="This model has not yet been built"):
        plot_model(Sequential([Dense(1)]), file)
    with pytest.raises(ValueError, match="Unrecognized keyword arguments: .*colour"):
        plot_model(small(), file, colour=True)
    with pytest.raises(ValueError, match="`rankdir` to be one of"):
        plot_model(small(), file, rankdir="UP")
    with pytest.raises(ValueError, match="`splines` to be"):
        plot_model(small(), file, splines="wavy")
    with pytest.raises(ValueError, match="`to_file` to end in"):
        plot_model(small(), tmp_path / "m.doc")
    with pytest.raises(ValueError, match="Received: model=3"):
        plot_model(3, file)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "package", "advice"),
    [
        (plot_model, "matplotlib", r'pip install "lamina\[plot\]"'),
        (model_to_dot, "pydot", "pip install pydot"),
    ],
)
def test_a_missing_package_is_named(call, package, advice, monkeypatch):
    loaded = [name for name in sys.modules if name.partition(".")[0] == package]
    for name in (package, *loaded):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=advice):
        call(small())


def test_dot():
    pytest.importorskip("pydot")
    dot = model_to_dot(nested(), show_shapes=True, expand_nested=True)
    (cluster,) = dot.get_subgraphs()
    titles = {
        node.get_name(): node.get_label().strip('"').split("\\n")[1]
        for part in (dot, cluster)
        for node in part.get_nodes()
        if node.get_label()
    }

    def joined(part):
        ends = ((e.get_source(), e.get_destination()) for e in part.get_edges())
        return [(titles[a], titles[b]) for a, b in ends]

    assert joined(cluster) == [("drop", "one"), ("drop", "two")]
    assert joined(dot) == [("z", "drop"), ("two", "join"), ("one", "join")]
    assert "(None, 2)" in dot.to_string()
    part = lamina.utils.model_to_dot(small(), subgraph=True)
    assert type(part).__name__ == "Cluster"


@pytest.mark.parametrize("name", ['a" image="secret', 'a\\" image="secret'])
def test_a_name_gives_a_box_of_dot_no_attributes(name):
    pytest.importorskip("pydot")
    inner = lamina.Sequential(
        [lamina.Input((3,)), lamina.layers.Dense(2, name=name)], name=f"{name} inner"
    )
    model = lamina.Sequential([lamina.Input((3,)), inner], name=name)
    for subgraph in (False, True):
        dot = model_to_dot(model, expand_nested=True, subgraph=subgraph)
        text = re.sub(r"\\.", "", dot.to_string())  # what is escaped ends nothing
        assert 'image="' not in re.sub(r'"[^"]*"', '""', text)
