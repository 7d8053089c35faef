"""Every public name of Keras is there, or says why it is not and has its row."""

import doctest
import functools
import inspect
import pathlib
import pickle
import sys
import types

import keras
import pytest

import lamina

DIFFERENCES = pathlib.Path(__file__).parents[1] / "docs" / "differences.md"
# By path: a name that stands in the row of docs/differences.md about it.
LEFT_OUT = {
    "callbacks.TensorBoard.summary": "`callbacks.TensorBoard.summary`",
    "src": "`keras.src`",
}
# Whose examples need a network or another library, or change the whole process.
NOT_RUN = {
    "config.enable_unsafe_deserialization", "install", "layers.FlaxLayer",
    "layers.TFSMLayer", "layers.TorchModuleWrapper", "utils.model_to_dot",
}  # fmt: skip
# Modules of Keras that its pages do not list.
NOT_LISTED = {"api"}


def is_public(name, value):
    if name.startswith("_") or name in NOT_LISTED:
        return False
    if not isinstance(value, types.ModuleType):
        return True
    return value.__name__.startswith("keras.") and not value.__name__.endswith(".src")


@functools.cache
def namespaces():
    """Return all of Keras' public modules, by their paths below `keras`."""
    found, todo = {}, [("", keras)]
    while todo:
        path, module = todo.pop()
        found[path] = module
        for name, value in vars(module).items():
            if isinstance(value, types.ModuleType) and is_public(name, value):
                todo.append((f"{path}.{name}".strip("."), value))
    return found


def ours(path):
    """Return what Lamina has at a path; raises AttributeError where it has nothing."""
    return functools.reduce(getattr, path.split(".") if path else (), lamina)


def is_left_out(path):
    return any(path == p or path.startswith(f"{p}.") for p in LEFT_OUT)


def test_the_walk_finds_the_namespaces():
    found = namespaces()
    assert {"layers", "ops.image", "applications.resnet", "utils.legacy"} <= set(found)
    assert sum(len(vars(m)) for m in found.values()) > 1400


@pytest.mark.parametrize("path", sorted(namespaces()))
def test_names_are_there(path):
    missing = []
    for name, value in vars(namespaces()[path]).items():
        full = f"{path}.{name}".strip(".")
        if not is_public(name, value) or is_left_out(full):
            continue
        try:
            ours(full)
        except AttributeError:
            missing.append(full)
    assert not missing


def parameters(thing):
    try:
        found = inspect.signature(thing).parameters
    except (TypeError, ValueError):
        return None
    return [name for name in found if name != "self"]


@pytest.mark.parametrize("path", sorted(namespaces()))
def test_parameters_and_members_are_there(path):
    gaps = []
    for name, theirs in vars(namespaces()[path]).items():
        full = f"{path}.{name}".strip(".")
        if not is_public(name, theirs) or is_left_out(full) or not callable(theirs):
            continue
        mine = ours(full)
        wanted, had = parameters(theirs), parameters(mine)
        if wanted is not None and had is not None and "kwargs" not in wanted:
            shared = [p for p in had if p in wanted]
            if shared != wanted and "kwargs" not in had:
                gaps.append((full, wanted, had))
        if inspect.isclass(theirs):
            members = [m for m in dir(theirs) if not m.startswith("_")]
            gaps += [f"{full}.{m}" for m in members if not hasattr(mine, m)]
    assert not [x for x in gaps if not is_left_out(x if isinstance(x, str) else x[0])]


@pytest.mark.parametrize("path", sorted(LEFT_OUT))
def test_what_is_left_out_has_its_row(path):
    rows = [r for r in DIFFERENCES.read_text().splitlines() if r.startswith("| ")]
    assert any(LEFT_OUT[path] in row for row in rows)


@pytest.mark.parametrize(
    ("get", "instead"),
    [
        (lambda: lamina.callbacks.TensorBoard().summary, "`logs`"),
        (lambda: lamina.src, "public"),
    ],
)
def test_what_is_left_out_says_why_and_what_to_use(get, instead):
    with pytest.raises(AttributeError, match=f"is left out: .*{instead}.*\\.$"):
        get()


@pytest.mark.parametrize("module", ["", "callbacks", "utils", "data", "preprocessing"])
def test_a_name_that_nobody_has_is_an_error(module):
    full = f"lamina.{module}".strip(".")
    with pytest.raises(AttributeError, match=f"module '{full}' has no attribute 'no_'"):
        ours(f"{module}.no_".strip("."))


@functools.cache
def things():
    """Return all public functions and classes of Lamina, each by its first path."""
    found, seen, todo = {}, set(), [("", lamina)]
    for path, module in todo:
        for name in getattr(module, "__all__", dir(module)):
            value, full = getattr(module, name), f"{path}.{name}".strip(".")
            if name[0] == "_" or id(value) in seen:
                continue
            seen.add(id(value))
            if not isinstance(value, types.ModuleType):
                found |= {full: value} if callable(value) else {}
            elif value.__name__.startswith("lamina."):
                todo.append((full, value))
    assert len(found) > 900
    return found


def test_every_name_has_an_example_that_the_tests_run():
    finder, lacking, passed_over = doctest.DocTestFinder(), [], []
    for path, thing in things().items():
        if ">>> " not in (thing.__doc__ or ""):
            lacking.append(path)
        elif not finder._from_module(sys.modules[thing.__module__], thing):  # type: ignore
            passed_over.append(path)
    assert not lacking
    assert not passed_over


def test_few_examples_are_only_shown():
    shown = {p for p, thing in things().items() if "+SKIP" in thing.__doc__}
    assert {p for p in shown if not p.startswith("datasets.")} == NOT_RUN


def test_pickle_finds_every_name():
    """Workers get functions and classes by where they stand."""
    lost = []
    for path, thing in things().items():
        try:
            assert pickle.loads(pickle.dumps(thing)) is thing
        except (AssertionError, AttributeError, pickle.PicklingError):
            lost.append(path)
    assert not lost
