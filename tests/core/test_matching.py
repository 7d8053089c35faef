import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.core import structure
from lamina.core.matching import Slots

A, B, C = (np.full(2, float(i)) for i in range(3))
PAIR = Slots([0, 0], ["left", "right"])
TABLE = Slots({"a": 0, "b": 0}, ["a", "b"], "model 'net'", "input")
DEEP = Slots({"a": [0, 0], "b": {"c": 0}}, ["p", "q", "r"], kind="input")


def nests():
    return st.recursive(
        st.just(0),
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=3),
            st.dictionaries(st.sampled_from("pqrs"), inner, min_size=1, max_size=3),
            st.tuples(inner, inner),
        ),
        max_leaves=6,
    )


@given(nests())
def test_what_has_the_same_structure_matches_leaf_by_leaf(nest):
    leaves = [f"leaf {i}" for i in range(len(structure.flatten(nest)))]
    slots = Slots(nest, [f"n{i}" for i in range(len(leaves))])
    assert slots.each(structure.pack_like(nest, leaves), "loss") == leaves
    assert slots.each(dict(zip(slots.names, leaves, strict=True)), "loss") == leaves
    assert slots.each("one", "loss", whole=True) == ["one"] * len(leaves)
    assert slots.each(None, "loss") == [None] * len(leaves)


@pytest.mark.parametrize(
    "slots, given, expected",
    [
        (Slots(0, ["o"]), A, [A]),
        (Slots(0, ["o"]), [A], [A]),
        (Slots(0, ["o"]), ([A],), [A]),
        (Slots(0, ["o"]), {"o": A}, [A]),
        (Slots([[0]], ["o"]), A, [A]),
        (Slots({"a": 0}, ["o"]), [A], [A]),
        (Slots({"a": [0]}, ["o"]), {"a": A}, [A]),
        (PAIR, (A, B), [A, B]),
        (PAIR, [A, None], [A, None]),
        (PAIR, {"right": B}, [None, B]),
        (DEEP, {"b": {"c": C}, "a": (A, B)}, [A, B, C]),
        (DEEP, {"b": C, "a": [A, B]}, [A, B, C]),
        (DEEP, {"r": C, "q": B, "p": A}, [A, B, C]),
        (Slots([0, [0, 0]], "opq"), [A, B, C], [A, B, C]),
    ],
)
def test_ways_to_give(slots, given, expected):
    found = slots.each(given, "x")
    assert all(one is other for one, other in zip(found, expected, strict=True))


def test_lists_for_a_leaf():
    assert PAIR.each([["mae", "mse"], "mae"], "metrics", lists=True) == [
        ["mae", "mse"],
        "mae",
    ]
    assert Slots({"a": [0]}, ["o"]).each([["mae", "mse"]], "metrics", lists=True) == [
        ["mae", "mse"]
    ]


@pytest.mark.parametrize(
    "slots, given, message",
    [
        (PAIR, A, r"`y` must have .*\['left', 'right'\]. Received: one array of shape"),
        (PAIR, [A], r"one entry for each.*Received: a list of 1 \(one array"),
        (PAIR, [A, B, C], "Received: a list of 3"),
        (PAIR, [A, [B, C]], r"`y` at '1' must have .*\['right'\]"),
        (PAIR, {"left": A, "rigth": B}, r"Unknown: \['rigth'\]. Did you mean 'right'"),
        (Slots([0, 0], [None, None]), {"a": A}, "a list of 2 entries.*have no names"),
        (Slots({"a": 0, "b": 0}, "ab"), A, r"a dict with the keys \['a', 'b'\]"),
        (Slots({"b": 0, "a": 0}, "ab"), [A, B], r"a dict with the keys \['a', 'b'\]"),
        (
            Slots({"a": [0], "b": 0}, "pb"),
            {"a": [A, B], "b": C},
            "`y` at 'a' must have",
        ),
        (
            Slots({"c": A, "d": A}, "ab", kind="input"),
            {"a": A, "b": B},
            r"by the names \['c', 'd'\].*Received a dict with the keys \['a', 'b'\]",
        ),
        (TABLE, {"a": A}, r"'net' takes inputs by the names \['a', 'b'\].*\['b'\]\.$"),
        (TABLE, {"a": A, "bb": B}, r"Missing: \['b'\]. Unknown: \['bb'\]. Did you m"),
    ],
)
def test_errors_show_both_sides(slots, given, message):
    with pytest.raises(ValueError, match=message):
        slots.each(given, "y", needed=range(len(slots.names)))


def test_keys_that_name_no_input():
    slots = Slots({"a": 0, "b": 0}, ["a", "b"], "model 'net'", "input")
    table = {"a": A, "b": B, "date": C}
    with pytest.warns(UserWarning, match=r"'net' has no inputs by the .*\['date'\]"):
        assert slots.each(table, "inputs")[0] is A
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert slots.each(table, "inputs")[1] is B  # it was said once
    with pytest.raises(ValueError, match=r"Unknown: \['bb'\]. Did you mean 'b'\?"):
        slots.each({"a": A, "bb": B}, "inputs")  # although "b" may be left out


def test_a_list_for_a_dict():
    with pytest.warns(UserWarning, match=r"Expected a dict with the keys \['a', 'b'\]"):
        assert TABLE.each([A, B], "inputs")[1] is B
    written = Slots({"a": 0, "b": 0}, ["a", "b"])
    assert written.each(["mae", "mse"], "metrics") == ["mae", "mse"]
    with pytest.raises(ValueError, match="a dict with the keys"):
        written.each([A, B], "y", by_place=False)
    unknown = Slots({"a": 0, "b": 0}, ["a", "b"], ordered=False)
    with pytest.warns(UserWarning, match="taken in the order of these keys"):
        assert unknown.each(["mae", "mse"], "metrics") == ["mae", "mse"]


def test_a_list_of_entries_for_all_of_a_part():
    def places(slots, given):
        return list(slots.pairs(given, "loss", whole=True, lists=True))

    table = Slots({"a": 0, "b": 0}, ["a", "b"])
    mixed = ["all", {"a": "mae", "b": "mse"}]
    assert places(table, mixed) == [({"a": 0, "b": 1}, "all"), (0, "mae"), (1, "mse")]
    assert places(PAIR, ("all", ["mae", None])) == [([0, 1], "all"), (0, "mae")]
    # Of the same kind as the outputs, it has an entry for each.
    assert places(PAIR, ["mae", ["mae", "mse"]]) == [(0, "mae"), (1, ["mae", "mse"])]
    assert places(table, ["mae", ["mae", "mse"]]) == [(0, "mae"), (1, ["mae", "mse"])]


def test_inputs_by_name_of_which_one_array_came():
    slots = Slots({"c": A, "d": B}, ["a", "b"], "model 'net'", "input")
    message = (
        r"2 named input\(s\) with keys \['c', 'd'\].*'c': \('a', \(2,\)\).* one ar"
    )
    with pytest.raises(ValueError, match=message):
        slots.each(A, "inputs")
