"""Runs in a bare installation: the blocks of the pages, and what needs an extra.

usage: python bare_promises.py KERNELS PAGE_OR_FOLDER ...
"""

import ast
import contextlib
import importlib.metadata
import importlib.util
import io
import re
import subprocess
import sys
import warnings
from pathlib import Path

# What a page's earlier lines or its reader would have made.
GIVEN = """
import numpy as np
import lamina
model = lamina.Sequential([
    lamina.Input((8, 8, 3)), lamina.layers.Flatten(), lamina.layers.Dense(2)
])
model.compile("sgd", "mse")
x = images = np.ones((4, 8, 8, 3), "float32")
y = np.ones((4, 2), "float32")
"""

# What needs a package that is not there, and what its error tells to install.
EXTRAS = {
    "lamina.utils.plot_model(model, 'm.png')": 'pip install "lamina[plot]"',
    "lamina.utils.array_to_img(x[0])": 'pip install "lamina[images]"',
    "lamina.callbacks.OrbaxCheckpoint('run')": 'pip install "lamina[orbax]"',
    "lamina.visualization.plot_image_gallery(x)": 'pip install "lamina[plot]"',
    "lamina.utils.model_to_dot(model)": "pip install pydot",
    "lamina.callbacks.TensorBoard('logs')": 'pip install "lamina[tensorboard]"',
    "model.export('m.onnx', format='onnx')": 'pip install "lamina[export]"',
    "lamina.wrappers.SKLearnClassifier(model)": "pip install scikit-learn",
    "lamina.layers.TorchModuleWrapper(model)": "pip install torch",
    "lamina.layers.TFSMLayer('folder')": "pip install tensorflow",
}

# What the sentences of README promise of `pip install lamina`.
PROMISES = """
before = model.predict(x, verbose=0)
model.fit(x, y, epochs=2, resume="run", verbose=0)
model.summary()
print(model.forecast(4))
for name in ("m.keras", "m.h5"):
    model.save(name)
    again = lamina.models.load_model(name)
    assert (again.predict(x, verbose=0) == model.predict(x, verbose=0)).all()
model.save_weights("m.weights.h5")
model.save_weights("m.safetensors")
model.export("program.safetensors")
program = lamina.export.load("program.safetensors")
np.testing.assert_allclose(program(x), model.predict(x, verbose=0), rtol=1e-5)
"""


def programs(pages):
    """Yield the programs of pages: a name, and its blocks of Python with their lines.

    The blocks of a page in a folder go on from one another, as they are read; those of
    a page that is named stand alone.
    """
    for page in pages:
        for file in sorted(page.glob("*.md")) if page.is_dir() else [page]:
            text = file.read_text()
            found = [
                (text.count("\n", 0, block.start()) + 2, block[1])
                for block in re.finditer(r"^```python\n(.*?)^```", text, re.S | re.M)
            ]
            if page.is_dir():
                if found:
                    yield file.name, found
            else:
                yield from ((f"{file.name}:{line}", [(line, c)]) for line, c in found)


def missing(code):
    """Return a package that a block imports and that is not installed, or None."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module]
        else:
            continue
        for name in names:
            if importlib.util.find_spec(name.partition(".")[0]) is None:
                return name.partition(".")[0]
    return None


def run(name, code, space=None):
    """Run a block a statement at a time; return what it could not do, each named."""
    if space is None:
        space = given()
    told = []
    for statement in ast.parse(code).body:
        program = compile(ast.Module([statement], []), name, "exec")
        try:
            exec(program, space)
        except ImportError as error:
            if "pip install" not in str(error):
                raise
            told.append(str(error).rpartition(": ")[2])
        except OSError as error:
            # Published weights, where there is no network: the address is told.
            if "https://" not in str(error):
                raise
            return [*told, "a network"]
    return told


def given():
    """Return the names that a program may take as given."""
    space = {"__name__": "block"}
    exec(compile(GIVEN, "given", "exec"), space)
    return space


def check_extras():
    """Fail where something that needs an extra does not say which."""
    space = given()
    for code, advice in EXTRAS.items():
        try:
            exec(code, space)
        except ImportError as error:
            assert advice in str(error), f"{code} says {error}"
        else:
            raise AssertionError(f"{code} ran: is the extra installed?")


def main(kernels, *pages):
    """Run it all and say what ran."""
    warnings.simplefilter("error")
    installed = sorted(d.metadata["Name"] for d in importlib.metadata.distributions())
    print(f"  installed: {', '.join(installed)}")
    from lamina.kernels import native

    assert native.available() == (kernels == "True"), "kernels: not as built"
    for name, found in programs([Path(page) for page in pages]):
        space = given()
        for line, code in found:
            if package := missing(code):
                print(f"  {name}: left out from line {line} on, it names {package}")
                break
            with contextlib.redirect_stdout(io.StringIO()):
                told = run(name, code, space)
            if told:
                print(f"  {name}: line {line} asks for {', '.join(told)}")
        else:
            print(f"  {name}: ran")
    with contextlib.redirect_stdout(io.StringIO()):
        run("promises", PROMISES)
    check_extras()
    for command in (["inspect", "m.keras"], ["--help"]):
        subprocess.run(["lamina", *command], check=True, capture_output=True)
    print("  README's promises hold, and each extra is named")


if __name__ == "__main__":
    main(*sys.argv[1:])
