"""Patterns of files: the same answers as Python's, in bounded time."""

import random
import re

import pytest

from lamina.core import patterns


def written(rng, depth):
    """Write a pattern at random."""
    kind = rng.randrange(10)
    if depth == 0 or kind < 3:
        return rng.choice(["a", "b", ".", "[ab]", "[^a]", r"\w", "c", "^", "$"])
    inside = written(rng, depth - 1)
    if kind < 5:
        return inside + written(rng, depth - 1)
    if kind < 7:
        return f"({inside}|{written(rng, depth - 1)})"
    times = ["*", "+", "?", "{2}", "{0,3}", "{1,2}", "{2,}", "*?", "{0,2}?"]
    return f"({inside}){rng.choice(times)}"


def test_answers_are_those_of_re():
    rng, compared = random.Random(1), 0
    for _ in range(500):
        pattern = written(rng, 3)
        for size in range(6):
            text = "".join(rng.choices("ab\n", [5, 5, 1], k=size))
            try:
                wanted = [bool(f(pattern, text)) for f in (re.fullmatch, re.search)]
            except re.error:
                continue
            found = [f(pattern, text) for f in (patterns.fullmatch, patterns.search)]
            assert found == wanted, (pattern, text)
            compared += any(wanted)
    assert compared > 500


@pytest.mark.parametrize(
    "pattern", ["((((a*)*)*)*)*c", "(a|a|aa)*c", "((a{0,400}){0,400}){0,400}c"]
)
def test_work_is_linear_in_the_text(pattern, monkeypatch):
    counts = []
    plain = patterns._is_one
    monkeypatch.setattr(patterns, "_is_one", lambda *x: counts.append(1) or plain(*x))
    steps = []
    for size in (100, 200, 400):
        counts.clear()
        assert not patterns.fullmatch(pattern, "a" * size)
        steps.append(len(counts))
    assert steps[2] - steps[1] == 2 * (steps[1] - steps[0]) > 0
