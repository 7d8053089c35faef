import re

import keras
import numpy as np
import pytest

import lamina
from lamina import layers as L


def text_of(model, **kwargs):
    texts = []
    kwargs.setdefault("line_length", 80)
    model.summary(print_fn=texts.append, **kwargs)
    (text,) = texts
    return text


def rows_of(text):
    """The cells of each row below the header, folded lines joined again."""
    rows, row = [], None
    for line in text.splitlines():
        if line.startswith("│"):
            cells = [c.strip() for c in line.strip("│").split("│")]
            if row is None:
                row = cells
            else:
                row = [_join(a, b) for a, b in zip(row, cells, strict=True)]
        elif row is not None:
            rows.append(row)
            row = None
    return rows


def _join(a, b):
    glued = a.endswith("_") or b.startswith("[") or not a or not b
    return a + b if glued else f"{a} {b}"


def keras_cells(model, **kwargs):
    texts = []
    model.summary(print_fn=texts.append, line_length=200, **kwargs)
    return rows_of(texts[0]), totals_of(texts[0])


def totals_of(text):
    return [line.strip() for line in text.splitlines() if "params:" in line]


def build_chain(lib):
    return lib.Sequential(
        [
            lib.Input((28, 28, 1)),
            lib.layers.Conv2D(32, 3),
            lib.layers.MaxPooling2D(),
            lib.layers.Flatten(),
            lib.layers.Dense(128),
            lib.layers.BatchNormalization(),
            lib.layers.Dropout(0.2),
            lib.layers.Dense(10),
        ],
        name="chain",
    )


def build_graph(lib):
    a = lib.Input((8,), name="left")
    b = lib.Input((8,), name="right")
    shared = lib.layers.Dense(4, name="shared")
    joined = lib.layers.Concatenate(name="joined")([shared(a), shared(b)])
    shifted = lib.ops.add(lib.layers.Dense(3, name="small")(joined), 1.0)
    out = lib.layers.Dense(1, name="out")(shifted)
    shared.trainable = False
    return lib.Model([a, b], [out, shifted[:, :2]], name="graph")


def build_nested(lib):
    inner = lib.Sequential(
        [lib.Input((8,)), lib.layers.Dense(4), lib.layers.Dense(2)], name="inner"
    )
    x = lib.Input((8,), name="x")
    middle = lib.Model(x, inner(x), name="middle")
    return lib.Sequential([lib.Input((8,)), middle, lib.layers.Dense(1)], name="top")


@pytest.mark.parametrize(
    "build, kwargs",
    [
        (build_chain, {}),
        (build_chain, {"show_trainable": True}),
        (build_chain, {"layer_range": ("max.*", "dense")}),
        (build_graph, {}),
        (build_graph, {"show_trainable": True}),
        (build_nested, {}),
        (build_nested, {"expand_nested": True}),
    ],
)
def test_cells_and_totals_are_those_of_keras(monkeypatch, build, kwargs):
    monkeypatch.setenv("COLUMNS", "200")  # Keras cuts what the terminal cannot hold
    text = text_of(build(lamina), line_length=200, **kwargs)
    rows, totals = keras_cells(build(keras), **kwargs)
    assert rows_of(text) == rows
    assert totals_of(text) == totals


def test_title_and_header():
    lines = text_of(build_chain(lamina)).splitlines()
    assert lines[0] == 'Model: "chain"'
    header = [c.strip() for c in lines[2].strip("┃").split("┃")]
    assert header == ["Layer (type)", "Output Shape", "Param #"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_has_the_width_that_was_asked_for(width):
    text = text_of(build_graph(lamina), line_length=width, show_trainable=True)
    table = [line for line in text.splitlines() if line[0] in "┏┃┡│├└"]
    assert {len(line) for line in table} == {width}


@pytest.mark.parametrize("width", [60, 80, 120])
def test_long_names_are_folded_and_never_cut(width):
    name = "shared_projection_with_a_very_long_name_indeed"
    a, b = L.Input((8,)), L.Input((8,))
    shared = L.Dense(4, name=name)
    model = lamina.Model([a, b], L.Add()([shared(a), shared(b)]))
    text = text_of(model, line_length=width, show_trainable=True)
    assert "…" not in text
    rows = rows_of(text)
    assert rows[2][0] == f"{name} (Dense)"
    assert rows[3][3] == f"{name}[0][0], {name}[1][0]"


def test_without_a_length_the_terminal_limits_the_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    text = text_of(build_graph(lamina), line_length=None, show_trainable=True)
    assert max(map(len, text.splitlines())) == 70


def test_positions_set_the_columns():
    text = text_of(build_chain(lamina), line_length=100, positions=[0.5, 0.8, 1.0])
    border = text.splitlines()[1]
    assert [i for i, c in enumerate(border) if c in "┳┓"] == [50, 80, 99]
    with pytest.raises(ValueError, match="3 rising numbers"):
        text_of(build_chain(lamina), positions=[0.5, 1.0])
    with pytest.raises(ValueError, match="leave room"):
        text_of(build_chain(lamina), positions=[0.5, 0.5, 1.0])


def test_unbuilt_layers_have_no_shape():
    text = text_of(lamina.Sequential([L.Dense(3, name="a"), L.Dense(2, name="b")]))
    assert rows_of(text) == [
        ["a (Dense)", "?", "0 (unbuilt)"],
        ["b (Dense)", "?", "0 (unbuilt)"],
    ]
    assert totals_of(text)[0] == "Total params: 0 (0.00 B)"


def test_a_subclass_shows_the_shapes_it_was_called_with():
    class Net(lamina.Model):
        def __init__(self):
            super().__init__()
            self.a = L.Dense(3, name="a")
            self.b = L.Dense(2, name="b")

        def call(self, x):
            return self.b(self.a(x))

    model = Net()
    assert [row[1] for row in rows_of(text_of(model))] == ["?", "?"]
    model(np.zeros((1, 4)))
    assert rows_of(text_of(model)) == [
        ["a (Dense)", "(1, 3)", "15"],
        ["b (Dense)", "(1, 2)", "8"],
    ]


def test_a_layer_called_on_two_shapes_shows_both():
    a, b = L.Input((4, 3)), L.Input((7, 3))
    shared = L.Dense(2)
    text = text_of(lamina.Model([a, b], [shared(a), shared(b)]), line_length=120)
    assert rows_of(text)[2][1] == "(None, 4, 2), (None, 7, 2)"


def test_calls_outside_the_model_are_not_shown():
    a, b = L.Input((4, 3)), L.Input((7, 3))
    shared = L.Dense(2)
    model = lamina.Model(a, shared(a))
    shared(b)
    assert rows_of(text_of(model))[1][1] == "(None, 4, 2)"


def test_several_outputs_stand_in_brackets():
    class Split(L.Layer):
        def call(self, x):
            return {"all": x, "first": x[:, 0]}

    x = L.Input((5, 3))
    text = text_of(lamina.Model(x, Split()(x)))
    assert rows_of(text)[1][1] == "[(None, 5, 3), (None, 3)]"


def test_optimizer_state_is_counted_once_it_exists():
    model = lamina.Sequential([lamina.Input((3,)), L.Dense(4)])
    model.compile("adam", "mse")
    model.fit(np.zeros((4, 3)), np.zeros((4, 4)), verbose=0)
    assert totals_of(text_of(model)) == [
        "Total params: 50 (200.00 B)",
        "Trainable params: 16 (64.00 B)",
        "Non-trainable params: 0 (0.00 B)",
        "Optimizer params: 34 (136.00 B)",
    ]


def test_it_prints_without_print_fn(capsys):
    model = build_chain(lamina)
    model.summary(line_length=80)
    printed = capsys.readouterr().out
    assert printed.rstrip("\n") == text_of(model)


@pytest.mark.parametrize(
    "layer_range, message",
    [
        (("dense",), "length 2"),
        ("dense", "length 2"),
        (("nowhere", "dense"), "No layer matches 'nowhere'"),
    ],
)
def test_a_bad_range_is_refused(layer_range, message):
    with pytest.raises(ValueError, match=message):
        text_of(build_chain(lamina), layer_range=layer_range)


def test_a_range_may_be_given_backwards():
    model = build_chain(lamina)
    there = text_of(model, layer_range=("conv2d", "flatten"))
    back = text_of(model, layer_range=("flatten", "conv2d"))
    assert rows_of(there) == rows_of(back)
    assert len(rows_of(there)) == 3


@pytest.mark.parametrize(
    "size, text",
    [(0, "0.00 B"), (1023, "1023.00 B"), (1536, "1.50 KB"), (5 * 2**30, "5.00 GB")],
)
def test_sizes_read_as_in_keras(size, text):
    from lamina.models.summary import _readable

    assert _readable(size) == text


def test_a_terminal_has_colours_where_it_can_show_them(capsys, monkeypatch):
    model = lamina.Sequential([L.Input((4,)), L.Dense(300, name="last")])
    for name in ("NO_COLOR", "COLORTERM", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    model.summary()
    shown = capsys.readouterr().out
    cyan, green, end = "\x1b[36m", "\x1b[32m", "\x1b[0m"
    assert f"last ({cyan}Dense{end})" in shown
    assert f"(None, {cyan}300{end})" in shown and f"{green}1,500{end}" in shown
    monkeypatch.delenv("FORCE_COLOR")
    model.summary()
    assert "\x1b" not in capsys.readouterr().out


def test_a_notebook_shows_the_table_and_the_picture():
    x = lamina.Input((4,), name="table")
    hidden = L.Dense(3, name="a<b")(x)
    model = lamina.Model(x, [hidden, L.Dense(2, name="last")(hidden)], name="net")
    shown = model._repr_html_()
    assert "Model: <b>net</b>" in shown
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", shown.replace("\xa0", " "))
    first = cells.index("a&lt;b (Dense)")
    assert cells[first + 1 : first + 3] == ["(None, 3)", "15"]
    assert "Total params: 23 (92.00 B)" in shown
    (svg,) = re.findall(r"<svg.*</svg>", shown, re.DOTALL)
    assert ">table<" in svg
    assert shown == model._repr_html_()  # and on another day
    # Its page is that of the notebook, dark or light.
    assert "fill: #ffffff" not in svg[: svg.index(">table<")]
    assert lamina.Sequential([L.Dense(1)])._repr_html_() is None


def test_a_notebook_shows_no_picture_where_it_would_be_too_large():
    model = lamina.Sequential([L.Input((1,)), *(L.ReLU() for _ in range(61))])
    assert "<svg" not in model._repr_html_()

    class Own(lamina.Model):
        def __init__(self):
            super().__init__(name="own")
            self.dense = L.Dense(2)

        def call(self, x):
            return self.dense(x)

    own = Own()
    own.build((None, 3))
    assert "<svg" not in own._repr_html_() and "(Dense)" in own._repr_html_()


def test_names_cannot_command_a_terminal(tmp_path, capsys):
    name = "a\x1b[31m\x07b"
    layer = lamina.layers.Dense(2, name=name)
    model = lamina.Sequential([lamina.Input((3,), name=name + "i"), layer], name=name)
    metric = lamina.metrics.MeanSquaredError(name=name)
    model.compile("sgd", "mse", metrics=[metric])
    x = np.ones((4, 3))
    for verbose in (1, 2):
        history = model.fit(x, x[:, :2], verbose=verbose)
    model.summary()
    node = model.output.node
    print(model, layer, metric, history, model.input, node, *model.weights)
    lamina.utils.plot_model(model, tmp_path / "a.svg", show_layer_names=True)
    shown = capsys.readouterr().out + (tmp_path / "a.svg").read_text()
    shown += model._repr_html_() + history._repr_html_()
    assert not {"\x1b", "\x07"} & {*shown}
    assert r"a\x1b[31m\x07b" in shown
