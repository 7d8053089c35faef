"""Counts the package's lines of code by room, and how many of them are logic.

usage: python benchmarks/size.py [CHECKOUT [ROOM]]

Code is every line with a token that is no comment, docstring or line break. What is
left of it without imports, signatures, errors and warnings raised, and export lists
is logic. Of a room each file and folder is counted.
"""

import ast
import io
import sys
import tokenize
from pathlib import Path

SKIPPED = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT,
    tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER,
}  # fmt: skip
WARNINGS = ("warn", "_warn", "warn_once", "_warn_once")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def span(node):
    return range(node.lineno, node.end_lineno + 1)


def is_text(statement):
    """Is this statement a string alone, as docstrings are?"""
    return isinstance(statement, ast.Expr) and isinstance(
        getattr(statement.value, "value", None), str
    )


def around(node):
    """Yield the lines of `node` that are no logic: imports, signatures, messages."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from span(node)
    elif isinstance(node, FUNCTIONS):
        yield from range(node.lineno, node.body[0].lineno)
    elif isinstance(node, ast.Raise) or (
        isinstance(node, ast.Call) and ast.unparse(node.func) in WARNINGS
    ):
        yield from span(node)
    elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in (
        "__all__", "EXPORTS", "_EXPORTS",
    ):  # fmt: skip
        yield from span(node)


def count(path):
    """Return the numbers of lines of code and of logic in one file."""
    text = path.read_text()
    nodes = list(ast.walk(ast.parse(text)))
    docs = {line for node in nodes if is_text(node) for line in span(node)}
    code = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in SKIPPED:
            code.update(range(token.start[0], token.end[0] + 1))
    code -= docs
    return len(code), len(code - {line for node in nodes for line in around(node)})


def main():
    root = Path(sys.argv[1] if sys.argv[1:] else Path(__file__).parents[1])
    package = root.joinpath("src", "lamina", *sys.argv[2:])
    rooms = {}
    for path in sorted(package.rglob("*.py")):
        first = path.relative_to(package).parts[0]
        room = rooms.setdefault(
            first if "." not in first or sys.argv[2:] else "lamina", [0, 0]
        )
        for place, number in enumerate(count(path)):
            room[place] += number
    rooms["all"] = [sum(numbers) for numbers in zip(*rooms.values(), strict=True)]
    print(f"{'':22}{'code':>8}{'logic':>8}")
    for name, (code, logic) in rooms.items():
        print(f"{name:22}{code:8,}{logic:8,}")


if __name__ == "__main__":
    main()
