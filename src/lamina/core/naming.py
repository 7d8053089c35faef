"""Automatic names: `dense`, `dense_1`, ... and snake case."""

import collections
import contextlib
import re

_counts: collections.Counter[str] = collections.Counter()


def snake_case(name: str) -> str:
    """Turn `MaxPooling2D` into `max_pooling2d`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def automatic_name(prefix: str) -> str:
    """Return `prefix`, and from the second time on `prefix_1`, `prefix_2`..."""
    taken = _counts[prefix]
    _counts[prefix] += 1
    return f"{prefix}_{taken}" if taken else prefix


def forget_names() -> None:
    """Start the numbering of automatic names afresh."""
    _counts.clear()


@contextlib.contextmanager
def unchanged():
    """Number automatic names after a block as if it had not been."""
    counts = _counts.copy()
    try:
        yield
    finally:
        _counts.clear()
        _counts.update(counts)


def package_of(thing) -> str:
    """Return the name of the package that a class or function is written in."""
    module = getattr(thing, "__module__", None) or ""
    return module.partition(".")[0]


def of_keras(thing) -> str:
    """Return a sentence about an object that the package `keras` made, or ``""``."""
    package = package_of(type(thing))
    name = type(thing).__name__
    return (
        f" It is an object of `{package}`: take Lamina's own `{name}`."
        if package in ("keras", "tf_keras")
        else ""
    )


_LONGEST = 100  # characters of what may be a misspelt name
# What arguments were called in the first versions of Keras.
_FORMER = {
    "border_mode": "padding",
    "dim_ordering": "data_format",
    "init": "kernel_initializer",
    "inner_activation": "recurrent_activation",
    "nb_filter": "filters",
    "output_dim": "units",
    "subsample": "strides",
}


def nearest(word: str, names, cutoff: float = 0.6) -> str:
    """Return `" Did you mean 'x'?"` for the name nearest to `word`, or ``""``.

    A name is also found by its beginning, `return_sequences` by `return_seq`, and by
    the first letters of its words: `learning_rate` by `lr`.

    Args:
        word: what was written.
        names: those that there are.
        cutoff: how alike they must be, up to 1.
    """
    import difflib

    if len(str(word)) > _LONGEST:
        return ""
    folded = {str(name).lower(): str(name) for name in names}
    initials = {"".join(p[:1] for p in name.split("_")): name for name in folded}
    word = str(word).lower()
    found = [name for name in folded if len(word) > 2 and name.startswith(word)]
    if _FORMER.get(word) in folded:
        found = [_FORMER[word]]
    elif len(found) != 1:
        found = difflib.get_close_matches(word, folded, n=1, cutoff=cutoff)
    if not found and len(word) > 1 and word in initials:
        found = [initials[word]]
    return f" Did you mean {folded[found[0]]!r}?" if found else ""


def printable(text, most: int = 2000) -> str:
    r"""Return the words of a file without what a terminal would obey.

    >>> from lamina.core.naming import printable
    >>> print(printable("a\x1b[31mb"))
    a\x1b[31mb
    """
    text = str(text)
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:most])
    return shown + ("..." if len(text) > most else "")


def listed(items, most: int) -> str:
    """Return the first `most` items with commas between, and how many more there are.

    >>> from lamina.core.naming import listed
    >>> listed([1, 2, 3], 2)
    '1, 2 and 1 more'
    """
    shown = ", ".join(map(str, items[:most]))
    return shown + (f" and {len(items) - most} more" if len(items) > most else "")


def uid(prefix: str = "") -> int:
    """Return 1 for the first use of `prefix`, then 2, and so on.

    >>> import lamina
    >>> lamina.backend.get_uid("block"), lamina.backend.get_uid("block")
    (1, 2)
    """
    _counts[prefix] += 1
    return _counts[prefix]


def shortened(text: str, most: int) -> str:
    """Return a text without its middle, if it has more characters than allowed."""
    half = most // 2
    gap = f" ... ({len(text) - most} characters) ... "
    return text if len(text) <= most else text[:half] + gap + text[-half:]
