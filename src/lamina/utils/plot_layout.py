"""Where the boxes of a drawn graph go, and the lines between them.

The classical way of drawing in layers: every box stands below all it takes from; a
line that passes other boxes gets a place of its own in each layer it passes; the
order inside a layer is chosen for few crossings, by barycentres; then positions
are chosen for straight lines (Brandes and Köpf, 2001). `across` is the direction
inside a layer and `along` the one the data flow in, whichever way the page is held.
Lengths are in points.
"""

import dataclasses
from collections import defaultdict

_SPACE = 24.0  # between two boxes of a layer
_LANE = 14.0  # between a box and a line that passes it
_GAP = 26.0  # between two layers
_TRACK = 8.0  # between two bends at different heights in one gap
_BEND = 10.5  # from a layer to the first bend below it
_STEP = 30.0  # a line that steps aside by less is made straight
_SWEEPS = 12
_SAME = 0.01  # positions closer than this are one


@dataclasses.dataclass
class Item:
    """One box.

    Args:
        across: its size across the flow.
        along: its size along the flow.
        rank: "first" and "last" keep it in the outermost layers.
        ports: where lines meet it, from its middle; the middle itself when empty.
    """

    across: float
    along: float
    rank: str = ""
    ports: tuple = ()


@dataclasses.dataclass
class Layout:
    """What `arrange` found.

    Args:
        across: the size of the whole across the flow.
        along: its size along the flow.
        centers: the middle of each item, as (across, along).
        lines: for each edge its corners, as (across, along).
    """

    across: float
    along: float
    centers: list
    lines: list


def arrange(items, edges, extra=(0.0, 0.0)):
    """Place items and the edges between them.

    Args:
        items: a list of `Item`.
        edges: `(source, target, port of the source, port of the target)`, as
            positions in the lists; they must form no cycle.
        extra: room to add below the first layer and above the last.

    >>> from lamina.utils.plot_layout import Item, arrange
    >>> box = Item(across=40, along=10)
    >>> arrange([box, box], [(0, 1, 0, 0)]).lines
    [[(20.0, 10.0), (20.0, 36.0)]]
    """
    drawing = _Drawing(items, edges)
    drawing.assign_layers()
    drawing.add_lanes()
    drawing.order()
    drawing.place_across()
    return drawing.finish(extra)


class _Drawing:
    """A graph while it is laid out; vertices past the items are lanes of lines."""

    def __init__(self, items, edges):
        self.items = items
        self.edges = edges
        self.width = [item.across for item in items]
        self.before = [[] for _ in items]
        self.after = [[] for _ in items]
        for source, target, *_ in edges:
            self.after[source].append(target)
            self.before[target].append(source)

    def is_lane(self, v):
        return v >= len(self.items)

    def assign_layers(self):
        """Put everything as early as it may stand, then shorten lines."""
        order = _topological(self.before, self.after)
        layer = [0] * len(self.items)
        lowest = 1 if any(item.rank == "first" for item in self.items) else 0
        for v in order:
            least = 0 if self.items[v].rank == "first" else lowest
            layer[v] = max([least, *(layer[u] + 1 for u in self.before[v])])
        deepest = max(layer, default=0)
        if any(item.rank == "last" for item in self.items):
            inner = [n for n, i in zip(layer, self.items, strict=True) if not i.rank]
            deepest = max([lowest, *(n + 1 for n in inner)])
        for v in reversed(order):
            rank = self.items[v].rank
            if rank == "last":
                layer[v] = deepest
            elif not rank and len(set(self.after[v])) > len(set(self.before[v])):
                layer[v] = min(layer[w] for w in self.after[v]) - 1
        self.layer = layer
        self._topological_order = order

    def add_lanes(self):
        """Split edges that pass layers; note which merely skip."""
        ancestors = {}
        for v in self._topological_order:
            ancestors[v] = set(self.before[v]).union(
                *(ancestors[u] for u in self.before[v])
            )
        count = len(self.items)
        self.ups = defaultdict(list)  # vertex -> neighbours one layer up, and down
        self.downs = defaultdict(list)
        self.weak = set()
        self.chains = []
        for source, target, *_ in self.edges:
            skips = any(
                source in ancestors[u] for u in self.before[target] if u != source
            )
            chain = [source]
            for depth in range(self.layer[source] + 1, self.layer[target]):
                self.layer.append(depth)
                self.width.append(0.0)
                chain.append(count)
                count += 1
            chain.append(target)
            for u, v in zip(chain, chain[1:], strict=False):
                self.downs[u].append(v)
                self.ups[v].append(u)
                if skips and not (self.is_lane(u) and self.is_lane(v)):
                    self.weak |= {(u, v), (v, u)}
            self.chains.append(chain)

    def order(self):
        """Choose the order inside each layer."""
        layers = [[] for _ in range(max(self.layer, default=0) + 1)]
        seen = set()
        starts = [v for v in range(len(self.items)) if not self.before[v]]
        stack = starts[::-1]
        while stack:
            v = stack.pop()
            if v in seen:
                continue
            seen.add(v)
            layers[self.layer[v]].append(v)
            # Lines that skip come last, and so stand to the right.
            following = sorted(self.downs[v], key=lambda w, v=v: (v, w) in self.weak)
            stack.extend(reversed(following))
        best, fewest = layers, self._crossings(layers)
        for sweep in range(_SWEEPS):
            if not fewest:
                break
            layers = self._sweep([list(layer) for layer in layers], down=sweep % 2 == 0)
            crossings = self._crossings(layers)
            if crossings < fewest:
                best, fewest = layers, crossings
        self.layers = best

    def _sweep(self, layers, down):
        neighbours = self.ups if down else self.downs
        for layer in layers if down else layers[::-1]:
            place = {v: i for other in layers for i, v in enumerate(other)}

            def barycentre(v, place=place):
                near = [place[u] for u in neighbours[v]]
                return sum(near) / len(near) if near else place[v]

            layer.sort(key=barycentre)
        return layers

    def _crossings(self, layers):
        place = {v: i for layer in layers for i, v in enumerate(layer)}
        total = 0
        for layer in layers:
            ends = [sorted(place[w] for w in self.downs[v]) for v in layer]
            passed = []
            for targets in ends:
                total += sum(p > t for p in passed for t in targets)
                passed += targets
        return total

    def place_across(self):
        """Give every vertex its position across, straight lines first."""
        clashes = self._clashes()
        found = []
        for layers, neighbours in (
            (self.layers, self.ups),
            (self.layers[::-1], self.downs),
        ):
            for mirror in (1, -1):
                turned = [layer[::mirror] for layer in layers]
                xs = self._align(turned, neighbours, clashes)
                found.append({v: mirror * x for v, x in xs.items()})
        spans = [self._span(xs) for xs in found]
        narrow = min(range(4), key=lambda i: spans[i][1] - spans[i][0])
        for i, xs in enumerate(found):
            # All four lie against the same wall: the left one or the right one.
            shift = spans[narrow][i % 2] - spans[i][i % 2]
            for v in xs:
                xs[v] += shift
        self.x = {}
        for v in found[0]:
            values = sorted(xs[v] for xs in found)
            self.x[v] = (values[1] + values[2]) / 2
        self._straighten()

    def _straighten(self):
        """Take small steps out of lines where there is room."""
        steps = []
        for (_, _, out, into), chain in zip(self.edges, self.chains, strict=True):
            for u, v in zip(chain, chain[1:], strict=False):
                leaves = self._port(u, out) if u == chain[0] else 0.0
                arrives = self._port(v, into) if v == chain[-1] else 0.0
                if (u, v) not in self.weak:
                    steps.append((u, v, arrives - leaves))
        steps.sort(key=lambda s: abs(self.x[s[1]] + s[2] - self.x[s[0]]))
        group = {v: {v} for v in self.x}
        for u, v, ports in steps:
            a, b = group[u], group[v]
            step = self.x[v] + ports - self.x[u]
            if a is b or abs(step) > _STEP:
                continue
            # The longer of the two straight pieces stays where it is, if it may.
            choices = sorted([(b, -step), (a, step)], key=lambda c: len(c[0]))
            for moved, by in choices:
                if abs(step) < _SAME or self._may_move(moved, by):
                    break
            else:
                continue
            for w in moved:
                self.x[w] += by
            together = a | b
            for w in together:
                group[w] = together

    def _may_move(self, moved, by):
        for v in moved:
            layer = self.layers[self.layer[v]]
            i = layer.index(v)
            near = layer[max(i - 1, 0) : i] + layer[i + 1 : i + 2]
            for u in near:
                gap = abs(self.x[v] + by - self.x[u])
                turned = (self.x[v] + by - self.x[u]) * (self.x[v] - self.x[u]) < 0
                if u not in moved and (turned or gap < self._distance(u, v) - _SAME):
                    return False
        return True

    def _span(self, xs):
        left = min(x - self.width[v] / 2 for v, x in xs.items())
        return left, max(x + self.width[v] / 2 for v, x in xs.items())

    def _clashes(self):
        """Return the edges that cross the inside of a long line."""
        clashes = set()
        place = {v: i for layer in self.layers for i, v in enumerate(layer)}
        for layer in self.layers[:-1]:
            edges = [(u, v) for u in layer for v in self.downs[u]]
            inner = [e for e in edges if self.is_lane(e[0]) and self.is_lane(e[1])]
            for u, v in edges:
                if self.is_lane(u) and self.is_lane(v):
                    continue
                for a, b in inner:
                    if (place[u] - place[a]) * (place[v] - place[b]) < 0:
                        clashes |= {(u, v), (v, u)}
        return clashes

    def _strong(self, v, neighbours):
        """Return what a vertex should stand in line with."""
        return [u for u in dict.fromkeys(neighbours[v]) if (u, v) not in self.weak]

    def _align(self, layers, neighbours, clashes):
        place = {v: i for layer in layers for i, v in enumerate(layer)}
        root = {v: v for v in place}
        taken = set()
        for layer in layers[1:]:
            limit = -1
            for v in layer:
                near = sorted(self._strong(v, neighbours), key=place.__getitem__)
                for middle in sorted({(len(near) - 1) // 2, len(near) // 2}):
                    if not near or root[v] != v:
                        break
                    u = near[middle]
                    if u in taken or place[u] <= limit or (u, v) in clashes:
                        continue
                    root[v] = root[u]
                    taken.add(u)
                    limit = place[u]
        return self._compact(layers, root)

    def _compact(self, layers, root):
        """Push the blocks of aligned vertices together."""
        right = defaultdict(dict)
        left = defaultdict(dict)
        for layer in layers:
            for u, v in zip(layer, layer[1:], strict=False):
                a, b = root[u], root[v]
                distance = max(self._distance(u, v), right[a].get(b, 0.0))
                right[a][b] = left[b][a] = distance
        blocks = sorted(set(root.values()))
        order = _topological(
            {b: list(left[b]) for b in blocks}, {b: list(right[b]) for b in blocks}
        )
        x = {}
        for b in order:
            x[b] = max([0.0, *(x[a] + d for a, d in left[b].items())])
        for b in reversed(order):
            if right[b]:
                x[b] = max(x[b], min(x[c] - d for c, d in right[b].items()))
        return {v: x[block] for v, block in root.items()}

    def _distance(self, u, v):
        space = _LANE if self.is_lane(u) or self.is_lane(v) else _SPACE
        return (self.width[u] + self.width[v]) / 2 + space

    def finish(self, extra):
        """Give every layer its position along, and every edge its corners."""
        left, right = self._span(self.x)
        x = {v: value - left for v, value in self.x.items()}
        paths = [
            self._path(x, edge, chain)
            for edge, chain in zip(self.edges, self.chains, strict=True)
        ]
        hops = defaultdict(list)
        for e, (chain, path) in enumerate(zip(self.chains, paths, strict=True)):
            for i, (a, b) in enumerate(zip(path, path[1:], strict=False)):
                hop = ((chain[i], a), (chain[i + 1], b), (e, i))
                hops[self.layer[chain[i]]].append(hop)
        sizes = [max(self._along(v) for v in layer) for layer in self.layers]
        tracks = [_tracks(hops[depth]) for depth in range(len(sizes) - 1)]
        gaps = [_GAP + _TRACK * max(track.values(), default=0) for track in tracks]
        if gaps:
            gaps[0] += extra[0]
            gaps[-1] += extra[1]
        tops = [sum(sizes[:i]) + sum(gaps[:i]) for i in range(len(sizes))]
        bends = {
            where: tops[i] + sizes[i] + extra[0] * (i == 0) + _BEND + _TRACK * height
            for i, track in enumerate(tracks)
            for where, height in track.items()
        }
        centers = [
            (x[v], tops[self.layer[v]] + sizes[self.layer[v]] / 2)
            for v in range(len(self.items))
        ]
        lines = []
        for e, ((source, target, *_), path) in enumerate(
            zip(self.edges, paths, strict=True)
        ):
            points = [(path[0], centers[source][1] + self._along(source) / 2)]
            for i, (a, b) in enumerate(zip(path, path[1:], strict=False)):
                if (e, i) in bends:
                    points += [(a, bends[e, i]), (b, bends[e, i])]
            points.append((path[-1], centers[target][1] - self._along(target) / 2))
            lines.append(points)
        return Layout(right - left, tops[-1] + sizes[-1], centers, lines)

    def _path(self, x, edge, chain):
        """Return where a line is in each layer it meets."""
        _, _, out, into = edge
        path = [x[v] for v in chain]
        path[0] += self._port(chain[0], out)
        path[-1] += self._port(chain[-1], into)
        return path

    def _along(self, v):
        return 0.0 if self.is_lane(v) else self.items[v].along

    def _port(self, v, port):
        ports = () if self.is_lane(v) else self.items[v].ports
        return ports[port] if ports else 0.0


def _tracks(hops):
    """Give each bend in a gap a height: no two lines may seem to be one.

    Lines that begin together, or end together, may share a height.

    Args:
        hops: (source, target, key) with ends (vertex, position across).
    """
    groups = _bundles(hops)
    bends = {
        name: [(a[1], b[1]) for a, b, _ in group if abs(a[1] - b[1]) > _SAME]
        for name, group in groups.items()
    }
    waiting = [name for name in groups if bends[name]]
    spans = {
        n: (min(min(bend) for bend in bends[n]), max(max(bend) for bend in bends[n]))
        for n in waiting
    }

    def preference(name):
        # Of nested bends the inner ones turn first: then they do not cross.
        low, high = spans[name]
        to_the_right = sum(b - a for a, b in bends[name]) > 0
        return (-low if to_the_right else high), high - low

    # A line that leaves where another one arrives must turn before it does.
    above = {
        name: {
            other
            for other in waiting
            if other != name
            and any(
                abs(leaves - arrives) < _SAME
                for leaves, _ in bends[other]
                for _, arrives in bends[name]
            )
        }
        for name in waiting
    }
    waiting.sort(key=preference)
    track = {}
    while waiting:
        ready = [n for n in waiting if not above[n] & set(waiting)] or waiting
        name = ready[0]
        waiting.remove(name)
        low, high = spans[name]
        taken = {
            height
            for other, height in track.items()
            if spans[other][0] < high + _SAME and low < spans[other][1] + _SAME
        }
        height = 1 + max((track[n] for n in above[name] if n in track), default=-1)
        while height in taken:
            height += 1
        track[name] = height
    return {
        key: track[name]
        for name, group in groups.items()
        for a, b, key in group
        if abs(a[1] - b[1]) > _SAME
    }


def _bundles(hops):
    """Group hops by their source where that is clear to the eye, else by target."""
    feeds, fed = defaultdict(set), defaultdict(set)
    for source, target, _ in hops:
        feeds[source].add(target)
        fed[target].add(source)
    groups = defaultdict(list)
    for source, target, key in hops:
        fans_out = all(len(fed[t]) == 1 for t in feeds[source])
        name = ("out", source) if fans_out else ("in", target)
        groups[name].append((source, target, key))
    return groups


def _topological(before, after):
    keys = range(len(before)) if isinstance(before, list) else list(before)
    missing = {v: len(set(before[v])) for v in keys}
    ready = [v for v in keys if not missing[v]]
    order = []
    for v in ready:
        order.append(v)
        for w in dict.fromkeys(after[v]):
            missing[w] -= 1
            if not missing[w]:
                ready.append(w)
    return order
