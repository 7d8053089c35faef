"""A name with an underscore is used in the room that defines it.

Between rooms a function is asked, such as `graph_of(model)`; a class may use what it
inherits.
"""

import ast
import collections
import pathlib

import lamina

ROOT = pathlib.Path(lamina.__file__).parent
ROOM = {p: p.relative_to(ROOT).parts[0] for p in sorted(ROOT.rglob("*.py"))}
# Of named tuples, Python, JAX, and data sets of TensorFlow.
NOT_OURS = frozenset(
    """_asdict _fields _replace _exit _getframe _current_frames _run_module_as_main
    _cache_size _iter _batch_size""".split()
)
BY_NAME = ("getattr", "hasattr", "setattr", "delattr")


def is_private(name):
    return name[:1] == "_" and name[:2] != "__" and name != "_" and name.isidentifier()


def defined(node):
    """Yield the names that a statement or target defines."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield node.attr
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id


def used(node):
    """Yield the names that an expression takes from something else."""
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lamina."):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.Attribute):
        if ast.unparse(node.value) not in ("self", "cls", "super()"):
            yield node.attr
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in BY_NAME:
        name = node.args[1]
        if isinstance(name, ast.Constant) and ast.unparse(node.args[0]) != "self":
            yield name.value


def crossing():
    """Return `name -> places` for names that are used where they are not defined."""
    nodes = {p: list(ast.walk(ast.parse(p.read_text()))) for p in ROOM}
    rooms = collections.defaultdict(set)
    for path, found in nodes.items():
        for node in found:
            for name in defined(node):
                rooms[name].add(ROOM[path])
    places = collections.defaultdict(list)
    for path, found in nodes.items():
        for node in found:
            for name in filter(is_private, used(node)):
                if ROOM[path] not in rooms[name] and name not in NOT_OURS:
                    places[name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return places


def test_no_private_name_crosses_rooms():
    assert not crossing()
