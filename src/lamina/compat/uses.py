"""Which names of Keras a program uses, read from its text.

A name is followed by `?` where the program catches that it is missing: what is below it
is then left out.
"""

import ast
import contextlib
import functools
import itertools
import operator
import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from lamina.compat.names import PACKAGE, VERSION
from lamina.core import bounds
from lamina.core.budget import readable

_ROOTS = ("keras", "tf_keras", "tensorflow")
_SCRIPT = "__main__"
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_LEAVES = (ast.Constant, ast.expr_context, ast.operator, ast.cmpop)
_ENDS = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_COMPARED = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt,
    ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Is: operator.is_, ast.IsNot: operator.is_not,
    ast.In: lambda x, y: x in y, ast.NotIn: lambda x, y: x not in y,
}  # fmt: skip
_METHODS = ("endswith", "lower", "split", "startswith", "strip")
_PLAIN = {"bool": bool, "float": float, "int": int, "str": str, "tuple": tuple}
_ABSENT = {"AttributeError", "ImportError", "ModuleNotFoundError"}
_ANCESTORS = 100
_PARTS = {"major": 0, "minor": 1, "micro": 2, "release": slice(3)}
_TYPING = "TYPE_CHECKING"
_CHOSEN = "KERAS_BACKEND"
_TENSORFLOW = "2.16.0"  # the first with Keras 3
_VERSIONS = ("LooseVersion", "StrictVersion", "Version", "parse", "parse_version")


class _Known(NamedTuple):
    """What a name stands for: a value that follows from Keras' backend or version."""

    value: Any


class _Returned(_Known):
    """What a function stands for that returns such a value."""


class _Version(tuple):
    """The three numbers of a version that a program has parsed."""


class _Starred(dict):
    """The names that a module may have by `import *`: any, if it is there."""

    def __init__(self, module):
        self.module = module

    def __contains__(self, name):
        return bool(self.module.stars)

    def __missing__(self, name):
        return f"{self.module.name}.{name}?"


class _UnknownError(Exception):
    """An expression hangs on something else."""


def plain(name: str) -> str:
    """Return a name without its marks."""
    return name.replace("?", "")


def uses(program, missing) -> Iterator[tuple[str, str, set]]:
    """Yield each use of a name below `keras`, `tf_keras` or `tensorflow`.

    Left out is what does not run here: branches for another backend or version, or for
    a name that is missing. What is caught is left out where it is caught. A name that
    a file assigns (`keras.layers.Own = ...`) as it is imported is left out in all files
    that may be loaded along with it; one that a function assigns, in its own file.

    Args:
        program: a script, in whose folder its own modules are looked for; a folder of
            modules; or the name of an installed package.
        missing: a function that tells whether a name is missing, for one below it.

    Yields:
        The whole name, the place as `file:line`, and the names of the arguments, where
        it is called with such. For a file that cannot be read: `""`, the place, and
        what is wrong with it.

    Raises:
        FileNotFoundError: there is no such program.
        SyntaxError: the program is a file that is not Python.
        ValueError: it is a file that is too large, or nested too deeply.
    """
    failed: dict[Path, Exception] = {}
    modules = _modules(program, failed)
    found: dict = {}

    def follow(name):
        if name not in found or None in bound:
            found[name] = _followed(name, modules, missing)
        return found[name]

    bound = [None]  # names are not bound yet
    for module in modules.values():
        module.follow, module.missing = follow, missing
    for module in modules.values():
        with _noting(module.file, failed):
            module.names  # noqa: B018
    bound.clear()
    used: dict = {}
    for name, module in modules.items():
        used[name] = []
        with _noting(module.file, failed):
            used[name] = module.uses
        if module.file in failed:
            module.loaded |= module.imports
    for file, error in failed.items():
        if file == Path(program):
            raise error
        line = getattr(error, "lineno", None) or 1
        yield "", f"{file}:{line}", {getattr(error, "msg", str(error))}
    assigned = _assignments(modules, follow)
    unloaded = _unloaded(modules)
    for name, module in modules.items():
        if name in unloaded:
            continue
        excused = {plain(str(follow(one))) for one in module.excused}
        excused |= assigned.get(name, set())
        for one, line, arguments in used[name]:
            whole = follow(one)
            if not isinstance(whole, str):
                continue
            short, words = plain(whole), whole.split(".")
            above = [".".join(words[: i + 1]) for i in range(len(words))]
            caught = {plain(x) for x in above if x[-1] == "?" or x in excused}
            caught |= {plain(x) for x in above} & excused
            if not any(missing(x, short) for x in caught):
                yield short, f"{module.file}:{line}", arguments


def _followed(name, modules, missing):
    """Follow a name through a program's modules to what it stands for.

    That is a name of Keras, a `_Known`, the names of a class, or None. Of several
    modules of which all is imported, it is in the first that has it.
    """
    before, todo = set(), [name]
    while todo:
        name = todo.pop()
        if name in before or len(name) > bounds.NAME:
            continue  # modules import each other, or themselves below themselves
        before.add(name)
        words = name.split(".")
        home = plain(name)
        while home and home not in modules:
            home = home.rpartition(".")[0]
        if not home and plain(words[0]) in _ROOTS:
            return name
        del words[: home.count(".") + 1]
        if not home or not words:
            continue
        bound, bases = modules[home].names, []
        if plain(words[0]) not in bound:
            word = words.pop(0)
            bases = [f"{star}.{word}" for star in modules[home].stars]
            bases.sort(key=lambda x: not _is_there(x, modules, missing))
        while words and not bases and isinstance(bound, Mapping):  # or of a class
            word = words.pop(0)
            bound = bound.get(plain(word))
            if isinstance(bound, str):
                bases = [bound + word[len(plain(word)) :]]
        if isinstance(bound, (_Known, ChainMap)) and not words:
            return bound
        todo += [".".join([base, *words]) for base in reversed(bases)]
    return None


def _is_there(name, modules, missing):
    """Tell whether a name by `import *` is of the program, or one that Keras has."""
    star = name.rpartition(".")[0]
    of_keras = star not in modules and star.partition(".")[0] in _ROOTS
    return not (of_keras and missing(plain(name), plain(name)))


def _assignments(modules, follow):
    """Return the names of Keras that a program assigns, by the modules they are in."""
    found: dict[str, set] = {}
    loads = _loads(modules, "imports")
    loaders: dict[str, set] = {}
    for one, wanted in loads.items():
        for other in wanted:
            loaders.setdefault(other, set()).add(one)
    for name, module in modules.items():
        at_once = any(not later for _, later in module.assigned)
        beside = _reached(_reached({name}, loaders), loads) if at_once else ()
        for one, later in module.assigned:
            if isinstance(whole := follow(one), str):
                for other in [name] if later else beside:
                    found.setdefault(other, set()).add(plain(whole))
    return found


def _unloaded(modules):
    """Return the modules of a program that nothing imports but what does not run."""
    every, loads = _loads(modules, "imports"), _loads(modules, "loaded")
    below = {name: loads[name] - {*_above(name)} for name in modules}
    doubtful = _reached(set().union(*(every[x] - loads[x] for x in every)), below)
    return doubtful - _reached(modules.keys() - doubtful, loads)


def _loads(modules, kind):
    """Return the modules of a program that each of them imports, and those above."""
    found = {}
    for name, module in modules.items():
        wanted = map(_above, (name, *getattr(module, kind)))
        found[name] = modules.keys() & {*itertools.chain(*wanted)}
    return found


def _above(name):
    return itertools.accumulate(name.split("."), "{}.{}".format)


def _reached(starts, edges):
    """Return what there is behind edges from some nodes, these among it."""
    found, todo = set(), [*starts]
    while todo:
        if (one := todo.pop()) not in found:
            found.add(one)
            todo += edges.get(one, ())
    return found


def _modules(program, failed):
    """Return the modules of a program by their names."""
    path, folders, modules = Path(program), [], {}
    if not path.exists():
        known = str(program).isidentifier() and find_spec(str(program))
        folders = list(known.submodule_search_locations or ()) if known else []
        if not known or not (folders or known.origin):
            raise FileNotFoundError(f"There is no file, folder or package {program!s}.")
        path = Path(folders[0] if folders else str(known.origin))
    if path.is_dir():
        package = folders or (path / "__init__.py").exists()
        root = path.parent if package else path
        files = [file for file in sorted(path.rglob("*.py")) if file.is_file()]
        for file in files:
            with _noting(file, failed):
                module = _read(file, root)
                modules[module.name] = module
        return modules
    with _noting(path, failed):
        modules[_SCRIPT] = _read(path, path.parent, name=_SCRIPT)
    todo = [*modules.values()]
    while todo:
        for name in todo.pop().imports:
            folder, parts = path.parent, name.split(".")
            for i, part in enumerate(parts, 1):
                folder, inner = folder / part, ".".join(parts[:i])
                for file in (folder / "__init__.py", folder.with_suffix(".py")):
                    if inner not in modules and file.is_file():
                        with _noting(file, failed):
                            modules[inner] = _read(file, path.parent)
                            todo.append(modules[inner])
    return modules


def _read(file, root, name=None):
    """Return the module that a file is, in the folder where names begin."""
    with file.open("rb") as opened:
        text = opened.read(bounds.SOURCE + 1)
    if len(text) > bounds.SOURCE:
        raise ValueError(f"larger than {readable(bounds.SOURCE)}")
    words = file.relative_to(root).with_suffix("").parts
    if name is None:
        name = ".".join(words[:-1] if words[-1] == "__init__" else words)

    @functools.cache
    def whole(wanted):
        first = wanted.partition(".")[0]
        for start in starts:
            inner = start / first
            if inner.is_dir() or inner.with_suffix(".py").is_file():
                return ".".join([*start.relative_to(root).parts, wanted])
        return wanted

    own = file.parent
    while own != root and (own / "__init__.py").exists():
        own = own.parent
    starts = [one for one in (own, root / "src") if one != root and one.is_dir()]
    return Module(text, file, words[:-1], name, whole)


@contextlib.contextmanager
def _noting(file, failed):
    """Note why a file cannot be read, instead of raising it."""
    try:
        yield
    except SyntaxError as error:
        error.filename, error.lineno = str(file), error.lineno or 1
        failed[file] = error
    except (RecursionError, MemoryError, ValueError) as error:
        why = str(error) if isinstance(error, ValueError) else "nested too deeply"
        failed[file] = ValueError(f"Not allowed: {str(file)!r}: {why}.")


class Module:
    """A text: what its names stand for, and the names that it uses.

    Attributes:
        file: what it is called.
        name: the module's name.
        imports: the names of modules that it may import.
        loaded: those whose import may run here.
        stars: modules of which it imports all.
        excused: modules whose import it catches, and whose whole names it uses.
        assigned: names elsewhere that it assigns, and whether a function does so.
        guarded: lines where an `ImportError` is caught, or that do not run here.
        statements: lines of imports.
        follow: a function that follows a name through the program's modules.
        missing: one that tells whether a name is missing, for one below it.
    """

    def __init__(self, text, file, package=(), name="", whole=None):
        self.file, self.name = file, name
        self._package, self._whole = package, whole or str
        self.imports, self.loaded = set(), set()
        self.stars, self.assigned = [], []
        self.excused, self.guarded, self.statements = set(), set(), set()
        self.follow: Callable[[str], Any] = str
        self.missing: Callable[[str, str], bool] | None = None
        self._facts = self._functions = 0
        self._names, self._classes = None, {}
        self._body = ast.parse(text, str(file)).body
        self._note(self._body, self.imports)

    @property
    def names(self):
        """What its names stand for.

        That is a name elsewhere, the names of a class of its own, a value that is
        known, or None for anything else.
        """
        if self._names is None:  # else it is being bound, if modules import each other
            self._names = {}
            self._bound(self._body, ChainMap(_Starred(self)), self._names)
        return self._names

    @property
    def uses(self):
        """Each use of a name elsewhere, its line, and the arguments of a call."""
        names = ChainMap(self.names, _Starred(self))
        return [*self._visit(self._body, names, frozenset())]

    def _note(self, body, imports):
        """Note the modules that statements may import."""
        for node in ast.walk(ast.Module(body, [])):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                imports |= self._imported(node)

    def _imported(self, node):
        if isinstance(node, ast.Import):
            return {self._whole(one.name) for one in node.names}
        base = self._base(node)
        return {base, *(f"{base}.{one.name}" for one in node.names)}

    def _base(self, node):
        """Return the module that a statement `from ... import` names."""
        if not node.level:
            return self._whole(node.module)
        above = self._package[: len(self._package) - node.level + 1]
        return ".".join([*above, *filter(None, [node.module])])

    def _present(self, name):
        """Tell whether there is what a name stands for; None: it is not known."""
        name = self.follow(name) if isinstance(name, str) else None
        if self.missing is None or not isinstance(name, str):
            return None
        if plain(name) == "tensorflow":  # what asks for it may find its Keras
            return None
        return not self.missing(plain(name), plain(name))

    def _bound(self, nodes, outer, names=None):
        """Return what the names that statements bind stand for."""
        names = {} if names is None else names
        scope = outer.new_child(names)

        def bind(name, stands, under):
            held = names.get(name)
            if isinstance(held, _Known) and held != stands:
                names[name] = None
            elif under != "else" or not held or self._present(held) is False:
                caught = "?" * (under == "?" and isinstance(stands, str))
                names[name] = f"{stands}{caught}" if caught else stands

        todo, outward = [(node, "") for node in reversed(nodes)], []
        while todo:
            node, under = todo.pop()
            inner = [(one, under) for one in ast.iter_child_nodes(node)]
            if isinstance(node, ast.Import):
                for one in node.names:
                    first = one.name.partition(".")[0]
                    whole = self._whole(one.name)
                    if one.asname or one.name == first:
                        bind(one.asname or first, whole, under)
                    else:
                        whole = whole.removesuffix(one.name[len(first) :])
                        bind(first, whole, "else" * (under == "else"))
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                for one in node.names:
                    if one.name == "*":
                        self.stars.append(base)
                    else:
                        bind(one.asname or one.name, f"{base}.{one.name}", under)
            elif isinstance(node, ast.ClassDef):
                held = names.get(node.name)
                held = held if isinstance(held, ChainMap) else ChainMap({})
                names[node.name] = self._classes[node] = held
                for base in node.bases:
                    above = _resolved(base, scope)
                    above = self.follow(above) if isinstance(above, str) else above
                    if isinstance(above, ChainMap):
                        every = {id(one): one for one in [*held.maps, *above.maps]}
                        held.maps = [*every.values()][:_ANCESTORS]
                self._bound(node.body, scope, held.maps[0])
            elif isinstance(node, _FUNCTIONS[:2]):
                kinds, returned = (ast.Global, ast.Nonlocal), None
                declared = [one for one in node.body if isinstance(one, kinds)]
                plainly = not _arguments(node.args) and not node.decorator_list
                plainly = plainly and isinstance(node.body[-1], (ast.If, ast.Return))
                within = self._bound(node.body, scope) if plainly or declared else {}
                outward += [(one, within) for one in declared]
                before = self._facts
                with contextlib.suppress(Exception):
                    value = _flat(self._returned(node.body, scope.new_child(within)))
                    if plainly and self._facts > before:
                        returned = _Returned(value)
                bind(node.name, returned, under)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.setdefault(node.id, None)
            elif isinstance(node, (ast.Try, ast.TryStar)):
                caught = _settled(node)
                ends = self._ends(node.body, scope)
                known = "known" if ends == "" else under
                inner = [
                    (one, "?" if caught & _ABSENT and ends != "" else known)
                    for one in node.body
                ]
                if ends != "":
                    under_it = "known" if ends in caught else "else"
                    inner += [(one, under_it) for one in node.handlers]
                if ends not in caught:
                    inner += [(one, known) for one in node.orelse]
                inner += [(one, under) for one in node.finalbody]
            elif isinstance(node, ast.With) and _suppressed(node) & _ABSENT:
                inner = [(one, "?") for one in ast.iter_child_nodes(node)]
            elif isinstance(node, (ast.If, ast.Match)):
                taken, _ = self._branches(node, scope)
                inner = [(one, under) for one in taken]
            elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)):
                for target, value in _assigned(node):
                    stands = self._stands(value, scope)
                    if under == "known" and isinstance(value, ast.Constant):
                        stands = _Known(value.value)
                    if isinstance(target, ast.Name) and stands is not None:
                        bind(target.id, stands, under)
                    elif isinstance(target, ast.Name):
                        known = isinstance(names.get(target.id), _Known)
                        names[target.id] = None if known else names.get(target.id)
            if isinstance(node, ast.ExceptHandler) and node.name:
                names.setdefault(node.name, None)
            if not isinstance(node, (*_FUNCTIONS, *_COMPREHENSIONS, ast.ClassDef)):
                todo += reversed(inner)
        for one, within in outward:
            held = self._names if isinstance(one, ast.Global) else names
            for name in one.names:
                if held is not None and held.get(name) is None:
                    held[name] = within.get(name)
        return names

    def _branches(self, node, names):
        """Return what of an `if` or `match` may run here, and what does not.

        Where that hangs on something else, it is all of it, and None.
        """
        if isinstance(node, ast.Match):
            return self._cases(node, names)
        holds = self._holds(node.test, names)
        both = [
            one if isinstance(one, list) else [one] for one in (node.body, node.orelse)
        ]
        if holds is None:
            return [node.test, *both[0], *both[1]], None
        return [node.test, *both[not holds]], both[holds]

    def _cases(self, node, names):
        taken, elsewhere = [node.subject], []
        value, settled = self._value_or_none(node.subject, names), False
        for case in node.cases:
            kinds = getattr(case.pattern, "patterns", [case.pattern])
            known = [
                self._value_or_none(getattr(x, "value", None), names) for x in kinds
            ]
            fits = value in known if value is not None and all(known) else None
            runs = not settled and fits is not False
            (taken if runs else elsewhere).extend(case.body)
            settled = settled or (fits is True and case.guard is None)
        return taken, elsewhere if settled else None

    def _holds(self, test, names):
        """Return whether a condition holds here, or None where that is not known."""
        try:
            return bool(self._value(test, names))
        except Exception:  # whatever this value does not allow, too
            return None

    def _value_or_none(self, node, names):
        try:
            return self._value(node, names)
        except Exception:
            return None

    def _value(self, node, names) -> Any:
        """Return what an expression on Keras' backend, version or names is here."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            return tuple(self._value(one, names) for one in node.elts)
        if isinstance(node, ast.Attribute) and node.attr in _PARTS:
            value = self._value_or_none(node.value, names)
            if isinstance(value, _Version):
                return value[_PARTS[node.attr]]
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self._fact(node, names)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return not self._value(node.operand, names)
        if isinstance(node, ast.NamedExpr):
            return self._value(node.value, names)
        if isinstance(node, ast.BoolOp):
            settles, unknown, value = isinstance(node.op, ast.Or), False, None
            for one in node.values:
                try:
                    value = self._value(one, names)
                except Exception:
                    unknown = True
                    continue
                if bool(value) is settles:
                    return settles if unknown else value
            if not unknown:
                return value
        if isinstance(node, _COMPREHENSIONS) and not node.generators[1:]:
            return tuple(self._looped(node, node.generators[0], names))
        if isinstance(node, ast.Compare) and not node.comparators[1:]:
            sides = [self._value(x, names) for x in (node.left, *node.comparators)]
            return _COMPARED[type(node.ops[0])](*sides)
        if isinstance(node, ast.Subscript):
            if isinstance(node.slice, ast.Slice):
                ends = (node.slice.lower, node.slice.upper, node.slice.step)
                index = slice(*(one and self._value(one, names) for one in ends))
            else:
                index = self._value(node.slice, names)
            if index == _CHOSEN and _last(node.value) == "environ":
                return self._told("jax")
            return self._value(node.value, names)[index]
        if isinstance(node, ast.Call):
            return self._called(node, names)
        raise _UnknownError

    def _fact(self, node, names):
        """Return what a name that is known stands for."""
        if _last(node) == _TYPING:
            return False
        stands = _resolved(node, names)
        stands = self.follow(stands) if isinstance(stands, str) else stands
        if isinstance(stands, str) and PACKAGE.match(stands):
            if stands.endswith(".__version__"):
                stands = _Known(VERSION)
        elif stands == "tensorflow.__version__":
            stands = _Known(_TENSORFLOW)
        if not isinstance(stands, _Known) or isinstance(stands, _Returned):
            raise _UnknownError
        return self._told(stands.value)

    def _told(self, value):
        self._facts += 1
        return value

    def _before_settled(self, node, names):
        """Return the operands of `and` or `or` up to the one that settles it."""
        held = [self._holds(one, names) for one in node.values]
        settles = isinstance(node.op, ast.Or)
        return node.values[: held.index(settles) + 1 if settles in held else None]

    def _looped(self, node, loop, names):
        inner = [one for x in (node.elt, *loop.ifs) for one in ast.walk(x)]
        if any(isinstance(one, _COMPREHENSIONS) for one in inner):
            raise _UnknownError  # it may take without end
        for value in self._value(loop.iter, names):
            inner = names.new_child({loop.target.id: _Known(value)})
            if all(self._value(one, inner) for one in loop.ifs):
                yield self._value(node.elt, inner)

    def _returned(self, body, names):
        """Return what a function without arguments returns here."""
        for one in body:
            if isinstance(one, ast.Return):
                return self._value(one.value, names)
            if isinstance(one, ast.If):
                taken = one.body if self._value(one.test, names) else one.orelse
                with contextlib.suppress(StopIteration):
                    return self._returned(taken, names)
            elif not isinstance(one, (ast.Import, ast.ImportFrom)) and not isinstance(
                getattr(one, "value", None), ast.Constant
            ):
                raise _UnknownError
        raise StopIteration

    def _called(self, node, names):
        """Return what a call gives here."""
        last, asked = _last(node.func), _asked(node, names)
        if last == "hasattr" and (found := self._present(asked)) is not None:
            return self._told(found)
        stands = _resolved(node.func, names)
        stands = self.follow(stands) if isinstance(stands, str) else stands
        facts = {"backend": "jax", "version": VERSION}
        if isinstance(stands, _Returned):
            return self._told(stands.value)
        if last in facts and isinstance(stands, str) and PACKAGE.match(stands):
            return self._told(facts[last])
        if last == "map" and _last(node.args[0]) == "int":
            return tuple(map(int, self._value(node.args[1], names)))
        given = [self._value(one, names) for one in node.args]
        if last in ("get", "getenv") and given[0] == _CHOSEN:
            return self._told("jax")
        if last == "version" and given == ["keras"]:  # of `importlib.metadata`
            return self._told(VERSION)
        if last in _PLAIN and isinstance(node.func, ast.Name):
            return _PLAIN[last](*given)
        if last in _VERSIONS:
            numbers = map(int, re.findall(r"\d+", given[0]))
            return _Version([*numbers, 0, 0, 0][:3])
        if last in _METHODS and isinstance(node.func, ast.Attribute):
            return getattr(self._value(node.func.value, names), last)(*given)
        raise _UnknownError

    def _stands(self, value, names):
        """Return what an expression stands for: for a value that is known, that."""
        before = self._facts
        if not isinstance(value, (ast.Tuple, ast.List)):
            with contextlib.suppress(Exception):
                known = _Known(_flat(self._value(value, names)))
                if self._facts > before:
                    return known
        if isinstance(value, ast.IfExp):
            kept, _ = self._branches(value, names)
            found = (self._stands(one, names) for one in kept if one is not value.test)
            return next(filter(None, found), None)
        return _resolved(value, names)

    def _ends(self, body, names):
        """Return the error with which what a `try` runs ends, `""` where with none.

        That is known where all before are names that are there; else it is None.
        """
        names = names.new_child()
        for one in body:
            value = getattr(one, "value", None)
            if isinstance(one, (ast.Import, ast.ImportFrom)):
                of = f"{self._base(one)}." if isinstance(one, ast.ImportFrom) else ""
                wanted = [f"{of}{x.name}" for x in one.names]
            elif isinstance(one, (ast.Assign, ast.Expr)) and (
                isinstance(value, (ast.Name, ast.Attribute))
            ):
                wanted = [_resolved(value, names)]
            else:
                known = isinstance(value, ast.Constant)
                known = known or self._value_or_none(value, names) is not None
                wanted = [] if known else [None]
            found = [self._present(name) for name in wanted]
            if not all(found):
                imports = isinstance(one, (ast.Import, ast.ImportFrom))
                error = "ImportError" if imports else "AttributeError"
                return error if False in found and None not in found else None
            self._bound([one], names, names.maps[0])
        return ""

    def _visit(self, node, names, caught, own=None):
        """Yield the uses in a node, where some errors are caught.

        `own` is the class whose body it is in, and the names around that.
        """
        if isinstance(node, list):
            for i, one in enumerate(node):
                if isinstance(one, _LEAVES):
                    continue
                yield from self._visit(one, names, caught, own)
                if isinstance(one, (ast.If, ast.Match)):
                    taken, elsewhere = self._branches(one, names)
                    ends = elsewhere is not None and any(map(_leaves, taken))
                else:
                    ends = isinstance(one, ast.Assert) and (
                        self._holds(one.test, names) is False
                    )
                if ends:
                    self._skip(node[i + 1 :])
                    return
            return
        inner = list(ast.iter_child_nodes(node))
        if isinstance(node, (*_FUNCTIONS[:2], ast.ClassDef)) and any(
            self._skips(one, names) for one in node.decorator_list
        ):
            self._skip(node.body)
            yield from self._visit(node.decorator_list, names, caught, own)
            return
        if "ImportError" in caught and isinstance(node, ast.stmt):
            self._skip([node])
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            of = f"{self._base(node)}." if isinstance(node, ast.ImportFrom) else ""
            self.loaded |= self._imported(node)
            self.statements.add(node.lineno)
            mark = "?" * ("ImportError" in caught)
            for one in node.names:
                if mark and not of and "." in one.name and not one.asname:
                    self.excused.add(one.name)
                if one.name != "*":
                    yield f"{of}{one.name}{mark}", node.lineno, set()
            return
        if isinstance(node, (ast.Try, ast.TryStar)):
            kinds = _caught([one.type for one in node.handlers])
            self._skip(node.body if "ImportError" in kinds else ())
            yield from self._visit(node.body, names, caught | _settled(node), own)
            ends = self._ends(node.body, names)
            dead = kinds <= _ABSENT and ends == ""
            if ends not in kinds:
                yield from self._visit(node.orelse, names, caught, own)
            inner = [*([] if dead else node.handlers), *node.finalbody]
        elif isinstance(node, ast.With):
            caught |= _suppressed(node)
        elif isinstance(node, ast.BoolOp):
            inner = self._before_settled(node, names)
        elif isinstance(node, ast.While) and self._holds(node.test, names) is False:
            inner = [node.test, *node.orelse]
        elif isinstance(node, (ast.If, ast.IfExp, ast.Match)):
            inner, elsewhere = self._branches(node, names)
            self._skip(elsewhere or ())
            if _last(getattr(node, "test", None)) == _TYPING:  # it may run elsewhere
                self._note(elsewhere, self.loaded)
        elif isinstance(node, ast.ClassDef):
            if node not in self._classes:
                self._bound([node], names)
            held = self._classes[node]
            inner = names.new_child(held.maps[0])
            yield from self._visit(node.body, inner, caught, (held, names))
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
                if isinstance(of, ChainMap):
                    of.setdefault(words[0], self._stands(value, names))
        mark = "?" * ("AttributeError" in caught)
        if isinstance(node, ast.Call):
            asked, name = _asked(node, names), _resolved(node.func, names)
            if asked and _last(node.func) == "setattr":
                self.assigned.append((asked, self._functions > 0))
                asked = _resolved(node.args[0], names)
            elif asked and _last(node.func) == "hasattr":
                mark = "?"
            if isinstance(name := asked or name, str):
                yield f"{name}{mark}", node.lineno, {one.arg for one in node.keywords}
                inner = [*node.args, *node.keywords]
        elif isinstance(name := _resolved(node, names), str):
            if isinstance(getattr(node, "ctx", None), ast.Store):
                if isinstance(node, ast.Name):
                    return
                self.assigned.append((name, self._functions > 0))
                name = name.rpartition(".")[0]
            yield f"{name}{mark}", node.lineno, set()
            return
        elif isinstance(node, ast.Attribute):
            inner = [_under(node)[0]]
        yield from self._visit(inner, names, caught, own)

    def _skips(self, decorator, names):
        """Tell whether a test is skipped here."""
        skipped = {"skipif": True, "skipIf": True, "skipUnless": False}
        wanted = skipped.get(str(_last(getattr(decorator, "func", None))))
        given = getattr(decorator, "args", ())[:1]
        held = [self._holds(one, names) for one in given]
        return wanted is not None and wanted in held

    def _skip(self, nodes):
        """Note the lines of what does not run here, or may fail."""
        for node in nodes:
            self.guarded |= {*range(node.lineno, (node.end_lineno or node.lineno) + 1)}

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
        self._functions += 1
        yield from self._visit(body, scope, frozenset())  # it may run elsewhere
        self._functions -= 1
        hints = [one.annotation for one in _arguments(node.args)]
        hints.append(getattr(node, "returns", None))
        outside = [*node.args.defaults, *node.args.kw_defaults, *map(_unquoted, hints)]
        outside += getattr(node, "decorator_list", ())
        yield from self._visit([one for one in outside if one], names, caught)


def _flat(value):
    """Return a value that is kept: tuples in tuples may grow without end."""
    if isinstance(value, tuple) and any(isinstance(one, tuple) for one in value):
        raise _UnknownError
    return value


def _leaves(node):
    """Tell whether what follows a statement does not run."""
    skips = _last(getattr(getattr(node, "value", None), "func", None)) == "skip"
    return isinstance(node, _ENDS) or (isinstance(node, ast.Expr) and skips)


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

    A value that is known; the names of a class for one of the program's own; None for
    anything else.
    """
    node, words = _under(node)
    stands = None
    if isinstance(node, ast.Name):
        stands = names.get(node.id)
    elif isinstance(node, ast.NamedExpr):
        stands = _resolved(node.value, names)
    elif isinstance(node, ast.Call):
        stands = _asked(node, names)
    for word in words:
        if isinstance(stands, ChainMap):
            stands = stands.get(word)
        else:
            stands = f"{stands}.{word}" if isinstance(stands, str) else None
    return None if isinstance(stands, str) and len(stands) > bounds.NAME else stands


def _asked(node, names):
    """Return what `hasattr`, `getattr` or `import_module` asks for."""
    words = [getattr(one, "value", None) for one in node.args]
    if _last(node.func) in ("import_module", "__import__") and words:
        return words[0] if isinstance(words[0], str) else None
    if _last(node.func) not in ("hasattr", "getattr", "setattr") or not words[1:]:
        return None
    base = _resolved(node.args[0], names)
    if isinstance(base, ChainMap):
        return base.get(words[1])
    if not isinstance(base, str) or not isinstance(words[1], str):
        return None
    return (
        f"{base}.{words[1]}{'?' * (_last(node.func) == 'getattr' and len(words) > 2)}"
    )


def _suppressed(node):
    """Return which errors a `with` catches."""
    calls = [x.context_expr for x in node.items if isinstance(x.context_expr, ast.Call)]
    kinds = ("suppress", "raises", "assertRaises")
    given = [one for call in calls if _last(call.func) in kinds for one in call.args]
    return _caught(given) if given else set()


def _settled(node):
    """Return which errors a `try` catches and does not raise as others."""
    ends = [one for one in node.handlers if not isinstance(one.body[-1], ast.Raise)]
    return _caught([one.type for one in ends])


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
