"""Folders of files as data sets: which files, their labels, and their order.

Order, labels, shuffling and the split are those of Keras for the same seed.
"""

import dataclasses
import inspect
import logging
import os
import pathlib
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from lamina.core.naming import printable
from lamina.core.tracebacks import warn
from lamina.utils.datasets.foreign import as_grain, as_tf, choose
from lamina.utils.datasets.samples import Samples


@dataclasses.dataclass
class Kind:
    """A kind of file.

    Attributes:
        noun: what they are called, in the plural.
        endings: the endings of their names.
        read: makes a sample of a path.
        join: makes a batch of a list of samples.
        load_tf: makes a tensor of a path within TensorFlow.
        join_grain: makes a batch of a list of samples for grain.
        padded: whether `tf.data` has to pad the samples of a batch.
    """

    noun: str
    endings: tuple[str, ...]
    read: Callable
    join: Callable
    load_tf: Callable
    join_grain: Callable
    padded: bool = False


@dataclasses.dataclass
class Files:
    """Takes rows: the files and their labels."""

    paths: list[str]
    labels: Any
    read: Callable
    join: Callable

    def __call__(self, rows):
        """Return the batch of an array of rows."""
        x = self.join([self._one(self.paths[row]) for row in rows])
        return x if self.labels is None else (x, self.labels[rows])

    def _one(self, path):
        try:
            return self.read(path)
        except Exception as error:
            error.add_note(f"It was the file {printable(path)}")
            raise


def check_labels(labels, label_mode, class_names, noun):
    """Check what is said about labels; return `labels` and `label_mode`.

    Raises:
        ValueError: naming the argument.
    """
    given = labels is not None and not (
        isinstance(labels, str) and labels == "inferred"
    )
    if given:
        if not isinstance(labels, (list, tuple, np.ndarray)):
            raise ValueError(
                "`labels` argument should be a list of integers, one for each of the "
                f'{noun} in the sorted order of their paths, or "inferred" to take the '
                f"names of the subfolders, or None. Received: labels={labels!r}"
            )
        if class_names:
            raise ValueError(
                'You can only pass `class_names` if `labels="inferred"`. Received: '
                f"class_names={class_names} and a list of labels"
            )
    if label_mode not in ("int", "categorical", "binary", None):
        raise ValueError(
            '`label_mode` argument must be one of "int", "categorical", "binary" or '
            f"None. Received: label_mode={label_mode!r}"
        )
    if labels is None or label_mode is None:
        return None, None
    return labels, label_mode


def check_split(validation_split, subset, shuffle, seed):
    """Check the arguments that cut off validation data.

    Raises:
        ValueError: naming the argument.
    """
    if validation_split and not 0 < validation_split < 1:
        raise ValueError(
            "`validation_split` must be between 0 and 1, excluding both. Received: "
            f"validation_split={validation_split}"
        )
    if bool(validation_split) != bool(subset):
        raise ValueError(
            "If `subset` is set, `validation_split` must be set, and inversely. "
            f"Received: validation_split={validation_split}, subset={subset!r}"
        )
    if subset not in ("training", "validation", "both", None):
        raise ValueError(
            '`subset` must be either "training", "validation" or "both". Received: '
            f"subset={subset!r}"
        )
    if validation_split and shuffle and seed is None:
        raise ValueError(
            "With `validation_split` and `shuffle=True` you must provide a `seed`: "
            "without it the training and the validation part would be cut from two "
            "different orders, and overlap."
        )


def folder_dataset(kind: Kind, given) -> Any:
    """Return the data set of a folder, or two for `subset="both"`.

    Args:
        kind: what is in the files.
        given: the arguments of a public function by name, and more.
    """
    names = list(inspect.signature(_folder_dataset).parameters)[1:]
    return _folder_dataset(kind, **{name: given[name] for name in names})


def _folder_dataset(
    kind: Kind,
    directory,
    labels,
    label_mode,
    class_names,
    batch_size,
    shuffle,
    seed,
    validation_split,
    subset,
    follow_links,
    format,
    verbose,
):
    labels, label_mode = check_labels(labels, label_mode, class_names, kind.noun)
    check_split(validation_split, subset, shuffle, seed)
    format = choose(format)
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise ValueError(
            "`batch_size` must be a positive integer, or None for single samples. "
            f"Received: batch_size={batch_size!r}"
        )
    seed = int(np.random.randint(10**6)) if seed is None else seed
    paths, labels, class_names = _index(
        directory, labels, kind.endings, class_names, follow_links
    )
    if verbose:
        found = f"Found {len(paths)} files"
        of = "" if labels is None else f" belonging to {len(class_names or [])} classes"
        say(f"{found}{of}.")
    if label_mode == "binary" and len(class_names or []) != 2:
        raise ValueError(
            'With `label_mode="binary"` there must be exactly 2 classes. Received: '
            f"class_names={class_names}"
        )
    if labels is not None:
        labels = encode(labels, label_mode, len(class_names or []))
    order = np.arange(len(paths))
    if shuffle:
        np.random.RandomState(seed).shuffle(order)

    def part(rows, what, shuffle):
        if len(rows) == 0:
            cause = f" `validation_split={validation_split}` leaves none." * bool(paths)
            raise ValueError(
                f"No {what}{kind.noun} found in directory {directory}.{cause} Allowed "
                f"formats: {kind.endings}"
            )
        chosen = [paths[row] for row in rows]
        own = None if labels is None else labels[rows]
        data = _made(kind, chosen, own, batch_size, shuffle, seed, format)
        data.class_names, data.file_paths = cast(Any, class_names), chosen
        return data

    if not validation_split:
        return part(order, "", shuffle)
    cut = len(paths) - int(validation_split * len(paths))
    training, validation = order[:cut], order[cut:]
    if subset != "validation" and verbose:
        say(f"Using {len(training)} files for training.")
    if subset != "training" and verbose:
        say(f"Using {len(validation)} files for validation.")
    if subset == "training":
        return part(training, "training ", shuffle)
    if subset == "validation":
        return part(validation, "validation ", shuffle)
    return [
        part(training, "training ", shuffle),
        part(validation, "validation ", False),
    ]


def _made(kind, paths, labels, batch_size, shuffle, seed, format):
    if format == "tf":
        return as_tf(
            paths, labels, kind.load_tf, batch_size, shuffle, seed, kind.padded
        )
    take = Files(paths, labels, kind.read, kind.join)
    if format == "grain":
        return as_grain(take, len(paths), batch_size, shuffle, seed, kind.join_grain)
    workers = min(4, os.cpu_count() or 1)
    return Samples(take, len(paths), batch_size, shuffle, seed, workers)


def encode(labels, label_mode, classes: int) -> np.ndarray:
    """Return labels as `label_mode` wants them: a row for each."""
    labels = np.asarray(labels)
    if label_mode == "binary":
        return labels.astype("float32")[:, None]
    if label_mode == "categorical":
        return (labels[:, None] == np.arange(classes)).astype("float32")
    return labels.astype("int32")


def say(text):
    """Print, or log when interactive logging is off."""
    from lamina.core import settings

    if settings.get("interactive_logging"):
        print(text)
    else:
        logging.getLogger("lamina").info(text)


def _index(directory, labels, endings, class_names, follow_links):
    """Return all paths in sorted order, their labels, and the names of classes."""
    root = pathlib.Path(directory)
    if not root.is_dir():
        error = NotADirectoryError if root.exists() else FileNotFoundError
        raise error(f"There is no folder {str(directory)!r}. Received as `directory`.")
    if not isinstance(labels, str):
        if class_names is not None:
            raise ValueError(
                '`class_names` cannot be specified unless `labels="inferred"` and a '
                f"`label_mode` is set. Received: class_names={class_names}"
            )
        paths = list(_walk(root, endings, follow_links))
        if labels is None:
            return paths, None, None
        if len(labels) != len(paths):
            raise ValueError(
                "Expected the lengths of `labels` to match the number of files in the "
                f"target directory. Received: {len(labels)} labels for {len(paths)} "
                f"files in {str(directory)!r}"
            )
        return paths, labels, [str(label) for label in sorted(set(labels))]
    folders = sorted(
        item.name
        for item in root.iterdir()
        if item.is_dir() and not item.name.startswith(".")
    )
    if class_names is not None:
        if not set(class_names) <= set(folders):
            raise ValueError(
                "The `class_names` passed did not match the names of the subfolders of "
                f"the target directory. Expected some of {folders}. Received: "
                f"class_names={class_names}"
            )
        folders = list(class_names)
    paths, found = [], []
    for number, folder in enumerate(folders):
        inside = list(_walk(root / folder, endings, follow_links))
        paths += inside
        found += [number] * len(inside)
    return paths, found, folders


def _walk(root, endings, follow_links):
    """Yield the files of a folder: what is a link is left out, with a warning."""
    left_out = []
    for folder, _, names in sorted(os.walk(root, followlinks=follow_links)):
        for name in sorted(names):
            path = pathlib.Path(folder) / name
            if not name.lower().endswith(endings):
                continue
            if path.is_symlink() and not follow_links:
                left_out.append(path)
            elif path.is_file():  # no pipe, which would be waited for
                yield str(path)
    if left_out:
        warn(
            f"{len(left_out)} link(s) to files are left out, the first of them "
            f"{str(left_out[0])!r}. Pass `follow_links=True` to read them."
        )
