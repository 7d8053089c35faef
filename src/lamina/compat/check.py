"""What a program for Keras uses that is missing here, or differs.

Which row of docs/differences.md is about a public name stands in the row itself: its
first column names it in backticks, or in a comment, where patterns are allowed too:
`<!-- layers.Dense; applications.*.preprocess_input; losses.Huber(delta=) -->`.
"""

import contextlib
import fnmatch
import functools
import importlib.util
import re
from dataclasses import dataclass, field
from pathlib import Path

from lamina.compat import names
from lamina.compat.names import PACKAGE, known, names_in, where
from lamina.compat.uses import uses
from lamina.compat.without_tensorflow import absent
from lamina.core.naming import printable


@dataclass
class Finding:
    """A name that a program uses, with what there is to say about it.

    Attributes:
        name: the name with its modules, whatever the program calls it; empty for a
            file of it that cannot be read.
        missing: whether Lamina lacks it; else it behaves otherwise.
        text: why it is missing, or the row of docs/differences.md.
        places: where it is used, as `file:line`.
    """

    name: str
    missing: bool
    text: str
    places: list[str] = field(default_factory=list)

    def __str__(self):
        places = list(dict.fromkeys(self.places))
        more = f" (and {len(places) - 1} more)" if places[1:] else ""
        what = "missing" if self.missing else "differs"
        what = f"{self.name}: {what}" if self.name else "cannot be read"
        return f"{printable(places[0])}{more}: {what}\n    {self.text}"


def check(program) -> list[Finding]:
    """Return the names that a program uses and that Lamina lacks or has otherwise.

    The program is read, not run. Names are followed through imports, aliases and the
    program's own modules. What does not run here, and names whose absence is caught
    where they are used, as by `except ImportError`, are left out. A file of several
    that cannot be read is a finding without a name.

    Args:
        program: a script, in whose folder its own modules are looked for; a folder of
            modules; or the name of an installed package.

    Raises:
        FileNotFoundError: there is no such program.
        SyntaxError: the program is a file that is not Python.
        ValueError: it is a file that is too large, or nested too deeply.

    >>> import pathlib, tempfile
    >>> from lamina.compat.check import check
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     script = pathlib.Path(folder, "train.py")
    ...     _ = script.write_text("from keras import layers as L; L.Dens(3)")
    ...     [(finding.name, finding.missing) for finding in check(script)]
    [('keras.layers.Dens', True)]
    """
    found: dict = {}
    for name, place, arguments in uses(program, _is_missing):
        if not name:
            found[place] = Finding("", True, printable(*arguments), [place])
            continue
        missing, rows = _judged(name)
        for wanted, text in rows:
            if not wanted or wanted & arguments:
                new = Finding(name, missing, text)
                found.setdefault((name, text), new).places.append(place)
    return sorted(found.values(), key=lambda one: (not one.missing, one.name))


def _is_missing(name, below):
    """Tell whether a name is missing for one below it: of TensorFlow, Keras is not."""
    return _judged(name)[0] or (name == "tensorflow" and not PACKAGE.match(below))


def look_up(name):
    """Return what a dotted name under Keras' roots means: None for a module.

    Args:
        name: a name with its modules, such as `"tensorflow.keras.layers.Dense"`.

    Raises:
        AttributeError: it means nothing.
    """
    module, *words = name.split(".")
    while words and known(inner := f"{module}.{words[0]}"):
        module = inner
        del words[0]
    thing = None
    for i, word in enumerate(words):
        if i:
            try:
                thing = getattr(thing, word)
            except ImportError as error:  # a module that is imported when it is used
                raise AttributeError(str(error)) from error
        else:
            found = where(module)
            thing = names_in(*found)[1](word) if found else absent(module, word)
    return thing


@functools.cache
def _judged(name):
    """Return whether a name is missing, and its rows, each with the arguments it needs.

    Without a row, what is missing has one that says so.
    """
    found = PACKAGE.match(name)
    path = name[found.end() :] if found else name
    of_tensorflow = path == name and "." in name
    thing, reason = None, None
    if not (of_tensorflow and importlib.util.find_spec("tensorflow")):
        try:
            thing = look_up(name)
        except AttributeError as error:
            reason = str(error)
        if thing is None and reason is None:  # a module
            return False, []
    named, of_thing, patterns = _index()
    held = [
        *named.get(path, ()),
        *(of_thing.get(id(thing), ()) if thing is not None else ()),
    ]
    held += [number for matches, number in patterns if matches(path)]
    rows = [_rows()[number][2:] for number in sorted({*held})]
    if reason is not None:
        rows = [row for row in rows if not row[0]] or [(set(), reason)]
    return reason is not None, rows


@functools.cache
def _index():
    """Return the numbers of rows by name, by what they are about, and by pattern."""
    named, of_thing, patterns = {}, {}, []
    for number, (name, about, _, _) in enumerate(_rows()):
        if "*" in name:
            patterns.append((re.compile(fnmatch.translate(name)).match, number))
        else:
            named.setdefault(name, []).append(number)
        if about is not None:
            of_thing.setdefault(id(about), []).append(number)
    return named, of_thing, patterns


@functools.cache
def _rows():
    """Return (name, what it is, arguments, text) for each name in differences.md."""
    packed = Path(__file__).with_name("differences.md")
    page = (
        packed if packed.exists() else Path(__file__).parents[3] / "docs/differences.md"
    )
    found = []
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) != 3 or not cells[0].strip("-"):
            continue
        topic, comment, listed = cells[0].partition("<!--")
        listed = listed.removesuffix("-->").split(";")
        text = f"{topic.strip()}. Keras: {cells[1] or 'not there'}. Here: {cells[2]}."
        for word in listed if comment else re.findall(r"`([^`]+)`", topic):
            name, _, given = word.strip().partition("(")
            thing = None
            with contextlib.suppress(AttributeError):
                find = look_up if "." in name else names.find
                thing = find(f"keras.{name}" if "." in name else name)
            found.append((name, thing, {*re.findall(r"(\w+)=", given)}, text))
    return found
