"""Runs packages that were written for Keras, on Keras with JAX and on Lamina.

usage: python benchmarks/clients.py [--doc docs/packages.md] [PROGRAM ...]

Rows of programs that are not named stay in the page as they are.

The Python needs Lamina, Keras and the packages that PACKAGES names. Each program in
`benchmarks/clients/` has functions that return what can be compared; a case passes if
it returns what it does with Keras. Cases run a third time with nothing but the module
`keras` replaced, as was possible before there was `python -m lamina`. Where a package
comes with tests of its own, they are run as well.
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
# By program: each package with its cases, or all of them.
PACKAGES = {
    "keras_hub": {"keras-hub": ()},
    "keras_tuner": {"keras-tuner": ()},
    "scikeras": {"scikeras": ()},
    "keras_aug": {"keras-aug": ()},
    "others": {
        "keras-rs": ("cross", "ranking"),
        "kimm": ("images",),
        "keras-mdn-layer": ("mixture",),
    },
    "tuning": {
        "optuna-integration": ("optuna_pruning",),
        "wandb": ("wandb_callbacks",),
        "mlflow": ("mlflow_autologging", "mlflow_model"),
        "shap": ("shap_values",),
        "tensorboard": ("tensorboard",),
    },
    "more_layers": {
        "keras-nlp": ("keras_nlp",),
        "keras-cv": ("keras_cv",),
        "keras-hexagdly": ("keras_hexagdly",),
        "einops": ("einops_layers", "einops_functions"),
        "jax2onnx": ("jax2onnx",),
        "bayesflow": ("bayesflow",),
    },
    "strangers": {
        "keras-tcn": ("keras_tcn",),
        "keras-sig": ("keras_sig",),
        "keras-custom": ("keras_custom",),
        "keras-fft": ("keras_fft",),
        "keras-proba": ("keras_proba",),
        "keras-sciml": ("keras_sciml",),
        "kerex": ("kerex_layers",),
        "keras-bio": ("keras_bio",),
        "lime": ("lime",),
        "alrelu-keras": ("alrelu",),
    },
    "networks": {
        "tkan": ("tkan",),
        "k3im": ("k3im_images", "k3im_mixer"),
        "keras-unet-collection": ("unet_collection",),
        "kyolo": ("kyolo_model",),
        "efficientnet": ("efficientnet",),
        "image-classifiers": ("classification_models",),
        "talos": ("talos_scan",),
        "category-embedding": ("category_embedding",),
    },
    "recent": {
        "keras-geometric": ("keras_geometric",),
        "mingru-keras": ("mingru",),
        "scikit-keras": ("scikit_keras",),
        "segmodels-keras": ("segmodels",),
        "keras-matmulless": ("without_products",),
        "kerasfactory": ("kerasfactory",),
        "keras-climate": ("forecasting",),
        "keras-vision": ("keras_vision",),
        "livelossplot": ("livelossplot",),
        "HGQ2": ("hgq_layers",),
        "kgcnn": ("molecules",),
    },
    "families": {
        "zeromodels": ("zeromodels_gpt2", "zeromodels_vit"),
        "medicai": ("medicai_unet",),
        "visualkeras": ("pictures",),
        "rwkv-ops": ("rwkv",),
        "imbalanced-learn": ("balanced",),
        "k3-node": ("graphs",),
    },
}
# Folders of tests that packages come with, which run where Keras has JAX.
OWN = {
    "kimm": ("kimm/_src/layers", "kimm/_src/utils"),
    "keras-mdn-layer": ("keras_mdn_layer/tests",),
    "imbalanced-learn": ("imblearn/keras/tests",),
    "k3-node": tuple(f"k3_node/layers/{x}" for x in ("aggr", "dense", "norm", "pool")),
    # They want torchvision, and some TensorFlow.
    "keras-aug": ("keras_aug/_src/backend",)
    + tuple(f"keras_aug/_src/layers/{x}" for x in ("base", "composition", "vision")),
}
WAYS = {
    "Keras": ([], ""),
    "the module alone": ([], "import sys, lamina; sys.modules['keras'] = lamina"),
    "Lamina": (["-m", "lamina"], ""),
}
# Runs the cases of a program and prints what each returned, or its error.
RUN = """
import importlib.util, json, os, sys, warnings
warnings.simplefilter("ignore")
sys.path.append(os.path.dirname(sys.argv[1]))  # where `shared` is
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
        options, before = WAYS[way]
        runner.write_text(f"{before}\n{RUN}")
        result = subprocess.run(
            [sys.executable, *options, str(runner), str(HERE / f"{program}.py")],
            cwd=folder,
            env={**os.environ, "KERAS_BACKEND": "jax"},
            capture_output=True,
            text=True,
            check=False,
        )
    try:  # some packages print as they end
        lines = [x for x in result.stdout.splitlines() if x.startswith("{")]
        return json.loads(lines[-1])
    except (IndexError, ValueError):
        return {"import": result.stderr[-500:]}


def own_tests(package, way):
    """Return the names of a package's own tests that pass, and of the others."""
    if package not in OWN or way not in ("Keras", "Lamina"):
        return set(), set()
    home = pathlib.Path(importlib.metadata.distribution(package).locate_file(""))
    passed, failed = set(), set()
    for folder in OWN[package]:
        result = subprocess.run(
            [sys.executable, *WAYS[way][0], "-m", "pytest", "-q", "-rA", "--tb=no",
             "-p", "no:cacheprovider", f"--rootdir={home / folder}", "."],
            cwd=home / folder,
            env={**os.environ, "KERAS_BACKEND": "jax"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        for line in result.stdout.splitlines():
            word, _, rest = line.partition(" ")
            if word in ("PASSED", "FAILED", "ERROR"):
                ended = passed if word == "PASSED" else failed
                ended.add(f"{folder}/{rest.partition(' - ')[0]}")
    return passed, failed


def compared(program):
    """Return the rows of the table, and a line for each case that differs."""
    found = {way: outcome(program, way) for way in WAYS}
    theirs, rows, lines = found["Keras"], [], []
    for package, cases in PACKAGES[program].items():
        passing = [
            n for n in theirs if n in (cases or theirs) and "Error: " not in theirs[n]
        ]
        misses = [n for n in passing if found["Lamina"].get(n) != theirs[n]]
        before = sum(found["the module alone"].get(n) == theirs[n] for n in passing)
        known, failed = own_tests(package, "Keras")
        ended, _ = own_tests(package, "Lamina")
        own = f"{len(known & ended)} of {len(known)}" if known else ""
        rows.append(
            f"| {package} {importlib.metadata.version(package)} | {before} of "
            f"{len(passing)} | {len(passing) - len(misses)} of {len(passing)} | {own} |"
        )
        for name in misses:
            text = " ".join(found["Lamina"].get(name, "did not run").split())
            lines.append(f"- {package}, `{name}`: {text[:200]}")
        lines += [f"- {package}, its test `{name}`" for name in sorted(known - ended)]
        for name in [n for n in theirs if n in (cases or theirs) and n not in passing]:
            text = " ".join(theirs[name].split())
            lines.append(f"- {package}, `{name}` fails with Keras too: {text[:120]}")
        if failed:
            lines.append(
                f"- {package}: {len(failed)} of its tests fail with Keras too."
            )
    return rows, lines


def main():
    cli = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    cli.add_argument("programs", nargs="*", default=list(PACKAGES))
    cli.add_argument("--doc", type=pathlib.Path, help="a page to write the table into")
    given = cli.parse_args()
    rows, lines = [], []
    for program in given.programs:
        made, more = compared(program)
        print(*made, *more, sep="\n", flush=True)
        rows += made
        lines += more
    if given.doc:
        before, _, rest = given.doc.read_text().partition("<!-- table -->")
        body, _, after = rest.partition("<!-- end -->")
        named = {_package(line): line for line in [*body.splitlines(), *rows]}
        order = [package for cases in PACKAGES.values() for package in cases]
        rows = [named[f"| {package}"] for package in order if f"| {package}" in named]
        measured = [p for program in given.programs for p in PACKAGES[program]]
        kept = [line for line in body.splitlines() if line.startswith("- ")]
        lines += [x for x in kept if _package(x).removeprefix("- ") not in measured]
        table = [
            "| package | `keras` replaced alone | `python -m lamina` | its own tests |",
            "|---|---|---|---|",
        ]
        body = "\n".join([*table, *rows, "", *lines]).rstrip()
        page = f"{before}<!-- table -->\n{body}\n<!-- end -->{after}"
        given.doc.write_text(page)


def _package(line):
    """Return how a row, or a line below the table, begins: with its package."""
    return " ".join(line.split()[:2]).rstrip(",:")


if __name__ == "__main__":
    main()
