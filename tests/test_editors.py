"""What an editor finds: names, arguments, docstrings, where things are written."""

import functools
import inspect
import pkgutil

import jedi
import pytest

import lamina

MODEL = "import lamina\nmodel = lamina.Sequential([lamina.layers.Dense(1)])\nmodel."
FIT = "import lamina\nhistory = lamina.Sequential().fit()\nhistory."
DATA = "import lamina\ndata = lamina.utils.image_dataset_from_directory('a')\ndata."

# A line that ends where the question is asked, and some of the names to come.
NAMES = {
    "import lamina\nlamina.": "layers ops losses Model Sequential Input Variable",
    "import lamina\nlamina.layers.": "Dense Conv2D LSTM MultiHeadAttention Resizing",
    "from lamina import layers\nlayers.Den": "Dense",
    "from lamina.layers import Batch": "BatchNormalization",
    "import lamina\nlamina.optimizers.": "Adam SGD schedules",
    "import lamina\nlamina.callbacks.": "EarlyStopping ModelCheckpoint",
    "import lamina\nlamina.losses.": "Huber mean_squared_error",
    "import lamina\nlamina.metrics.": "AUC Mean",
    "import lamina\nlamina.utils.": "to_categorical image_dataset_from_directory",
    "import lamina\nlamina.applications.": "ResNet50 MobileNetV2",
    "import lamina\nlamina.ops.": "matmul concatenate image",
    MODEL: "fit evaluate predict compile summary save layers weights add",
    "import lamina\nlamina.saving.load_model('a').": "fit predict layers",
    FIT: "history epoch",
    DATA: "map batch shuffle take cache class_names show",
}
# Calls, and some of the arguments to come.
ARGUMENTS = {
    f"{MODEL}fit(": "x y epochs batch_size validation_data resume",
    f"{MODEL}compile(": "optimizer loss metrics jit_compile",
    "import lamina\nlamina.layers.Dense(": "units activation name dtype",
    "import lamina\nlamina.layers.Conv2D(": "filters kernel_size padding groups",
    "import lamina\nlamina.optimizers.Adam(": "learning_rate weight_decay clipnorm",
    "import lamina\nlamina.callbacks.EarlyStopping(": "patience monitor",
}


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    jedi.settings.cache_directory = tmp_path_factory.mktemp("jedi")
    here = jedi.api.environment.InterpreterEnvironment()

    def at_the_end(code, question="complete"):
        lines = code.split("\n")
        script = jedi.Script(code, environment=here)
        return getattr(script, question)(len(lines), len(lines[-1]))

    return at_the_end


@pytest.mark.parametrize("code", [*NAMES, *ARGUMENTS])
def test_completions(ask, code):
    found = [answer.name for answer in ask(code)]
    wanted = NAMES.get(code, "").split()
    wanted += [f"{name}=" for name in ARGUMENTS.get(code, "").split()]
    assert set(wanted) <= set(found)


@pytest.mark.parametrize("name", ["layers.Dense", "Model.fit", "optimizers.Adam"])
def test_definition_and_docstring(ask, name):
    thing = lamina
    for part in name.split("."):
        thing = getattr(thing, part)
    (found,) = ask(f"import lamina\nlamina.{name}", "goto")
    (found,) = found.goto(follow_imports=True) or [found]
    assert str(found.module_path) == inspect.getsourcefile(inspect.unwrap(thing))
    assert inspect.getdoc(thing).split("\n")[0] in found.docstring()
    (signature,) = ask(f"import lamina\nlamina.{name}(", "get_signatures")
    shown = [p.name for p in signature.params]
    assert [p for p in inspect.signature(thing).parameters if p != "self"][:3] == [
        p for p in shown if p != "self"
    ][:3]


def namespaces(module, found):
    """Return all public modules by name, the public ones in them too."""
    found[module.__name__] = module
    for name in getattr(module, "__all__", ()):
        inner = getattr(module, name)
        ours = inspect.ismodule(inner) and inner.__name__.startswith("lamina.")
        if ours and inner.__name__ not in found:
            namespaces(inner, found)
    return found


def test_only_what_is_public_completes(ask):
    """Not what public modules import for themselves; their own files do complete."""
    wrong, seen = {}, 0
    for name, module in namespaces(lamina, {}).items():
        # The modules of single architectures are code that people read and copy.
        if name.startswith("lamina.applications."):
            continue
        found = {answer.name for answer in ask(f"import {name}\n{name}.")}
        offered = {*getattr(module, "__all__", dir(module))}
        files = {x.name for x in pkgutil.iter_modules(getattr(module, "__path__", ()))}
        # pytest puts names with an @ into what it imports.
        extra = {one for one in found - offered - files if one[0] not in "_@"}
        missing = {one for one in offered - found if one[0] not in "_@"}
        if extra or missing:
            wrong[name] = extra, missing
        seen += len(offered)
    assert wrong == {}
    assert seen > 1200


# One of each way of making constructors and functions.
SHOWN = (
    "activations.gelu applications.ResNet50 layers.Conv2D layers.RandomFlip "
    "layers.RandomRotation "
    "layers.StringLookup layers.TextVectorization losses.Huber ops.sin ops.softmax "
    "optimizers.Adam optimizers.AdamW"
)


@pytest.mark.parametrize("name", SHOWN.split())
def test_all_arguments_are_shown(ask, name):
    thing = functools.reduce(getattr, name.split("."), lamina)
    made = thing.__init__ if inspect.isclass(thing) else thing
    taken = [p.name for p in inspect.signature(made).parameters.values()]
    found = ask(f"import lamina\nlamina.{name}(", "get_signatures")
    shown = [p.name for one in found for p in one.params]
    assert {*taken} - {"self", "kwargs"} <= {*shown}


def test_arguments_of_public_classes_have_types():
    bare, seen = set(), set()
    for module in namespaces(lamina, {}).values():
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if not (inspect.isclass(thing) and thing.__module__.startswith("lamina.")):
                continue
            seen.add(thing)
            for p in list(inspect.signature(thing.__init__).parameters.values())[1:]:
                many = p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
                if p.annotation is p.empty and not many:
                    bare.add(f"{module.__name__}.{name}({p.name})")
    assert not bare and len(seen) > 300


def test_arguments_of_methods_of_models_have_types():
    bare = set()
    for name, method in inspect.getmembers(lamina.Model, inspect.isroutine):
        if name[0] == "_":
            continue
        for p in inspect.signature(method).parameters.values():
            known = p.name in ("self", "cls", "args", "kwargs")
            if p.annotation is p.empty and not known:
                bare.add(f"{name}({p.name})")
    assert not bare
