"""Laws of the layout, on graphs nobody thought of."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.utils.plot_layout import Item, arrange


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 9))
    sizes = st.tuples(st.integers(30, 120), st.integers(10, 60))
    items = [Item(*draw(sizes)) for _ in range(count)]
    pairs = list(itertools.combinations(range(count), 2))
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=14)) if pairs else []
    return items, [(a, b, 0, 0) for a, b in chosen]


def corners(item, center):
    across, along = center
    return (
        across - item.across / 2,
        along - item.along / 2,
        across + item.across / 2,
        along + item.along / 2,
    )


def meet(a, b, room=0.0):
    """Tell whether two rectangles come closer than `room`."""
    apart = (
        a[2] + room <= b[0]
        or b[2] + room <= a[0]
        or a[3] + room <= b[1]
        or b[3] + room <= a[1]
    )
    return not apart


def segments(line):
    for (x, y), (u, v) in itertools.pairwise(line):
        yield min(x, u), min(y, v), max(x, u), max(y, v)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_boxes_and_lines_keep_apart(graph):
    items, edges = graph
    layout = arrange(items, edges)
    frames = [corners(i, c) for i, c in zip(items, layout.centers, strict=True)]
    assert min(f[0] for f in frames) > -1e-6
    assert max(f[3] for f in frames) == pytest.approx(layout.along)
    for a, b in itertools.combinations(frames, 2):
        assert not meet(a, b, room=20.0)
    for (source, target, *_), line in zip(edges, layout.lines, strict=True):
        assert line[0] == pytest.approx((layout.centers[source][0], frames[source][3]))
        assert line[-1] == pytest.approx((layout.centers[target][0], frames[target][1]))
        assert all(a[1] <= b[1] for a, b in itertools.pairwise(line))
        for place, frame in enumerate(frames):
            if place not in (source, target):
                assert not any(meet(s, frame) for s in segments(line))


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_lines_of_different_ends_never_seem_to_be_one(graph):
    items, edges = graph
    layout = arrange(items, edges)
    drawn = list(zip(edges, layout.lines, strict=True))
    for (a, line), (b, other) in itertools.combinations(drawn, 2):
        if a[0] == b[0] or a[1] == b[1]:
            continue
        if {(a[0], b[1], 0, 0), (b[0], a[1], 0, 0)} <= set(edges):
            continue  # all four lines are there: no reading of them is wrong
        for s, t in itertools.product(segments(line), segments(other)):
            low = [max(s[0], t[0]), max(s[1], t[1])]
            high = [min(s[2], t[2]), min(s[3], t[3])]
            across, along = high[0] - low[0], high[1] - low[1]
            assert not (across > 1 and along > -1e-6)
            assert not (along > 1 and across > -1e-6)


def test_a_chain_is_straight():
    items = [Item(40 + 10 * i, 20) for i in range(30)]
    layout = arrange(items, [(i, i + 1, 0, 0) for i in range(29)])
    assert {x for x, _ in layout.centers} == {layout.across / 2}
    assert {len(line) for line in layout.lines} == {2}


def test_what_skips_runs_beside_a_straight_chain():
    items = [Item(60, 20)] * 5
    chain = [(i, i + 1, 0, 0) for i in range(4)]
    layout = arrange(items, [*chain, (0, 3, 0, 0), (1, 4, 0, 0)])
    assert len({x for x, _ in layout.centers}) == 1
    first, second = layout.lines[4:]
    assert len(first) == len(second) == 6
    assert first[2][0] != second[2][0]


def test_branches_that_may_go_uncrossed_do():
    # Three branches to three targets, given in another order.
    items = [Item(60, 20)] * 7
    edges = [(0, 1), (0, 2), (0, 3), (1, 6), (2, 4), (3, 5)]
    layout = arrange(items, [(a, b, 0, 0) for a, b in edges])
    across = [x for x, _ in layout.centers]
    order = sorted((1, 2, 3), key=lambda v: across[v])
    below = {1: 6, 2: 4, 3: 5}
    assert [below[v] for v in order] == sorted((4, 5, 6), key=lambda v: across[v])


def test_a_late_input_stands_beside_what_takes_it():
    items = [Item(60, 20)] * 5
    edges = [(0, 1, 0, 0), (1, 2, 0, 0), (2, 3, 0, 0), (4, 3, 0, 0)]
    layout = arrange(items, edges)
    assert layout.centers[4][1] == layout.centers[2][1]
