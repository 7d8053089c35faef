"""Runs packages that were written for Keras, on Keras with JAX and on Lamina.

usage: python benchmarks/clients.py [--doc docs/packages.md] [PROGRAM ...]

The Python needs Lamina, Keras and the packages that PACKAGES names. Each program in
`benchmarks/clients/` has functions that return what can be compared; a case passes if
it returns what it does with Keras.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent / "clients"
PACKAGES = {
    "keras_hub": ("keras-hub",),
    "keras_tuner": ("keras-tuner",),
    "scikeras": ("scikeras",),
    "others": ("keras-rs", "kimm", "keras-mdn-layer"),
    "tuning": ("optuna-integration", "wandb", "mlflow", "shap", "tensorboard"),
    "more_layers": (
        "keras-nlp",
        "keras-cv",
        "keras-aug",
        "keras-hexagdly",
        "einops",
        "jax2onnx",
        "bayesflow",
    ),
}
# Runs the cases of a program and prints what each returned, or its error.
RUN = """
import importlib.util, json, sys, warnings
warnings.simplefilter("ignore")
spec = importlib.util.spec_from_file_location("program", sys.argv[1])
program = sys.modules["program"] = importlib.util.module_from_spec(spec)
found = {}
try:
    spec.loader.exec_module(program)
    cases = program.CASES
except Exception as error:
    cases = ()
    found["import"] = f"{type(error).__name__}: {error}"
for case in cases:
    try:
        found[case.__name__] = repr(case())
    except Exception as error:
        found[case.__name__] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


def outcome(program, way):
    """Return what each case of a program returned, run in one of two ways."""
    with tempfile.TemporaryDirectory() as folder:
        runner = pathlib.Path(folder, "cases.py")
        runner.write_text(RUN)
        start = [sys.executable, *(["-m", "lamina"] if way == "Lamina" else [])]
        result = subprocess.run(
            [*start, str(runner), str(HERE / f"{program}.py")],
            cwd=folder,
            env={**os.environ, "KERAS_BACKEND": "jax"},
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        return json.loads(result.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"import": result.stderr[-500:]}


def compared(program):
    """Return a row of the table, and a line for each case that differs."""
    theirs, ours = outcome(program, "Keras"), outcome(program, "Lamina")
    passing = [n for n, value in theirs.items() if "Error: " not in value]
    misses = [n for n in passing if ours.get(n) != theirs[n]]
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in PACKAGES[program]
    )
    row = f"| {versions} | {len(passing) - len(misses)} of {len(passing)} |"
    lines = []
    for name in misses:
        text = " ".join(ours.get(name, "did not run").split())
        lines.append(f"- {program}, `{name}`: {text[:200]}")
    for name in theirs.keys() - {*passing}:
        text = " ".join(theirs[name].split())
        lines.append(f"- {program}, `{name}` fails with Keras as well: {text[:120]}")
    return row, lines


def main():
    cli = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    cli.add_argument("programs", nargs="*", default=list(PACKAGES))
    cli.add_argument("--doc", type=pathlib.Path, help="a page to write the table into")
    given = cli.parse_args()
    rows, lines = [], []
    for program in given.programs:
        row, more = compared(program)
        print(row, *more, sep="\n", flush=True)
        rows.append(row)
        lines += more
    if given.doc:
        table = ["| package | cases that return what they do with Keras |", "|---|---|"]
        before, _, rest = given.doc.read_text().partition("<!-- table -->")
        after = rest.partition("<!-- end -->")[2]
        body = "\n".join([*table, *rows, "", *lines]).rstrip()
        page = f"{before}<!-- table -->\n{body}\n<!-- end -->{after}"
        given.doc.write_text(page)


if __name__ == "__main__":
    main()
