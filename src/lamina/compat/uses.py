"""Which names of Keras a program uses, read from its text."""

import ast
import contextlib
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


def uses(program, missing) -> Iterator[tuple[str, str, set]]:
    """Yield each use of a name below `keras`, `tf_keras` or `tensorflow`.

    Args:
        program: a script, in whose folder its own modules are looked for; a folder of
            modules; or the name of an installed package.
        missing: a function that tells whether a name is missing. Where the program
            catches this, what is below the name is left out, too.

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
            bound, bases = modules[home].names, []
            if words[0] not in bound:
                bases = [f"{star}.{words[0]}" for star in modules[home].stars]
            while words and isinstance(bound, dict):  # of the module, then of classes
                bound = bound.get(words[0])
                bases = [bound] if isinstance(bound, str) else bases
                del words[0]
            todo += [".".join([base, *words]) for base in reversed(bases)]
        return None

    excused = {
        full_name(name) for module in modules.values() for name in module.excused
    }

    def is_excused(name):
        words = name.split(".")
        above = (".".join(words[:i]) for i in range(1, len(words)))
        return name in excused or any(x in excused and missing(x, name) for x in above)

    for module in modules.values():
        for used, line, arguments in module.uses:
            name = full_name(used)
            if name is not None and not is_excused(name):
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
        found = [_read(file, root) for file in files]
        return {module.name: module for module in found}
    modules = {"": _read(path, path.parent, name="")}
    todo = list(modules.values())
    while todo:
        for name in todo.pop().imports:
            folder, parts = path.parent, name.split(".")
            for i, part in enumerate(parts, 1):
                folder, inner = folder / part, ".".join(parts[:i])
                for file in (folder / "__init__.py", folder.with_suffix(".py")):
                    if inner not in modules and file.is_file():
                        modules[inner] = _read(file, path.parent)
                        todo.append(modules[inner])
    return modules


def _read(file, root, name=None):
    """Return the module that a file is, in the folder where names begin."""
    with file.open("rb") as opened:
        text = opened.read(bounds.SOURCE + 1)
    if len(text) > bounds.SOURCE:
        raise ValueError(
            f"Not allowed: {str(file)!r} is larger than {readable(bounds.SOURCE)}."
        )
    words = file.relative_to(root).with_suffix("").parts
    whole = words[:-1] if words[-1] == "__init__" else words
    try:
        return Module(text, file, words[:-1], ".".join(whole) if name is None else name)
    except (RecursionError, MemoryError) as error:  # of Python's own parser as well
        raise ValueError(f"{str(file)!r} is nested too deeply.") from error


class Module:
    """A text: what its names stand for, and the names that it uses.

    Attributes:
        file: what it is called.
        name: the module's name.
        names: what its names stand for: a name elsewhere; the names of a class of its
            own; None for anything else.
        imports: the names of modules that it may import.
        stars: modules of which it imports all.
        uses: each name of another module that is used, its line, and the names of the
            arguments where it is called.
        excused: names whose absence it catches, or that it sets.
        guarded: lines where an `ImportError` is caught.
        statements: lines of imports.
    """

    def __init__(self, text, file, package=(), name=""):
        self.file, self.name, self._package = file, name, package
        self.imports, self.stars = set(), []
        self.excused, self.guarded, self.statements = set(), set(), set()
        body = ast.parse(text, str(file)).body
        self.names = self._bound(body, ChainMap())
        self.uses = [*self._visit(body, ChainMap(self.names), frozenset())]

    def _base(self, node):
        """Return the module that a statement `from ... import` names."""
        above = (
            self._package[: len(self._package) - node.level + 1] if node.level else ()
        )
        return ".".join([*above, *filter(None, [node.module])])

    def _bound(self, nodes, outer):
        """Return what the names that statements bind stand for."""
        names = {}
        scope = outer.new_child(names)
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
            elif isinstance(node, ast.ClassDef):
                names[node.name] = {}
            elif isinstance(node, _FUNCTIONS[:2]):
                names.setdefault(node.name, None)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.setdefault(node.id, None)
            elif isinstance(node, ast.ExceptHandler) and node.name:
                names.setdefault(node.name, None)
            elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)):
                for target, value in _assigned(node):
                    stands = _resolved(value, scope)
                    if stands is not None and isinstance(target, ast.Name):
                        names[target.id] = stands
            if not isinstance(node, (*_FUNCTIONS, *_COMPREHENSIONS, ast.ClassDef)):
                todo += reversed(list(ast.iter_child_nodes(node)))
        return names

    def _visit(self, node, names, caught, own=None):
        """Yield the uses in a node, where some errors are caught.

        `own` is the class whose body it is in, and the names around that.
        """
        if isinstance(node, list):
            for one in node:
                yield from self._visit(one, names, caught, own)
            return
        inner = list(ast.iter_child_nodes(node))
        if "ImportError" in caught and isinstance(node, ast.stmt):
            self.guarded |= {*range(node.lineno, (node.end_lineno or node.lineno) + 1)}
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            of = f"{self._base(node)}." if isinstance(node, ast.ImportFrom) else ""
            self.statements.add(node.lineno)
            for one in node.names:
                if "ImportError" in caught:
                    self.excused.add(f"{of}{one.name}")
                if one.name != "*":
                    yield f"{of}{one.name}", node.lineno, set()
            return
        if isinstance(node, (ast.Try, ast.TryStar)):
            kinds = [one.type for one in node.handlers]
            yield from self._visit(node.body, names, caught | _caught(kinds), own)
            inner = [*node.handlers, *node.orelse, *node.finalbody]
        elif isinstance(node, ast.With):
            for call in (one.context_expr for one in node.items):
                if isinstance(call, ast.Call) and _last(call.func) == "suppress":
                    caught |= _caught(call.args)
        elif isinstance(node, (ast.If, ast.IfExp)):
            holds = _holds(node.test, names)
            if holds is not None:
                taken = node.body, node.orelse
                elsewhere, taken = taken[::-1] if holds else taken
                # What it imports there is not to be had here.
                for _ in self._visit(elsewhere, names, caught | {"ImportError"}, own):
                    pass
                inner = [node.test, taken]
        elif isinstance(node, ast.ClassDef):
            held = names.get(node.name)
            held = held if isinstance(held, dict) else {}  # bound twice
            for base in node.bases:
                above = _resolved(base, names)
                held |= above if isinstance(above, dict) else {}
            held |= self._bound(node.body, names)
            yield from self._visit(
                node.body, names.new_child(held), caught, (held, names)
            )
            inner, own = [*node.bases, *node.keywords, *node.decorator_list], None
        elif isinstance(node, _FUNCTIONS):
            yield from self._function(node, names, caught, own)
            return
        elif isinstance(node, _COMPREHENSIONS):
            targets = [one.target for one in node.generators]
            names = names.new_child(self._bound(targets, names))
        elif isinstance(node, ast.Assign):
            for target, value in _assigned(node):
                base, words = _under(target)
                of = _resolved(base, names) if len(words) == 1 else None
                if isinstance(of, dict):
                    of.setdefault(words[0], _resolved(value, names))
        elif isinstance(node, ast.Call):
            asked, name = _asked(node, names), _resolved(node.func, names)
            if asked and (_last(node.func) == "hasattr" or len(node.args) > 2):
                self.excused.add(asked)
            if isinstance(name := asked or name, str):
                yield name, node.lineno, {one.arg for one in node.keywords}
                inner = [*node.args, *node.keywords]
        elif isinstance(name := _resolved(node, names), str):
            sets = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
            if sets or "AttributeError" in caught:
                self.excused.add(name)
            yield name, node.lineno, set()
            return
        elif isinstance(node, ast.Attribute):
            inner = [_under(node)[0]]
        yield from self._visit(inner, names, caught, own)

    def _function(self, node, names, caught, own):
        """Yield the uses in a function: its settings see the names around it."""
        held, around = own or (None, names)
        every = [*node.args.posonlyargs, *node.args.args]
        values = {one.arg: None for one in _arguments(node.args)}
        first = len(every) - len(node.args.defaults)
        given = [*zip(every[first:], node.args.defaults, strict=True)]
        given += zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        values |= {one.arg: _resolved(value, names) for one, value in given if value}
        if every and held is not None:
            values[every[0].arg] = held
        body = node.body if isinstance(node.body, list) else [node.body]
        scope = around.new_child(values)
        values |= self._bound(body, scope)
        yield from self._visit(body, scope, caught)
        hints = [one.annotation for one in _arguments(node.args)]
        hints.append(getattr(node, "returns", None))
        outside = [*node.args.defaults, *node.args.kw_defaults, *map(_unquoted, hints)]
        outside += getattr(node, "decorator_list", ())
        yield from self._visit([one for one in outside if one], names, caught)


def _arguments(node):
    return [one for one in ast.walk(node) if isinstance(one, ast.arg)]


def _unquoted(hint):
    """Return the expression that an annotation is, where it stands in quotes."""
    if isinstance(hint, ast.Constant) and isinstance(hint.value, str):
        with contextlib.suppress(SyntaxError):
            body = ast.parse(hint.value, mode="eval").body
            return ast.copy_location(body, hint)
    return hint


def _assigned(node):
    """Yield the pairs of targets and values of an assignment."""
    todo = [(x, node.value) for x in getattr(node, "targets", ())] or [
        (node.target, node.value)
    ]
    for target, value in todo:
        kinds = ast.Tuple, ast.List
        if isinstance(target, kinds) and isinstance(value, kinds):
            todo += zip(target.elts, value.elts, strict=False)
        elif value is not None:
            yield target, value


def _under(node):
    """Return what the first attribute of `....a.b.c` is of, and the words."""
    words = []
    while isinstance(node, ast.Attribute):
        words.append(node.attr)
        node = node.value
    return node, words[::-1]


def _last(node):
    """Return the last word of `a.b.c`, or None for any other expression."""
    return getattr(node, "attr", getattr(node, "id", None))


def _resolved(node, names):
    """Return the name elsewhere that an expression stands for.

    The names of a class for one of the program's own; None for anything else.
    """
    node, words = _under(node)
    stands = None
    if isinstance(node, ast.Name):
        stands = names.get(node.id)
    elif isinstance(node, ast.NamedExpr):
        stands = _resolved(node.value, names)
    elif isinstance(node, ast.IfExp):
        holds = _holds(node.test, names)
        kept = [node.body] * (holds is not False) + [node.orelse] * (not holds)
        stands = next(filter(None, (_resolved(one, names) for one in kept)), None)
    elif isinstance(node, ast.Call):
        stands = _asked(node, names)
    for word in words:
        if isinstance(stands, dict):
            stands = stands.get(word)
        else:
            stands = f"{stands}.{word}" if stands else None
    return None if isinstance(stands, str) and len(stands) > bounds.NAME else stands


def _asked(node, names):
    """Return what `hasattr`, `getattr` or `import_module` asks for."""
    words = [getattr(one, "value", None) for one in node.args]
    if _last(node.func) in ("import_module", "__import__") and words:
        return words[0] if isinstance(words[0], str) else None
    if _last(node.func) not in ("hasattr", "getattr", "setattr") or not words[1:]:
        return None
    base = _resolved(node.args[0], names)
    if isinstance(base, dict):
        return base.get(words[1])
    return f"{base}.{words[1]}" if base and isinstance(words[1], str) else None


def _holds(test, names):
    """Return whether a condition on Keras' backend holds here; None for any other."""
    if _last(test) == "TYPE_CHECKING":
        return False
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        holds = _holds(test.operand, names)
        return None if holds is None else not holds
    if isinstance(test, ast.BoolOp):
        settles = isinstance(test.op, ast.Or)
        return settles if settles in [_holds(x, names) for x in test.values] else None
    if not isinstance(test, ast.Compare) or test.comparators[1:]:
        return None
    call, value = test.left, test.comparators[0]
    if isinstance(call, ast.Constant):
        call, value = value, call
    name = _resolved(call.func, names) if isinstance(call, ast.Call) else None
    if not isinstance(name, str) or name.partition(".")[0] not in _ROOTS:
        return None
    if not name.endswith(".backend"):
        return None
    with contextlib.suppress(ValueError):
        given = ast.literal_eval(value)
        words = given if isinstance(given, (tuple, list, set)) else [given]
        negated = isinstance(test.ops[0], (ast.NotEq, ast.NotIn))
        return ("jax" in words) != negated
    return None


def _caught(kinds):
    """Return which errors are caught by some kinds; None stands for all."""
    words = {
        _last(one)
        for kind in kinds
        for one in (kind.elts if isinstance(kind, ast.Tuple) else [kind])
    }
    if {None, "Exception", "BaseException"} & words:
        return {"ImportError", "AttributeError"}
    return words | {"ImportError"} if "ModuleNotFoundError" in words else words
