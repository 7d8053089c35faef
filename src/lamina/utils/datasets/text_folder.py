"""Folders of texts as data sets."""

import dataclasses
import pathlib
from typing import Any

from lamina.core.tracebacks import boundary
from lamina.utils.datasets.dataset import Dataset, strings
from lamina.utils.datasets.folders import Kind, folder_dataset
from lamina.utils.datasets.foreign import package


@boundary
def text_dataset_from_directory(
    directory,
    labels: Any = "inferred",
    label_mode: str = "int",
    class_names: Any = None,
    batch_size: int | None = 32,
    max_length: Any = None,
    shuffle: bool = True,
    seed: Any = None,
    validation_split: Any = None,
    subset: Any = None,
    follow_links: bool = False,
    format: Any = None,
    verbose: bool = True,
) -> Dataset:
    """Make a data set of the `.txt` files in a folder, which are read as UTF-8.

    It gives `(texts, labels)`, or only texts without labels. Texts are a NumPy array
    of strings (a tensor of bytes for `"tf"`, a list for `"grain"`); labels are as in
    `image_dataset_from_directory`.

    Args:
        directory: the folder; with `labels="inferred"` a subfolder for each class.
        labels: `"inferred"`, None, or a list of integers for the files in the sorted
            order of their paths.
        label_mode: `"int"`, `"binary"`, `"categorical"` or None.
        class_names: the subfolders to use, in the order of their numbers.
        batch_size: texts in a batch; None gives single texts.
        max_length: where longer texts are cut off: characters (bytes for `"tf"`).
        shuffle: whether to shuffle; otherwise in the sorted order of paths.
        seed: the seed of the order.
        validation_split: the share to keep for validation.
        subset: `"training"`, `"validation"`, or `"both"` for a list of the two.
        follow_links: whether to go into linked folders and read linked files.
        format: `"lamina"`, `"tf"`, `"grain"` or None, as in
            `image_dataset_from_directory`.
        verbose: whether to print how many files were found.

    Returns:
        A `Dataset` of batches, with the attributes `class_names` and `file_paths`, and
        the verbs of `tf.data`: `map`, `shuffle`, `take`, `cache`, `prefetch` ...

    Raises:
        ValueError: no texts, or an argument that does not fit, which it names.
        FileNotFoundError: no such folder.

    >>> import pathlib, tempfile, lamina
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (root / "a.txt").write_text("good morning")
    >>> data = lamina.utils.text_dataset_from_directory(
    ...     root, labels=None, max_length=4, format="lamina"
    ... )
    Found 1 files.
    >>> [x.tolist() for x in data]
    [['good']]
    """
    reader = Reader(max_length)
    kind = Kind(
        "text files",
        (".txt",),
        read=reader,
        join=strings,
        load_tf=reader.load_tf,
        join_grain=list,
    )
    return folder_dataset(kind, locals())


@dataclasses.dataclass
class Reader:
    """Reads a text file, up to a length."""

    max_length: int | None

    def __call__(self, path):
        """Return the text."""
        # Decoded as it is: line ends are part of the text.
        return pathlib.Path(path).read_bytes().decode()[: self.max_length]

    def load_tf(self, path):
        """Return the text as a tensor, within TensorFlow."""
        tf = package("tensorflow", "tf")
        text = tf.io.read_file(path)
        if self.max_length is None:
            return text
        return tf.strings.substr(text, 0, self.max_length)
