"""Writes the numbers of a run as tables and as a picture."""

import textwrap
from statistics import median

from data import TASKS
from workloads import MANY, MEASURED, WORKLOADS

NAMES = {
    "keras-jax": "Keras, JAX",
    "keras-tensorflow": "Keras, TensorFlow",
    "keras-torch": "Keras, PyTorch",
    "torch": "PyTorch",
    "torch-compile": "PyTorch, compiled",
    "jax": "JAX by hand",
}
TITLES = {name: thing.title for name, thing in (WORKLOADS | MANY | TASKS).items()}
START = "Digits CNN: from nothing to the first step"
DEEP = "100-layer residual graph"
COSTS = [
    ("import", "import", "Import of the package"),
    ("import", "whole", "Import with layers, models and optimizers"),
    ("cold", "digits", f"{START}, nothing compiled yet"),
    ("again", "digits", f"{START}, second run of the script"),
    ("build", "deep", f"{DEEP}: building"),
    ("compile", "deep", f"{DEEP}: building and first step"),
    *(("memory", name, f"Peak memory: {TITLES[name]}") for name in MEASURED),
]
SECTIONS = [
    (
        "Training",
        "`fit`, and loops by hand over shuffled arrays: how many times as fast "
        "Lamina is. Above 1, Lamina is ahead.",
        [("train", name, TITLES[name]) for name in MEASURED],
    ),
    (
        "Prediction",
        "`predict` on 512 rows in batches of 256, `predict` on one row, and "
        "`model(x)` on one row; PyTorch and JAX have one call for both. How many "
        "times as fast Lamina is. Above 1, Lamina is ahead.",
        [
            (use, name, f"{TITLES[name].rsplit(', batch', 1)[0]}: {kind}")
            for name in MEASURED
            for use, kind in (
                ("predict", "batch 256"),
                ("single", "`predict`, one row"),
                ("call", "`model(x)`, one row"),
            )
        ],
    ),
    (
        "More networks: training",
        "Networks that no kernel was written for, in the same text for Lamina and "
        "Keras, `fit`. Above 1, Lamina is ahead.",
        [("train", name, TITLES[name]) for name in MANY],
    ),
    (
        "More networks: prediction",
        "`predict` in batches of 256. Above 1, Lamina is ahead.",
        [("predict", name, TITLES[name].rsplit(", batch", 1)[0]) for name in MANY],
    ),
    (
        "Getting data ready",
        "Batches or arrays from files, texts and numbers: how many times as fast "
        "Lamina is. Above 1, Lamina is ahead. Keras on TensorFlow reads by tf.data, "
        "PyTorch by a DataLoader with 2 workers and Pillow, which resizes in its own "
        "way.",
        [("data", name, TITLES[name]) for name in TASKS],
    ),
    (
        "Start and memory",
        "What Lamina needs as a multiple of what the peer needs, in time or in "
        "resident memory of a training process. Below 1, Lamina needs less.",
        COSTS,
    ),
]
# The picture of a section: how its file's name ends, and how many columns it has.
PICTURES = {
    "Training": ("", 3),
    "More networks: training": ("-many", 4),
    "Getting data ready": ("-data", 4),
}


def ratios(pairs):
    """Return Lamina / peer of each round."""
    return [ours / theirs for ours, theirs in pairs]


def cell(pairs):
    """Return the median ratio and its extremes."""
    found = ratios(pairs)
    low, middle, high = (digits(f(found)) for f in (min, median, max))
    return f"{middle} ({low}–{high})" if len(found) > 1 else middle


def digits(ratio):
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def amount(value, use, name):
    """Write Lamina's own number with its unit."""
    if use in ("train", "predict", "data"):
        return f"{value:,.0f} {TASKS[name].unit if use == 'data' else 'samples'}/s"
    if use == "memory":
        return f"{value:,.0f} MB"
    seconds = 1 / value if use in ("single", "call") else value
    return f"{seconds:.2f} s" if seconds > 0.1 else f"{seconds * 1e3:.2f} ms"


def write(found, path):
    """Write the Markdown to `path` and the picture beside it."""
    here, notes = found["machine"], []
    measured = {p for use in found["pairs"].values() for by in use.values() for p in by}
    peers = {peer: name for peer, name in NAMES.items() if peer in measured}
    absent = [name for peer, name in NAMES.items() if peer not in measured]
    versions = ", ".join(f"{n} {v}" for n, v in here["versions"].items())
    lines = [
        "# Benchmarks", "",
        f"{here['day']}; {here['cpu']}, 2 of {here['cores']} cores; {here['system']}; "
        f"{versions}."
        + ("" if here["compiler"] else " No C++ compiler for `torch.compile`."),
        "", "float32, Adam with a learning rate of 0.001, 2 threads, the same batch "
        "everywhere. Each number is the median ratio of the rounds, with the "
        "smallest and the largest. Written by `make bench`."
        + (f" Not measured in this run: {'; '.join(absent)}." if absent else ""), "",
    ]  # fmt: skip
    for title, text, rows in SECTIONS:
        # A peer that has no number at all in a section has no column there.
        tables = [found["pairs"].get(use, {}).get(name, {}) for use, name, _ in rows]
        shown = [peer for peer in peers if any(peer in table for table in tables)]
        if not shown:
            continue
        lines += [f"## {title}", "", text, ""]
        if title in PICTURES:
            ending, columns = PICTURES[title]
            picture = path.with_name(f"{path.stem}{ending}.png")
            named = {peer: peers[peer] for peer in shown}
            draw(found["pairs"], picture, named, title, rows, columns)
            lines += [f"![{title}: Lamina beside others]({picture.name})", ""]
            print(f"wrote {picture.name}")
        lines += [f"| | Lamina | {' | '.join(peers[peer] for peer in shown)} |"]
        lines += ["|---|---:|" + "---:|" * len(shown)]
        for use, name, label in rows:
            pairs = found["pairs"].get(use, {}).get(name, {})
            cells = [cell_of(found, pairs, peer, use, name, notes) for peer in shown]
            own = [ours for ours, _ in pairs.get("lamina", [])]
            own = amount(median(own), use, name) if own else "–"
            lines += [f"| {label} | {own} | {' | '.join(cells)} |"]
        lines += [""]
    lines += [f"{i}. {note}" for i, note in enumerate(notes, 1)]
    path.write_text("\n".join(lines).rstrip() + "\n")
    print(f"wrote {path}")


def compare(pairs):
    """Print this checkout's speed, and its cost, as multiples of an earlier one's."""
    for title, _, rows in SECTIONS:
        lines = []
        for use, name, label in rows:
            rounds = pairs.get(use, {}).get(name, {}).get("before")
            if rounds and name != "whole":  # that has no other peer
                lines.append(f"  {label}: {cell(rounds)}")
        if lines:
            print(f"\n{title}, this checkout ÷ the one before", *lines, sep="\n")


def cell_of(found, pairs, peer, use, name, notes):
    """Return a cell; a dash, and a note that says why, where there is no number."""
    if pairs.get(peer):
        return cell(pairs[peer])
    errors = found["errors"]
    for place in (name, f"start {name}", "import" if use == "import" else ""):
        if peer in errors.get(place, {}):
            note = f"{NAMES[peer]}, {TITLES.get(name, name)}: {errors[place][peer]}"
            if note not in notes:
                notes.append(note)
            return f"– [{notes.index(note) + 1}]"
    return "–"


def draw(pairs, path, peers, title, rows, columns):
    """Draw the ratios of a section as bars from 1 to the left or to the right."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["font.size"] = 9
    ahead, behind, ink = "#2b6cb0", "#dd6b20", "#2d3748"
    rows = [
        (table, label.rsplit(", batch", 1)[0])
        for use, name, label in rows
        if (table := pairs.get(use, {}).get(name))
    ]
    lines = -(-len(rows) // columns)
    figure = Figure(
        figsize=(3.6 * columns, 1 + lines * (0.6 + 0.27 * len(peers))),
        layout="constrained",
    )
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    everything = [
        ratio
        for table, _ in rows
        for peer in peers
        for ratio in ratios(table.get(peer, []))
    ] or [1.0]
    low, high = min(0.5, *everything) * 0.85, max(2.0, *everything) * 2.2
    for panel in panels.flat[len(rows) :]:
        panel.set_axis_off()
    for panel, (table, name) in zip(panels.flat, rows, strict=False):
        panel.set_title(
            textwrap.shorten(name, 46, placeholder=" ..."),
            loc="left", fontsize=9, color=ink, weight="bold",
        )  # fmt: skip
        for row, peer in enumerate(peers):
            known = table.get(peer)
            if not known:
                panel.text(1.05, row, "–", va="center", color=ink)
                continue
            found = ratios(known)
            middle = median(found)
            color = ahead if middle >= 1 else behind
            alpha = 0.45 if peer == "jax" else 0.9
            panel.barh(row, middle - 1, 0.68, left=1, color=color, alpha=alpha, lw=0)
            panel.plot([min(found), max(found)], [row, row], color=ink, lw=0.9)
            end = max(*found, 1.0) * 1.06
            panel.text(end, row, f"{digits(middle)}×", va="center", color=ink)
        panel.axvline(1, color=ink, lw=0.8)
        panel.set_xscale("log", base=2)
        panel.set_xlim(low, high)
        panel.set_yticks(range(len(peers)), peers.values(), color=ink)
        panel.set_ylim(len(peers) - 0.4, -0.6)
        panel.xaxis.set_major_formatter(
            lambda x, _: f"{x:g}×" if x >= 1 else f"1/{1 / x:g}×"
        )
        panel.tick_params(which="minor", length=0)
        panel.tick_params(length=0, colors=ink)
        panel.grid(axis="x", color="#e2e8f0", lw=0.7)
        panel.set_axisbelow(True)
        panel.spines[:].set_visible(False)
    figure.suptitle(
        f"{title}: how many times as fast Lamina is as each peer",
        x=0.01, ha="left", fontsize=13, weight="bold", color=ink,
    )  # fmt: skip
    figure.supxlabel(
        "speed of Lamina ÷ speed of the peer (logarithmic; blue: Lamina is "
        "ahead; pale: the limit; lines: smallest and largest round)",
        fontsize=9, color=ink,
    )  # fmt: skip
    figure.savefig(path, dpi=100)
