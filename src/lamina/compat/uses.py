"""Which names of Keras a program uses, read from its text."""

import ast
import functools
import importlib.util
from collections import ChainMap
from collections.abc import Iterator
from pathlib import Path

from lamina.core import bounds
from lamina.core.budget import readable

_ROOTS = ("keras", "tf_keras", "tensorflow")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def uses(program) -> Iterator[tuple[str, str, set]]:
    """Yield each use of a name below `keras`, `tf_keras` or `tensorflow`.

    Args:
        program: a script, in whose folder its own modules are looked for; a folder of
            modules; or the name of an installed package.

    Yields:
        The whole name, the place as `file:line`, and the names of the arguments, where
        it is called with such.

    Raises:
        FileNotFoundError: there is no such program.
        SyntaxError: it is not Python.
        ValueError: a file is too large, or nested too deeply.
    """
    modules = _modules(program)

    @functools.cache
    def full_name(name):
        """Follow a name through the program's modules to one of Keras, or to None."""
        before, todo = set(), [name]
        while todo:
            name = todo.pop()
            if name in before or len(name) > bounds.NAME:
                continue  # modules import each other, or themselves below themselves
            before.add(name)
            home, words = name, []
            while home and home not in modules:
                home, _, word = home.rpartition(".")
                words.insert(0, word)
            if not home and words[0] in _ROOTS:
                return name
            if not home or not words:
                continue
            bound, stars = modules[home].names, modules[home].stars
            bases = [f"{star}.{words[0]}" for star in stars]
            if words[0] in bound:
                bases = [bound[words[0]]] if bound[words[0]] else []
            todo += [".".join([base, *words[1:]]) for base in reversed(bases)]
        return None

    excused = {
        full_name(name) for module in modules.values() for name in module.excused
    }
    for module in modules.values():
        for used, line, arguments in module.uses:
            name = full_name(used)
            if name is not None and name not in excused:
                yield name, f"{module.file}:{line}", arguments


def _modules(program):
    """Return the modules of a program by their names."""
    path, folders = Path(program), []
    if not path.exists():
        known = str(program).isidentifier() and importlib.util.find_spec(str(program))
        folders = list(known.submodule_search_locations or ()) if known else []
        if not known or not (folders or known.origin):
            raise FileNotFoundError(f"There is no file, folder or package {program!s}.")
        path = Path(folders[0] if folders else str(known.origin))
    if path.is_dir():
        package = folders or (path / "__init__.py").exists()
        root = path.parent if package else path
        files = [file for file in sorted(path.rglob("*.py")) if file.is_file()]
        found = [_Module(file, root) for file in files]
        return {module.name: module for module in found}
    modules = {"": _Module(path, path.parent, name="")}
    todo = list(modules.values())
    while todo:
        for name in todo.pop().imports:
            folder, parts = path.parent, name.split(".")
            for i, part in enumerate(parts, 1):
                folder, inner = folder / part, ".".join(parts[:i])
                for file in (folder / "__init__.py", folder.with_suffix(".py")):
                    if inner not in modules and file.is_file():
                        modules[inner] = _Module(file, path.parent)
                        todo.append(modules[inner])
    return modules


class _Module:
    """A file: what its names stand for, and the names that it uses."""

    def __init__(self, file, root, name=None):
        self.file = file
        with file.open("rb") as opened:
            text = opened.read(bounds.SOURCE + 1)
        if len(text) > bounds.SOURCE:
            raise ValueError(
                f"Not allowed: {str(file)!r} is larger than {readable(bounds.SOURCE)}."
            )
        words = file.relative_to(root).with_suffix("").parts
        self._package = words[:-1]
        whole = words[:-1] if words[-1] == "__init__" else words
        self.name = ".".join(whole) if name is None else name
        self.imports, self.stars, self.excused = set(), [], set()
        try:
            body = ast.parse(text, str(file)).body
            self.names = self._bound(body, ChainMap())
            # Each name that is used, its line and the arguments of a call.
            self.uses = [*self._visit(body, ChainMap(self.names), set())]
        except (RecursionError, MemoryError) as error:  # of Python's own parser as well
            raise ValueError(f"{str(file)!r} is nested too deeply.") from error

    def _base(self, node):
        """Return the module that a statement `from ... import` names."""
        above = (
            self._package[: len(self._package) - node.level + 1] if node.level else ()
        )
        return ".".join([*above, *filter(None, [node.module])])

    def _bound(self, nodes, outer):
        """Return what the names that statements bind stand for: None, if their own."""
        names = {}
        todo = list(reversed(nodes))
        while todo:
            node = todo.pop()
            if isinstance(node, ast.Import):
                for one in node.names:
                    self.imports.add(one.name)
                    first = one.name.partition(".")[0]
                    names[one.asname or first] = one.name if one.asname else first
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                for one in node.names:
                    self.imports |= {base, f"{base}.{one.name}"}
                    if one.name == "*":
                        self.stars.append(base)
                    else:
                        names[one.asname or one.name] = f"{base}.{one.name}"
            elif isinstance(node, (*_FUNCTIONS[:2], ast.ClassDef)):
                names.setdefault(node.name, None)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.setdefault(node.id, None)
            elif isinstance(node, ast.ExceptHandler) and node.name:
                names.setdefault(node.name, None)
            elif isinstance(node, ast.Assign) and (chain := _chain(node.value)):
                base = ChainMap(names, outer).get(chain[0])
                base = base and ".".join([base, *chain[1:]])
                for target in node.targets:
                    if base and isinstance(target, ast.Name):
                        names[target.id] = base if len(base) <= bounds.NAME else None
            if not isinstance(node, (*_FUNCTIONS, *_COMPREHENSIONS, ast.ClassDef)):
                todo += reversed(list(ast.iter_child_nodes(node)))
        return names

    def _visit(self, node, names, caught):
        """Yield the uses in a node, where some errors are caught."""
        if isinstance(node, list):
            for one in node:
                yield from self._visit(one, names, caught)
            return
        inner = list(ast.iter_child_nodes(node))
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            of = f"{self._base(node)}." if isinstance(node, ast.ImportFrom) else ""
            for one in node.names:
                if "ImportError" in caught:
                    self.excused.add(f"{of}{one.name}")
                elif ".src." in f"{of}{one.name}." and (not of or one.name.islower()):
                    continue  # a module, or a function: what is done with it tells
                elif one.name != "*":
                    yield f"{of}{one.name}", node.lineno, set()
            return
        if isinstance(node, ast.Try):
            yield from self._visit(node.body, names, caught | _caught(node.handlers))
            inner = [*node.handlers, *node.orelse, *node.finalbody]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            inner = node.orelse
        elif isinstance(node, _FUNCTIONS):
            own = {
                one.arg: None
                for one in ast.iter_child_nodes(node.args)
                if isinstance(one, ast.arg)
            }
            body = node.body if isinstance(node.body, list) else [node.body]
            scope = names.new_child(own)
            own |= self._bound(body, scope)
            yield from self._visit(body, scope, caught)
            inner = [node.args, *getattr(node, "decorator_list", ())]
        elif isinstance(node, _COMPREHENSIONS):
            targets = [one.target for one in node.generators]
            names = names.new_child(self._bound(targets, names))
        elif isinstance(node, ast.Call):
            asked = self._asked(node, names)
            if asked and (_chain(node.func) == ["hasattr"] or len(node.args) > 2):
                self.excused.add(asked)
            chain = asked or _full_name(node.func, names)
            if chain:
                yield chain, node.lineno, {one.arg for one in node.keywords}
                inner = [*node.args, *node.keywords]
        elif chain := _full_name(node, names):
            if "AttributeError" in caught:
                self.excused.add(chain)
            yield chain, node.lineno, set()
            return
        elif isinstance(node, ast.Attribute):
            inner = [_under(node)]
        yield from self._visit(inner, names, caught)

    def _asked(self, node, names):
        """Return the name that `hasattr` or `getattr` asks for in a call."""
        if _chain(node.func) in (["hasattr"], ["getattr"]) and len(node.args) > 1:
            word = getattr(node.args[1], "value", None)
            base = _full_name(node.args[0], names)
            return f"{base}.{word}" if base and isinstance(word, str) else None
        return None


def _chain(node):
    """Return the words of `a.b.c`, or nothing for any other expression."""
    words = []
    while isinstance(node, ast.Attribute):
        words.append(node.attr)
        node = node.value
    return [node.id, *reversed(words)] if isinstance(node, ast.Name) else []


def _under(node):
    """Return what the first attribute of `....a.b.c` is of."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node


def _full_name(node, names):
    """Return what `a.b.c` stands for, or None where its first word is the program's."""
    words = _chain(node)
    base = names.get(words[0]) if words else None
    return ".".join([base, *words[1:]]) if base else None


def _caught(handlers):
    """Return which of two errors some handlers catch."""
    kinds = [ast.unparse(one.type) if one.type else "Exception" for one in handlers]
    words = {word.strip("() ") for kind in kinds for word in kind.split(",")}
    if "Exception" in words:
        return {"ImportError", "AttributeError"}
    return words | {"ImportError"} if "ModuleNotFoundError" in words else words
