"""Regular expressions that a file may hold: matched in bounded time.

Python's `re` tries one way after the other and may need time without end for a short
pattern. Here all ways are followed at once: for each part of a pattern and each place
in a text, the places where a match may end. That takes no more than the product of
the pattern's length and the square of the text's.
"""

import re
from re import _constants as c  # pyright: ignore
from re import _parser as parser  # pyright: ignore

from lamina.core.context import context

_LONGEST = 500  # characters of a pattern from a config, and repetitions in it


def check(patterns):
    """Refuse patterns of a config that is being read if their time has no bound.

    Raises:
        ValueError: a pattern is no regular expression, too long, or looks around.
    """
    budget = context.configs.budget
    if budget is None:
        return
    for pattern in patterns:
        if len(pattern) > _LONGEST or _parsed(pattern) is None:
            raise ValueError(
                f"Not allowed: {budget.name} holds the pattern "
                f"{pattern[:80]!r}. Patterns in files are plain: at most {_LONGEST} "
                "characters, no flags, no references to groups, no looking around."
            )


def fullmatch(pattern, text) -> bool:
    """Tell whether all of a text matches a pattern."""
    found = _parsed(pattern)
    if found is None:
        return re.fullmatch(pattern, text) is not None
    return len(text) in _Walk(text).through(found, 0)


def search(pattern, text) -> bool:
    """Tell whether a part of a text matches a pattern."""
    found = _parsed(pattern)
    if found is None:
        return re.search(pattern, text) is not None
    walk = _Walk(text)
    return any(walk.through(found, at) for at in range(len(text) + 1))


def _parsed(pattern):
    """Return a pattern's parts, or None if it has some that are not known here."""
    try:
        parts = parser.parse(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
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


class _Walk:
    """The places of one text that parts of a pattern lead to."""

    def __init__(self, text):
        self.text = text
        self.known = {}

    def through(self, parts, at):
        """Return where a match of all `parts` may end that begins at `at`."""
        places = {at}
        for part in parts:
            places = set().union(*(self.ends(part, at) for at in places))
        return places

    def ends(self, part, at):
        key = id(part), at
        if key not in self.known:
            self.known[key] = self._ends(part[0], part[1], at)
        return self.known[key]

    def _ends(self, kind, value, at):
        if kind is c.BRANCH:
            return set().union(*(self.through(part, at) for part in value[1]))
        if kind is c.SUBPATTERN:
            return self.through(value[3], at)
        if kind in (c.MAX_REPEAT, c.MIN_REPEAT):
            return self._repeated(value, at)
        if kind is c.AT:
            there = at == 0 if value is c.AT_BEGINNING else self._is_end(at)
            return {at} if there else set()
        one = at < len(self.text) and _is_one(kind, value, self.text[at])
        return {at + 1} if one else set()

    def _is_end(self, at):
        return self.text[at:] in ("", "\n")

    def _repeated(self, repeat, at):
        least, most, parts = repeat
        # What needs no characters gains nothing after as many rounds as there are.
        rounds = len(self.text) + 1
        places = {at}
        for _ in range(min(least, rounds)):
            places = set().union(*(self.through(parts, p) for p in places))
        found = edge = places
        for _ in range(min(most - least, rounds)):
            edge = set().union(*(self.through(parts, p) for p in edge)) - found
            if not edge:
                break
            found = found | edge
        return found


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
