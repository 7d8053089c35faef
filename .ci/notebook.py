"""Makes a notebook of an example and runs it, as one would cell by cell.

usage: python .ci/notebook.py examples/NAME.py NAME.ipynb [OPTION OF THE EXAMPLE ...]
"""

import ast
import base64
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path


def cells(source):
    """Return the docstring of an example, and its code in the cells of a notebook."""
    tree, lines = ast.parse(source), source.splitlines()
    body = [n for n in tree.body if not isinstance(n, ast.If)][1:]
    starts = []
    for number, node in enumerate(body):
        defines = isinstance(node, (ast.FunctionDef, ast.ClassDef))
        if number == 0 or defines:
            first = min(
                [node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]
            )
            while lines[first - 2].startswith("#"):
                first -= 1
            starts.append(first - 1)
    ends = [*starts[1:], body[-1].end_lineno]
    code = ["\n".join(lines[a:b]).strip() for a, b in zip(starts, ends, strict=True)]
    return ast.get_docstring(tree), code


def outputs(printed, pictures):
    """Return what a cell printed and drew, as a notebook keeps it."""
    found = [{"output_type": "stream", "name": "stdout", "text": printed}]
    for picture in pictures:
        data = {"image/png": base64.b64encode(picture.read_bytes()).decode()}
        found.append({"output_type": "display_data", "data": data, "metadata": {}})
    return found


def main(script, target, *options):
    """Run the cells of a script in turn; write them with the output of the last."""
    docstring, code = cells(script.read_text())
    space = {"__name__": script.stem, "__doc__": docstring}
    title, _, text = docstring.partition("\n")
    made = [{"cell_type": "markdown", "metadata": {}, "source": f"# {title}\n{text}"}]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        last = f"result = main({['--out', 'out', *options]})"
        for number, cell in enumerate([*code, last], start=1):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(cell, f"{script.name}, cell {number}", "exec"), space)
            made.append(
                {
                    "cell_type": "code",
                    "execution_count": number,
                    "metadata": {},
                    "source": cell,
                    "outputs": [],
                }
            )
        made[-1]["outputs"] = outputs(out.getvalue(), sorted(Path("out").glob("*.png")))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, cell in enumerate(made):
        cell["id"] = f"cell-{number}"
    notebook = {
        "cells": made,
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(notebook, indent=1))


if __name__ == "__main__":
    os.environ["COLUMNS"] = "80"
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), *sys.argv[3:])
