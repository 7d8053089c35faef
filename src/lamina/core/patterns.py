"""Regular expressions that a file may hold: matched in bounded time.

Python's `re` tries one way after the other and may need time without end for a short
pattern. Here a pattern becomes a machine of states, and all ways through it are
followed at once, letter by letter. That takes no more than the product of the number
of states and the text's length.
"""

import functools
import re
from re import _constants as c  # pyright: ignore
from re import _parser as parser  # pyright: ignore

from lamina.core import bounds
from lamina.core.context import context

_TEXT = 4096  # characters for which patterns are tried when a config is read


def check(patterns):
    """Refuse patterns of a config that is being read if their time has no bound.

    Raises:
        ValueError: a pattern is not a regular expression, too long, or looks around.
    """
    budget = context.configs.budget
    if budget is None:
        return
    for pattern in patterns:
        if len(pattern) > bounds.PATTERN or _machine(pattern, _TEXT) is None:
            raise ValueError(
                f"Not allowed: {budget.name} holds the pattern "
                f"{pattern[:80]!r}. Patterns in files are plain: at most "
                f"{bounds.PATTERN} characters and {bounds.STATES} repeated parts, no "
                "flags, no references to groups, no looking around."
            )


def fullmatch(pattern, text) -> bool:
    """Tell whether all of a text matches a pattern."""
    machine = _machine(pattern, len(text))
    if machine is None:
        return re.fullmatch(pattern, text) is not None
    return machine.matches(text)


def search(pattern, text) -> bool:
    """Tell whether a part of a text matches a pattern."""
    machine = _machine(pattern, len(text))
    if machine is None:
        return re.search(pattern, text) is not None
    return machine.matches(text, anywhere=True)


@functools.lru_cache(1 << 8)
def _machine(pattern, length):
    """Return a pattern's machine for texts of some length; None without one."""
    parts = _parsed(pattern)
    try:
        return None if parts is None else _Machine(parts, length)
    except _TooLarge:
        return None


def _parsed(pattern):
    """Return a pattern's parts, or None if it has some that are not known here."""
    try:
        parts = parser.parse(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    plain = parts.state.flags == re.UNICODE.value
    return tuple(parts) if plain and _known(parts) else None


def _known(parts):
    for kind, value in parts:
        if kind is c.BRANCH:
            if not all(_known(part) for part in value[1]):
                return False
        elif kind is c.SUBPATTERN:
            if value[1] or value[2] or not _known(value[3]):
                return False
        elif kind in (c.MAX_REPEAT, c.MIN_REPEAT):
            if not _known(value[2]):
                return False
        elif kind is c.AT:
            if value not in (c.AT_BEGINNING, c.AT_END):
                return False
        elif kind not in (c.LITERAL, c.NOT_LITERAL, c.ANY, c.IN):
            return False
    return True


class _TooLarge(Exception):
    pass


class _Machine:
    """States that each read a letter, test the place in the text, or just lead on."""

    def __init__(self, parts, length):
        self._length = length
        self._tests: list = []
        self._leads: list = []
        self._end = self._state()
        self._start = self._sequence(parts, self._end)

    def matches(self, text, anywhere=False) -> bool:
        """Tell whether a text, or some part of it, leads from the start to the end."""
        if context.configs.budget is not None:
            context.configs.budget.spend(len(text) * len(self._tests) >> 9)
        states = set()
        for at in range(len(text) + 1):
            if anywhere or at == 0:
                states.add(self._start)
            states = self._reached(states, at, text[at : at + 2] in ("", "\n"))
            if self._end in states and (anywhere or at == len(text)):
                return True
            if at == len(text) or not (states or anywhere):
                return False
            states = {
                to
                for state in states
                if (test := self._tests[state]) is not None
                and test[0] is not c.AT
                and _is_one(test[0], test[1], text[at])
                for to in self._leads[state]
            }
        return False

    def _reached(self, states, at, last):
        """Add the states that are reached without reading."""
        found, todo = set(), list(states)
        while todo:
            state = todo.pop()
            if state in found:
                continue
            found.add(state)
            test = self._tests[state]
            begins = test is not None and test[1] is c.AT_BEGINNING and at == 0
            ends = test is not None and test[1] is c.AT_END and last
            if test is None or begins or ends:
                todo += self._leads[state]
        return found

    def _state(self, test=None, *leads):
        if len(self._tests) > bounds.STATES:
            raise _TooLarge
        self._tests.append(test)
        self._leads.append(list(leads))
        return len(self._tests) - 1

    def _sequence(self, parts, to):
        """Make the states of all parts, which lead `to` a state; return the first."""
        for kind, value in reversed(parts):
            if kind is c.BRANCH:
                to = self._state(None, *[self._sequence(p, to) for p in value[1]])
            elif kind is c.SUBPATTERN:
                to = self._sequence(value[3], to)
            elif kind in (c.MAX_REPEAT, c.MIN_REPEAT):
                to = self._repeated(value, to)
            else:
                to = self._state((kind, value), to)
        return to

    def _repeated(self, repeat, to):
        least, most, parts = repeat
        while least == 0 and len(parts) == 1:  # (x{0,2}){0,3} is x{0,6}
            kind, value = parts[0]
            if kind is c.SUBPATTERN:
                parts = value[3]
            elif kind in (c.MAX_REPEAT, c.MIN_REPEAT) and value[0] == 0:
                most, parts = most * value[1], value[2]
            else:
                break
        if _may_be_empty(parts):
            least = 0
        if most >= self._length:
            again = self._state(None, to)
            self._leads[again].append(self._sequence(parts, again))
            to = again
        else:
            after = to
            for _ in range(most - least):
                to = self._state(None, self._sequence(parts, to), after)
        for _ in range(min(least, self._length + 1)):
            to = self._sequence(parts, to)
        return to


def _may_be_empty(parts):
    """Tell whether parts match an empty text, wherever it is."""
    for kind, value in parts:
        if kind is c.BRANCH:
            empty = any(_may_be_empty(part) for part in value[1])
        elif kind is c.SUBPATTERN:
            empty = _may_be_empty(value[3])
        else:
            repeated = kind in (c.MAX_REPEAT, c.MIN_REPEAT)
            empty = repeated and (value[0] == 0 or _may_be_empty(value[2]))
        if not empty:
            return False
    return True


def _is_one(kind, value, letter):
    """Tell whether one character is what a part asks for."""
    if kind is c.ANY:
        return letter != "\n"
    if kind is c.IN:
        inverse = value[0][0] is c.NEGATE
        return inverse != any(_is_item(item[0], item[1], letter) for item in value)
    return (ord(letter) == value) == (kind is c.LITERAL)


_CATEGORIES = {
    c.CATEGORY_DIGIT: r"\d",
    c.CATEGORY_NOT_DIGIT: r"\D",
    c.CATEGORY_SPACE: r"\s",
    c.CATEGORY_NOT_SPACE: r"\S",
    c.CATEGORY_WORD: r"\w",
    c.CATEGORY_NOT_WORD: r"\W",
}


def _is_item(kind, value, letter):
    if kind is c.LITERAL:
        return ord(letter) == value
    if kind is c.RANGE:
        return value[0] <= ord(letter) <= value[1]
    return kind is c.CATEGORY and re.match(_CATEGORIES[value], letter) is not None
