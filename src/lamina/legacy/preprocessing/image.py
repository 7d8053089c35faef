"""Batches of images from arrays and files, changed at random.

Draws come from NumPy's global generator, in Keras' order: the same seed gives the same
numbers as there.
"""

import os
import threading
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from lamina import utils
from lamina.core import settings
from lamina.core.arguments import SharedArguments
from lamina.core.tracebacks import warn
from lamina.utils import PyDataset
from lamina.utils.images import pillow

__all__ = [
    "DirectoryIterator",
    "ImageDataGenerator",
    "Iterator",
    "NumpyArrayIterator",
    "apply_affine_transform",
    "apply_brightness_shift",
    "apply_channel_shift",
    "random_brightness",
    "random_channel_shift",
    "random_rotation",
    "random_shear",
    "random_shift",
    "random_zoom",
]

_CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}


def _settings(
    batch_size: int = 32,
    shuffle: bool = True,
    classes: Sequence | None = None,
    target_size: Sequence[int] = (256, 256),
    subset: str | None = None,
    seed: int | None = None,
    dtype: str | None = None,
    color_mode: str = "rgb",
    data_format: str | None = None,
    class_mode: str | None = "categorical",
    interpolation: str = "nearest",
    sample_weight: Any = None,
    save_to_dir: str | PathLike | None = None,
    x_col: str = "filename",
    save_prefix: str = "",
    y_col: Any = "class",
    save_format: str = "png",
    weight_col: str | None = None,
    follow_links: bool = False,
    validate_filenames: bool = True,
    ignore_class_split: bool = False,
    keep_aspect_ratio: bool = False,
):
    """Describe what iterators and the methods that make them take.

    Args:
        batch_size: rows in a batch.
        shuffle: another order in each epoch.
        classes: the classes in their order; None for all, sorted.
        target_size: (height, width) of the images.
        subset: `"training"` or `"validation"`, as `validation_split` divides.
        seed: seeds NumPy's generator anew for each batch.
        dtype: of the batches; `floatx()` when None.
        color_mode: `"rgb"`, `"rgba"` or `"grayscale"`.
        data_format: `"channels_last"` or `"channels_first"`.
        class_mode: `"categorical"` (one-hot), `"binary"` or `"sparse"` (numbers),
            `"input"` (the images again), None; for tables also `"raw"` (the column as
            it is) and `"multi_output"` (an array for each of the columns `y_col`).
        interpolation: how images are resized.
        sample_weight: a weight for each row.
        save_to_dir: a folder where the batches' images are written.
        x_col: the column of files' names.
        save_prefix: what the names of written images begin with.
        y_col: the column of labels, or of targets.
        save_format: what the names of written images end in.
        weight_col: a column of weights.
        follow_links: go into links to folders.
        validate_filenames: leave out what is not an image.
        ignore_class_split: let a subset lack some classes.
        keep_aspect_ratio: cut images rather than distort them.
    """


# Any: type checkers let the shared ones be given by their places.
_shared: Any = SharedArguments(_settings)


def _documented(cls):
    _shared.document(cls)
    return cls


class Iterator(PyDataset):
    """Batches of rows in an order, without end when it is iterated.

    Args:
        n: the number of rows.
        batch_size: rows in a batch.
        shuffle: another order in each epoch.
        seed: seeds NumPy's generator anew for each batch.
        kwargs: see `PyDataset`.
    """

    # What subclasses keep of their settings.
    image_data_generator: Any
    subset: Any
    dtype: Any
    data_format: Any
    save_to_dir: Any
    save_prefix: str
    save_format: str
    index_array: Any
    _most_marks: int  # what the names of written images are drawn from

    white_list_formats = ("png", "jpg", "jpeg", "bmp", "ppm", "tif", "tiff")

    def __init__(
        self, n: int, batch_size: int, shuffle: bool, seed: int | None, **kwargs
    ):
        super().__init__(**kwargs)
        self.n, self.batch_size, self.shuffle, self.seed = n, batch_size, shuffle, seed
        self.batch_index = self.total_batches_seen = 0
        self.lock, self.index_array = threading.Lock(), None
        self.index_generator = self._flow_index()

    def __getstate__(self):
        return {**vars(self), "lock": None, "index_generator": None}

    def __setstate__(self, state):
        vars(self).update(state)
        self.lock, self.index_generator = threading.Lock(), self._flow_index()

    def __len__(self):
        return -(-self.n // self.batch_size)

    def __getitem__(self, index):
        if index >= len(self):
            raise ValueError(f"There are {len(self)} batches. Received: index={index}")
        self._begin_batch()
        if self.index_array is None:
            self._set_index_array()
        first = self.batch_size * index
        return self._get_batches_of_transformed_samples(
            self.index_array[first : first + self.batch_size]  # pyright: ignore
        )

    def __iter__(self):
        return self

    def __next__(self):
        with self.lock:
            rows = next(self.index_generator)
        return self._get_batches_of_transformed_samples(rows)

    def reset(self):
        """Begin again with the first batch."""
        self.batch_index = 0

    def on_epoch_end(self):
        """Draw the next epoch's order."""
        self._set_index_array()

    def _set_index_array(self):
        order = np.random.permutation if self.shuffle else np.arange
        self.index_array = order(self.n)

    def _begin_batch(self):
        if self.seed is not None:
            np.random.seed(self.seed + self.total_batches_seen)
        self.total_batches_seen += 1

    def _flow_index(self):
        while True:
            self._begin_batch()
            if self.batch_index == 0:
                self._set_index_array()
            first = self.batch_index * self.batch_size
            last = first + self.batch_size >= self.n
            self.batch_index = 0 if last else self.batch_index + 1
            yield self.index_array[first : first + self.batch_size]

    def _get_batches_of_transformed_samples(self, index_array):
        raise NotImplementedError("A subclass returns the batch of some rows.")

    def _keep(self, generator, **given):
        """Keep the settings of a subclass."""
        vars(self).update(given)
        self.image_data_generator = generator
        self.dtype = self.dtype or settings.floatx()
        self.data_format = settings.standardize_data_format(self.data_format)
        self.split = _share(generator, self.subset) if self.subset is not None else None

    def _part(self, n):
        """Return which of `n` rows belong to the subset."""
        return slice(*(int(share * n) for share in self.split or (0, 1)))

    def _images(self, load, rows, shape):
        """Return the images of rows, changed by the generator, and save them."""
        generator = self.image_data_generator
        images = np.zeros((len(rows), *shape), self.dtype)
        for i, row in enumerate(rows):
            image = load(row)
            if generator:
                drawn = generator.get_random_transform(image.shape)
                image = generator.standardize(generator.apply_transform(image, drawn))
            images[i] = image
        if self.save_to_dir:
            for row, image in zip(rows, images, strict=True):
                mark = np.random.randint(self._most_marks)
                name = f"{self.save_prefix}_{row}_{mark}.{self.save_format}"
                picture = utils.array_to_img(image, self.data_format, scale=True)
                picture.save(Path(self.save_to_dir, name))
        return images


@_documented
class NumpyArrayIterator(Iterator):
    """Batches of arrays in memory; see `ImageDataGenerator.flow`.

    Raises:
        ValueError: lengths differ, images have not four axes, or labels of a part lack
            some classes.
    """

    _most_marks = 10**4

    @_shared(
        "x y image_data_generator batch_size shuffle sample_weight seed data_format "
        "save_to_dir save_prefix save_format subset ignore_class_split dtype"
    )
    def __init__(
        self, x: Any, y: Any, image_data_generator: Any, shuffle: bool = False, **kwargs
    ):
        self._keep(image_data_generator, shuffle=shuffle, **kwargs)
        others = []
        if isinstance(x, (tuple, list)):
            others = x[1] if isinstance(x[1], list) else [x[1]]
            x = x[0]
        parts = {"x": x, "y": y, "sample_weight": kwargs["sample_weight"]}
        parts |= {f"x[{i}]": other for i, other in enumerate(others, 1)}
        parts = {name: np.asarray(p) for name, p in parts.items() if p is not None}
        if len({len(part) for part in parts.values()}) > 1:
            shapes = {name: part.shape for name, part in parts.items()}
            raise ValueError(f"Arrays expected one length. Received: shapes {shapes}")
        if self.split is not None:
            part = self._part(len(parts["x"]))
            if "y" in parts and not kwargs["ignore_class_split"]:
                middle = part.start or part.stop
                before, after = parts["y"][:middle], parts["y"][middle:]
                if not np.array_equal(np.unique(before), np.unique(after)):
                    raise ValueError(
                        "Training and validation subsets have different number of "
                        "classes after the split. Mix the arrays before, or give "
                        "`ignore_class_split=True`."
                    )
            parts = {name: array[part] for name, array in parts.items()}
        self.x, self.y = parts.pop("x").astype(self.dtype), parts.pop("y", None)
        self.sample_weight = parts.pop("sample_weight", None)
        self.x_misc = [*parts.values()]
        if self.x.ndim != 4:
            raise ValueError(
                "Images expected the shape (n, height, width, channels), or channels "
                f"first. Received: x.shape={self.x.shape}"
            )
        _check_channels(self.x, self.data_format)
        super().__init__(len(self.x), self.batch_size, shuffle, self.seed)

    def _get_batches_of_transformed_samples(self, index_array):
        load = self.x.__getitem__
        images = self._images(lambda i: load(i).copy(), index_array, self.x.shape[1:])
        others = [other[index_array] for other in self.x_misc]
        batch = [[images, *others] if others else images]
        batch += [p[index_array] for p in (self.y, self.sample_weight) if p is not None]
        return batch[0] if self.y is None else tuple(batch)


class _FilesIterator(Iterator):
    """Batches of images in files: what both kinds share."""

    color_mode: str
    class_mode: Any
    target_size: Any
    interpolation: str
    keep_aspect_ratio: bool
    follow_links: bool
    filepaths: list
    classes: Any
    class_indices: dict

    _most_marks = 10**7
    _modes: tuple = ("categorical", "binary", "sparse", "input", None)
    sample_weight: Any = None

    def _keep(self, generator, **given):
        super()._keep(generator, **given)
        if self.color_mode not in _CHANNELS:
            raise ValueError(
                f"`color_mode` expected one of {[*_CHANNELS]}. Received: "
                f"{self.color_mode!r}"
            )
        if self.class_mode not in self._modes:
            raise ValueError(
                f"`class_mode` expected one of {self._modes}. Received: "
                f"{self.class_mode!r}"
            )
        sizes, channels = tuple(self.target_size), (_CHANNELS[self.color_mode],)
        first = self.data_format == "channels_first"
        self.target_size = sizes
        self.image_shape = channels + sizes if first else sizes + channels

    def _load(self, row):
        image = utils.load_img(
            self.filepaths[row],
            color_mode=self.color_mode,
            target_size=self.target_size,
            interpolation=self.interpolation,
            keep_aspect_ratio=self.keep_aspect_ratio,
        )
        return utils.img_to_array(image, data_format=self.data_format)

    def _get_batches_of_transformed_samples(self, index_array):
        images = self._images(self._load, index_array, self.image_shape)
        if self.class_mode is None:
            return images
        if self.class_mode == "input":
            y = images.copy()
        elif self.class_mode == "multi_output":
            y = [labels[index_array] for labels in self.labels]
        elif self.class_mode == "raw":
            y = self.labels[index_array]
        else:
            y = [self.classes[row] for row in index_array]
            if self.class_mode == "categorical":
                rows, y = y, np.zeros((len(y), len(self.class_indices)), self.dtype)
                for vector, label in zip(y, rows, strict=True):
                    vector[label] = 1
            y = np.asarray(y, self.dtype)
        if self.sample_weight is None:
            return images, y
        return images, y, self.sample_weight[index_array]

    @property
    def labels(self):
        """The classes or the targets of all rows."""
        return self.classes


@_documented
class DirectoryIterator(_FilesIterator):
    """Batches of a folder's images; see `ImageDataGenerator.flow_from_directory`.

    Raises:
        ValueError: `color_mode`, `class_mode` or `subset` is none of those known.
    """

    @_shared(
        "directory image_data_generator target_size color_mode classes class_mode "
        "batch_size shuffle seed data_format save_to_dir save_prefix save_format "
        "follow_links subset interpolation keep_aspect_ratio dtype"
    )
    def __init__(
        self,
        directory: Any,
        image_data_generator: Any,
        classes: Sequence | None = None,
        **kwargs,
    ):
        self._keep(image_data_generator, **kwargs)
        self.directory, folder = directory, Path(directory)
        names = classes or sorted(p.name for p in folder.iterdir() if p.is_dir())
        self.num_classes = len(names)
        self.class_indices = {name: i for i, name in enumerate(names)}
        self.filenames, labels = [], []
        for label, name in enumerate(names):
            files = [
                str(Path(root, file).relative_to(folder))
                for root, _, inside in sorted(
                    os.walk(folder / name, followlinks=self.follow_links)
                )
                for file in sorted(inside)
                if file.lower().endswith(self.white_list_formats)
            ]
            files = files[self._part(len(files))]
            self.filenames += files
            labels += [label] * len(files)
        self.classes = np.array(labels, "int32")
        self.samples = len(self.filenames)
        self.filepaths = [str(Path(directory, name)) for name in self.filenames]
        print(f"Found {self.samples} images belonging to {self.num_classes} classes.")
        super().__init__(self.samples, self.batch_size, self.shuffle, self.seed)


class DataFrameIterator(_FilesIterator):
    """Batches of the images that a table names; see `flow_from_dataframe`.

    Raises:
        TypeError: a column holds something else than its mode wants.
        ValueError: `"binary"` with other than two classes, or an unknown setting.
    """

    _modes = (*_FilesIterator._modes, "multi_output", "raw")

    def __init__(
        self,
        dataframe: Any,
        directory: Any,
        image_data_generator: Any,
        *,
        x_col: str,
        y_col: Any,
        weight_col: str | None,
        classes: Sequence | None,
        class_mode: str | None,
        validate_filenames: Any,
        **kwargs,
    ):
        self._keep(image_data_generator, class_mode=class_mode, **kwargs)
        self.directory, table = directory or "", dataframe.copy()
        self._check(table, x_col, y_col, weight_col, classes)
        if validate_filenames:
            table = self._there(table, x_col)
        found = f"{'' if validate_filenames else 'non-'}validated image filenames"
        labelled = class_mode in ("binary", "categorical", "sparse")
        if labelled:
            names = list(dict.fromkeys(classes or sorted(_labels(table[y_col]))))
            self.class_indices = {name: i for i, name in enumerate(names)}
            table[y_col] = [self._known(label) for label in table[y_col]]
            table = table.dropna(subset=[y_col])
            found += f" belonging to {len(names)} classes"
        if self.split:
            table = table.iloc[self._part(len(table))]
        if labelled:
            self.classes = [self._numbers(label) for label in table[y_col]]
        elif class_mode == "multi_output":
            self._targets = [np.array(table[name].tolist()) for name in y_col]
        elif class_mode == "raw":
            self._targets = table[y_col].to_numpy()
        if weight_col:
            self.sample_weight = table[weight_col].to_numpy()
        self.filenames = table[x_col].tolist()
        self.samples = len(self.filenames)
        self.filepaths = [str(Path(self.directory, n)) for n in self.filenames]
        print(f"Found {self.samples} {found}.")
        super().__init__(self.samples, self.batch_size, self.shuffle, self.seed)

    @property
    def labels(self):
        """The classes or the targets of all rows."""
        raw = self.class_mode in ("multi_output", "raw")
        return self._targets if raw else self.classes

    def _check(self, table, x_col, y_col, weight_col, classes):
        mode = self.class_mode
        if mode == "multi_output" and not isinstance(y_col, list):
            raise TypeError(f"`y_col` expected a list of columns. Received: {y_col!r}")
        wanted: dict[Any, Any] = {x_col: str}
        if mode in ("binary", "sparse"):
            wanted[y_col] = str
        elif mode == "categorical":
            wanted[y_col] = (str, list, tuple)
        elif classes and mode is not None:
            warn(f"`classes` has no effect with `class_mode={mode!r}`.")
        for name, kinds in wanted.items():
            odd = next((v for v in table[name] if not isinstance(v, kinds)), None)
            if odd is not None:
                kind = "strings" if kinds is str else "strings or lists of them"
                raise TypeError(f"Column {name!r} expected {kind}. Received: {odd!r}")
        if mode == "binary":
            names = {*classes} if classes else _labels(table[y_col])
            if len(names) != 2:
                raise ValueError(
                    f"`class_mode='binary'` expected 2 classes. Received: {names}"
                )
        if weight_col and not issubclass(table[weight_col].dtype.type, np.number):
            raise TypeError(f"Column {weight_col!r} expected numbers, as weights.")

    def _there(self, table, x_col):
        ends = self.white_list_formats
        paths = [str(Path(self.directory, name)) for name in table[x_col]]
        there = [p.lower().endswith(ends) and Path(p).is_file() for p in paths]
        if not all(there):
            warn(
                f"{there.count(False)} names in {x_col!r} are not images, and left out."
            )
        return table[there]

    def _known(self, label):
        if isinstance(label, (list, tuple)):
            return [name for name in label if name in self.class_indices] or None
        return label if label in self.class_indices else None

    def _numbers(self, label):
        if isinstance(label, (list, tuple)):
            return [self.class_indices[name] for name in label]
        return self.class_indices[label]


def _labels(column):
    """Return the classes in a column of labels, or of lists of labels."""
    rows = ([row] if isinstance(row, str) else row for row in column)
    return {label for row in rows for label in row}


def _share(generator, subset):
    """Return where a subset begins and ends, as shares of the rows."""
    split = generator._validation_split
    shares = {"training": (split, 1), "validation": (0, split)}
    if subset not in shares:
        raise ValueError(f"`subset` expected one of {[*shares]}. Received: {subset!r}")
    return shares[subset]


def _check_channels(x, data_format):
    channels = x.shape[1 if data_format == "channels_first" else 3]
    if channels not in (1, 3, 4):
        warn(
            f"Images with {data_format} have 1, 3 or 4 channels. Received: the shape "
            f"{x.shape}, which has {channels}."
        )


class ImageDataGenerator:
    """Makes batches of images that are changed at random.

    Args:
        featurewise_center: subtract the mean of the data that `fit` saw, by channel.
        samplewise_center: subtract each image's mean.
        featurewise_std_normalization: divide by the deviation of the data.
        samplewise_std_normalization: divide by each image's deviation.
        zca_whitening: make pixels uncorrelated, as `fit` found them.
        zca_epsilon: added to the singular values.
        rotation_range: the largest angle, in degrees.
        width_shift_range: the largest shift; a share of the width below 1, else pixels;
            or a list of shifts to choose from.
        height_shift_range: as for the width.
        brightness_range: (least, most) factor.
        shear_range: the largest angle, in degrees.
        zoom_range: (least, most) factor, or what they differ from 1 by.
        channel_shift_range: the most that is added to all values.
        fill_mode: what comes into view: `"nearest"`, `"constant"` (`cval`),
            `"reflect"` or `"wrap"`.
        cval: see `fill_mode`.
        horizontal_flip: exchange left and right, every other time.
        vertical_flip: exchange top and bottom, every other time.
        rescale: a factor for all values, after the changes.
        preprocessing_function: a function of an image, before it.
        data_format: `"channels_last"` or `"channels_first"`.
        validation_split: the share of the rows that are for validation.
        interpolation_order: of the splines between pixels.
        dtype: of the batches; `floatx()` when None.

    Raises:
        ValueError: a range is not a pair, or `validation_split` not below 1.

    >>> import numpy as np
    >>> from lamina.legacy.preprocessing.image import ImageDataGenerator
    >>> generator = ImageDataGenerator(rescale=0.5, horizontal_flip=True)
    >>> x = next(generator.flow(np.ones((4, 2, 2, 3)), batch_size=2))
    >>> x.shape, float(x.max())
    ((2, 2, 2, 3), 0.5)
    """

    def __init__(
        self,
        featurewise_center: bool = False,
        samplewise_center: bool = False,
        featurewise_std_normalization: bool = False,
        samplewise_std_normalization: bool = False,
        zca_whitening: bool = False,
        zca_epsilon: float = 1e-6,
        rotation_range: float = 0,
        width_shift_range: Any = 0.0,
        height_shift_range: Any = 0.0,
        brightness_range: Any = None,
        shear_range: float = 0.0,
        zoom_range: Any = 0.0,
        channel_shift_range: float = 0.0,
        fill_mode: str = "nearest",
        cval: float = 0.0,
        horizontal_flip: bool = False,
        vertical_flip: bool = False,
        rescale: float | None = None,
        preprocessing_function: Callable | None = None,
        data_format: str | None = None,
        validation_split: float = 0.0,
        interpolation_order: int = 1,
        dtype: str | None = None,
    ):
        self.featurewise_center = featurewise_center
        self.samplewise_center = samplewise_center
        self.featurewise_std_normalization = featurewise_std_normalization
        self.samplewise_std_normalization = samplewise_std_normalization
        self.zca_whitening, self.zca_epsilon = zca_whitening, zca_epsilon
        self.rotation_range, self.shear_range = rotation_range, shear_range
        self.width_shift_range = width_shift_range
        self.height_shift_range = height_shift_range
        self.brightness_range = brightness_range
        self.channel_shift_range = channel_shift_range
        self.fill_mode, self.cval = fill_mode, cval
        self.interpolation_order = interpolation_order
        self.horizontal_flip, self.vertical_flip = horizontal_flip, vertical_flip
        self.preprocessing_function, self.rescale = preprocessing_function, rescale
        self._validation_split = validation_split
        self.dtype = dtype or settings.floatx()
        self.data_format = settings.standardize_data_format(data_format)
        first = self.data_format == "channels_first"
        self.channel_axis, self.row_axis, self.col_axis = (
            (1, 2, 3) if first else (3, 1, 2)
        )
        if validation_split and not 0 < validation_split < 1:
            raise ValueError(
                "`validation_split` expected to be between 0 and 1. Received: "
                f"{validation_split}"
            )
        if isinstance(zoom_range, (float, int)):
            zoom_range = 1 - zoom_range, 1 + zoom_range
        self.zoom_range = list(_pair("zoom_range", zoom_range))
        if brightness_range is not None:
            _pair("brightness_range", brightness_range)
        self.mean: Any = None
        self.std: Any = None
        self.zca_whitening_matrix: Any = None
        if zca_whitening:
            self._imply("zca_whitening", "featurewise_center", True)
            self._imply("zca_whitening", "featurewise_std_normalization", False)
        for kind in ("featurewise", "samplewise"):
            if getattr(self, f"{kind}_std_normalization"):
                self._imply(f"{kind}_std_normalization", f"{kind}_center", True)

    def _imply(self, cause, name, value):
        if getattr(self, name) != value:
            setattr(self, name, value)
            warn(f"`{cause}` sets `{name}` to {value}.")

    @_shared(
        "x y batch_size shuffle sample_weight seed save_to_dir save_prefix save_format "
        "ignore_class_split subset"
    )
    def flow(self, x, y=None, **kwargs):
        """Return batches of arrays.

        Args:
            x: images (n, height, width, channels), or a pair of them and of other
                arrays, which go along.
            y: labels.
            kwargs: see `NumpyArrayIterator`.
        """
        return NumpyArrayIterator(x, y, self, **self._kept(kwargs))

    @_shared(
        "directory target_size color_mode classes class_mode batch_size shuffle seed "
        "save_to_dir save_prefix save_format follow_links subset interpolation "
        "keep_aspect_ratio"
    )
    def flow_from_directory(self, directory, **kwargs):
        """Return batches of the images in a folder, which has one for each class.

        Args:
            directory: the folder.
            kwargs: see `DirectoryIterator`.
        """
        return DirectoryIterator(directory, self, **self._kept(kwargs))

    @_shared(
        "dataframe directory x_col y_col weight_col target_size color_mode classes "
        "class_mode batch_size shuffle seed save_to_dir save_prefix save_format subset "
        "interpolation validate_filenames"
    )
    def flow_from_dataframe(
        self, dataframe, directory=None, class_mode="categorical", **kwargs
    ):
        """Return batches of the images that a table of pandas names.

        Args:
            dataframe: the table, with the files' names in the column `x_col`, labels or
                targets in `y_col` and weights in `weight_col`.
            directory: the folder that the names are below.
            class_mode: as for `DirectoryIterator`, `"raw"` for the columns as they are,
                or `"multi_output"` for an array of each of the columns `y_col`.
            kwargs: see `DirectoryIterator`; `validate_filenames=True` leaves out what
                is not an image. `has_ext`, `sort` and `drop_duplicates` have no effect.
        """
        for name in ("has_ext", "sort", "drop_duplicates"):
            if kwargs.pop(name, None) is not None:
                warn(f"`{name}` of `flow_from_dataframe` has no effect.")
        mode = "raw" if class_mode == "other" else class_mode
        kwargs = self._kept(kwargs) | {"class_mode": mode, "keep_aspect_ratio": False}
        return DataFrameIterator(dataframe, directory, self, **kwargs)

    def _kept(self, given):
        return given | {"data_format": self.data_format, "dtype": self.dtype}

    def standardize(self, x):
        """Return images after all that is not drawn at random.

        Args:
            x: an image, or a batch of them, of floats.
        """
        if self.preprocessing_function:
            x = self.preprocessing_function(x)
        if self.rescale:
            x = x * self.rescale
        if self.samplewise_center:
            x = x - np.mean(x, keepdims=True)
        if self.samplewise_std_normalization:
            x = x / (np.std(x, keepdims=True) + 1e-6)
        if self._fitted("featurewise_center", self.mean):
            x = x - self.mean
        if self._fitted("featurewise_std_normalization", self.std):
            x = x / (self.std + 1e-6)
        if self._fitted("zca_whitening", self.zca_whitening_matrix):
            flat = x.reshape(-1, np.prod(x.shape[-3:]))
            x = (flat @ self.zca_whitening_matrix).reshape(x.shape)
        return x

    def _fitted(self, name, value):
        if getattr(self, name) and value is None:
            warn(f"`{name}` has no effect before `fit` of the `ImageDataGenerator`.")
        return getattr(self, name) and value is not None

    def get_random_transform(self, img_shape, seed=None):
        """Draw what is done to an image.

        Args:
            img_shape: the image's shape.
            seed: seeds NumPy's generator before.

        Returns:
            A dict for `apply_transform`.
        """
        if seed is not None:
            np.random.seed(seed)
        height, width = img_shape[self.row_axis - 1], img_shape[self.col_axis - 1]
        drawn = {"theta": _within(self.rotation_range)}
        drawn["tx"] = _shift(self.height_shift_range, height)
        drawn["ty"] = _shift(self.width_shift_range, width)
        drawn["shear"] = _within(self.shear_range)
        drawn["zx"], drawn["zy"] = _zoom(self.zoom_range)
        drawn["flip_horizontal"] = (np.random.random() < 0.5) * self.horizontal_flip
        drawn["flip_vertical"] = (np.random.random() < 0.5) * self.vertical_flip
        shifts = self.channel_shift_range != 0
        drawn["channel_shift_intensity"] = (
            _within(self.channel_shift_range) if shifts else None
        )
        drawn["brightness"] = (
            np.random.uniform(*self.brightness_range) if self.brightness_range else None
        )
        return drawn

    def apply_transform(self, x, transform_parameters):
        """Return an image changed.

        Args:
            x: the image.
            transform_parameters: a dict with any of `theta`, `tx`, `ty`, `shear`, `zx`
                and `zy` (see `apply_affine_transform`), `flip_horizontal`,
                `flip_vertical`, `channel_shift_intensity` and `brightness`.
        """
        given = transform_parameters.get
        names = ("theta", "tx", "ty", "shear", "zx", "zy")
        affine = {name: given(name) for name in names if given(name) is not None}
        row, col, channel = self.row_axis - 1, self.col_axis - 1, self.channel_axis - 1
        filled = self.fill_mode, self.cval, self.interpolation_order
        x = _moved(x, (row, col, channel), *filled, **affine)
        if given("channel_shift_intensity") is not None:
            x = apply_channel_shift(x, given("channel_shift_intensity"), channel)
        if given("flip_horizontal"):
            x = np.flip(x, col)
        if given("flip_vertical"):
            x = np.flip(x, row)
        if given("brightness") is not None:
            x = apply_brightness_shift(x, given("brightness"), scale=False)
        return x

    def random_transform(self, x, seed=None):
        """Return an image changed at random.

        Args:
            x: the image.
            seed: seeds NumPy's generator before.
        """
        return self.apply_transform(x, self.get_random_transform(x.shape, seed))

    def fit(self, x, augment=False, rounds=1, seed=None):
        """Measure the mean, the deviation and the correlations of data.

        Args:
            x: images (n, height, width, channels), or channels first.
            augment: change them at random before.
            rounds: how often, with `augment`.
            seed: seeds NumPy's generator before.

        Raises:
            ValueError: `x` has not four axes.
        """
        x = np.array(x, dtype=self.dtype)
        if x.ndim != 4:
            raise ValueError(
                "`fit` expected the shape (n, height, width, channels). Received: "
                f"x.shape={x.shape}"
            )
        _check_channels(x, self.data_format)
        if seed is not None:
            np.random.seed(seed)
        if self.rescale:
            x *= self.rescale
        if augment:
            changed = [self.random_transform(one) for _ in range(rounds) for one in x]
            x = np.array(changed, self.dtype)
        every = (0, self.row_axis, self.col_axis)
        if self.featurewise_center:
            self.mean = np.mean(x, every, keepdims=True)[0]
            x -= self.mean
        if self.featurewise_std_normalization:
            self.std = np.std(x, every, keepdims=True)[0]
            x /= self.std + 1e-6
        if self.zca_whitening:
            u, s, _ = np.linalg.svd(x.reshape(len(x), -1).T, full_matrices=False)
            scale = np.sqrt(len(x)) / (s + self.zca_epsilon)
            self.zca_whitening_matrix = (u * scale).dot(u.T)


def _pair(name, value):
    numbers = isinstance(value, (tuple, list)) and all(
        isinstance(one, (float, int)) for one in value
    )
    if not numbers or len(value) != 2:
        raise ValueError(f"`{name}` expected a pair of numbers. Received: {value!r}")
    return value


def _within(most):
    return np.random.uniform(-most, most) if most else 0


def _zoom(span):
    return (1, 1) if tuple(span) == (1, 1) else np.random.uniform(span[0], span[1], 2)


def _shift(span, size):
    if np.ndim(span) == 0 and not span:
        return 0
    if np.ndim(span) == 0 and not hasattr(span, "__index__"):
        shift = np.random.uniform(-span, span)
    else:
        shift = np.random.choice(span) * np.random.choice([-1, 1])
    return shift * size if np.max(span) < 1 else shift


def random_rotation(
    x,
    rg,
    row_axis=1,
    col_axis=2,
    channel_axis=0,
    fill_mode="nearest",
    cval=0.0,
    interpolation_order=1,
):
    """Return an image turned by up to `rg` degrees; see `apply_affine_transform`.

    >>> import numpy as np
    >>> from lamina.legacy.preprocessing.image import random_rotation
    >>> random_rotation(np.ones((3, 4, 4)), 20.0).shape
    (3, 4, 4)
    """
    theta = np.random.uniform(-rg, rg)
    axes = row_axis, col_axis, channel_axis
    return _moved(x, axes, fill_mode, cval, interpolation_order, theta=theta)


def random_shift(
    x,
    wrg,
    hrg,
    row_axis=1,
    col_axis=2,
    channel_axis=0,
    fill_mode="nearest",
    cval=0.0,
    interpolation_order=1,
):
    """Return an image moved by up to the shares `wrg` and `hrg` of its sizes.

    >>> import numpy as np
    >>> from lamina.legacy.preprocessing.image import random_shift
    >>> random_shift(np.ones((3, 4, 4)), 0.2, 0.2).shape
    (3, 4, 4)
    """
    tx = np.random.uniform(-hrg, hrg) * x.shape[row_axis]
    ty = np.random.uniform(-wrg, wrg) * x.shape[col_axis]
    axes = row_axis, col_axis, channel_axis
    return _moved(x, axes, fill_mode, cval, interpolation_order, tx=tx, ty=ty)


def random_shear(
    x,
    intensity,
    row_axis=1,
    col_axis=2,
    channel_axis=0,
    fill_mode="nearest",
    cval=0.0,
    interpolation_order=1,
):
    """Return an image sheared by up to `intensity` degrees.

    >>> import numpy as np
    >>> from lamina.legacy.preprocessing.image import random_shear
    >>> random_shear(np.ones((3, 4, 4)), 20.0).shape
    (3, 4, 4)
    """
    shear = np.random.uniform(-intensity, intensity)
    axes = row_axis, col_axis, channel_axis
    return _moved(x, axes, fill_mode, cval, interpolation_order, shear=shear)


def random_zoom(
    x,
    zoom_range,
    row_axis=1,
    col_axis=2,
    channel_axis=0,
    fill_mode="nearest",
    cval=0.0,
    interpolation_order=1,
):
    """Return an image with both axes scaled by factors within `zoom_range`.

    >>> import numpy as np
    >>> from lamina.legacy.preprocessing.image import random_zoom
    >>> random_zoom(np.ones((3, 4, 4)), (0.9, 1.1)).shape
    (3, 4, 4)
    """
    zx, zy = _zoom(_pair("zoom_range", zoom_range))
    axes = row_axis, col_axis, channel_axis
    return _moved(x, axes, fill_mode, cval, interpolation_order, zx=zx, zy=zy)


def apply_channel_shift(x, intensity, channel_axis=0):
    """Return an image with a number added to it, within its least and largest values.

    Args:
        x: the image.
        intensity: the number.
        channel_axis: the channels' axis, which makes no difference.

    >>> import numpy as np
    >>> from lamina.legacy.preprocessing.image import apply_channel_shift
    >>> apply_channel_shift(np.array([[[0.0, 1.0, 2.0]]]), 0.5).tolist()
    [[[0.5, 1.5, 2.0]]]
    """
    del channel_axis
    return np.clip(x + intensity, np.min(x), np.max(x))


def random_channel_shift(x, intensity_range, channel_axis=0):
    """Return an image with up to `intensity_range` added.

    >>> import numpy as np
    >>> from lamina.legacy.preprocessing.image import random_channel_shift
    >>> random_channel_shift(np.ones((3, 4, 4)), 0.5).shape
    (3, 4, 4)
    """
    shift = np.random.uniform(-intensity_range, intensity_range)
    return apply_channel_shift(x, shift, channel_axis)


def apply_brightness_shift(x, brightness, scale=True):
    """Return an image darker or lighter, by way of whole numbers up to 255.

    Args:
        x: the image, channels last.
        brightness: the factor.
        scale: map the least value to 0 and the largest to 255.

    >>> import numpy as np
    >>> from lamina.legacy.preprocessing.image import apply_brightness_shift
    >>> float(apply_brightness_shift(np.full((2, 2, 3), 100.0), 0.5, False).max())
    50.0
    """
    least, most = np.min(x), np.max(x)
    outside = least < 0 or most > 255
    image = utils.array_to_img(x, scale=scale or outside)
    image = pillow("ImageEnhance").Brightness(image).enhance(brightness)
    x = utils.img_to_array(image)
    return x if scale or not outside else x / 255 * (most - least) + least


def random_brightness(x, brightness_range, scale=True):
    """Return an image darker or lighter by a factor within `brightness_range`.

    >>> import numpy as np
    >>> from lamina.legacy.preprocessing.image import random_brightness
    >>> random_brightness(np.ones((2, 2, 3)), (0.5, 1.5)).shape
    (2, 2, 3)
    """
    factor = np.random.uniform(*_pair("brightness_range", brightness_range))
    return apply_brightness_shift(x, factor, scale)


def _moved(
    x,
    axes: tuple[int, int, int],
    fill_mode,
    cval,
    order,
    theta=0,
    tx=0,
    ty=0,
    shear=0,
    zx=1,
    zy=1,
):
    moves = theta, tx, ty, shear, zx, zy
    return apply_affine_transform(x, *moves, *axes, fill_mode, cval, order)


def apply_affine_transform(
    x,
    theta=0,
    tx=0,
    ty=0,
    shear=0,
    zx=1,
    zy=1,
    row_axis=1,
    col_axis=2,
    channel_axis=0,
    fill_mode="nearest",
    cval=0.0,
    order=1,
):
    """Return an image turned, moved, sheared and scaled about its middle.

    Args:
        x: the image, with three axes.
        theta: the angle, in degrees.
        tx: by how many pixels along the rows' axis.
        ty: along the columns' axis.
        shear: the angle of the shear, in degrees.
        zx: the factor of the rows' axis; above 1 shows more.
        zy: of the columns' axis.
        row_axis: the rows' axis.
        col_axis: the columns' axis.
        channel_axis: the channels' axis, the first or the last.
        fill_mode: see `ImageDataGenerator`.
        cval: see `ImageDataGenerator`.
        order: of the splines between pixels.

    Raises:
        ValueError: `x` has not three axes, or the axes are not those.

    >>> import numpy as np
    >>> from lamina.legacy.preprocessing.image import apply_affine_transform
    >>> x = np.arange(4.0).reshape(1, 2, 2)
    >>> apply_affine_transform(x, theta=90).round(6).tolist()
    [[[1.0, 3.0], [0.0, 2.0]]]
    """
    axes = row_axis, col_axis, channel_axis
    if np.ndim(x) != 3 or {*axes} != {0, 1, 2} or channel_axis == 1:
        raise ValueError(
            "An image expected three axes, channels first or last. Received: "
            f"x.shape={np.shape(x)}, row_axis={row_axis}, col_axis={col_axis}, "
            f"channel_axis={channel_axis}"
        )
    if not (theta or tx or ty or shear) and zx == zy == 1:
        return x
    from scipy.ndimage import affine_transform

    turn, slant = np.deg2rad(theta), np.deg2rad(shear)
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    matrix = matrix @ [[1, 0, tx], [0, 1, ty], [0, 0, 1]]
    matrix = matrix @ [[1, -np.sin(slant), 0], [0, np.cos(slant), 0], [0, 0, 1]]
    matrix = matrix @ [[zx, 0, 0], [0, zy, 0], [0, 0, 1]]
    middle = np.eye(3)
    middle[:2, 2] = x.shape[row_axis] / 2 - 0.5, x.shape[col_axis] / 2 - 0.5
    back = np.eye(3)
    back[:2, 2] = -middle[:2, 2]
    matrix = middle @ matrix @ back
    if col_axis > row_axis:
        # As Keras has it: rows and columns are exchanged, but for their sizes.
        matrix = matrix[[1, 0, 2]][:, [1, 0, 2]]
    channels = [
        affine_transform(
            channel,
            matrix[:2, :2],
            matrix[:2, 2],  # pyright: ignore
            order=order,
            mode=fill_mode,
            cval=cval,
        )
        for channel in np.moveaxis(x, channel_axis, 0)
    ]
    return np.stack(channels, channel_axis)
