"""The old place of helpers for images, sequences and folders of files."""

from lamina import utils
from lamina._imports import missing
from lamina.preprocessing import image as image
from lamina.preprocessing import sequence as sequence

# The data sets are loaded when they are asked for, as `utils` does.
__all__ = [
    "image", "image_dataset_from_directory", "sequence", "text_dataset_from_directory",
    "timeseries_dataset_from_array",
]  # fmt: skip


def __getattr__(name):
    if name not in __all__:
        raise missing(__name__, name)
    return getattr(utils, name)
