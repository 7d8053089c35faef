"""What all architectures share: arguments and their checks, the head, the weights."""

import functools
import inspect
import numbers
import os
import pathlib
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar, cast

from lamina import activations, layers
from lamina.applications.hashes import HASHES
from lamina.config import image_data_format
from lamina.core.symbolic import is_symbolic
from lamina.core.tracebacks import boundary, warn
from lamina.models import Model
from lamina.utils.arrays import get_source_inputs
from lamina.utils.files import get_file

ROOT = "https://storage.googleapis.com/tensorflow/keras-applications"

F = TypeVar("F", bound=Callable)

_SHARED = """{summary}

Source: {source}.

Args:{extra}
    include_top: whether the model ends in the layers that classify.
    weights: `"imagenet"`, the weights published with Keras, which are fetched once and
        kept in the cache folder; the path of a file of weights; or None for random
        ones.
    input_tensor: a symbolic tensor to begin at, instead of a new input.
    input_shape: the shape of an image, whose sides are at least {least}. With the top
        and published weights only the default, ({side}, {side}, 3), is possible.
    pooling: without a top, what makes a vector of the last feature maps: `"avg"`,
        `"max"`, or None to leave them as they are.
    classes: how many classes the top tells apart; 1000 with published weights.
    classifier_activation: the activation of the last layer; None gives logits.
    name: the name of the model.

Returns:
    A Functional model from images `(batch, height, width, 3)` to probabilities
    `(batch, classes)`, feature maps `(batch, rows, columns, channels)` or vectors
    `(batch, channels)`.

Raises:
    ValueError: arguments that exclude each other or are none of the above.
    OSError: the published weights could not be fetched; the message says what to do
        without a network.
"""
_EXAMPLE = """
>>> import lamina
>>> model = lamina.applications.{called}(
...     weights=None, include_top=False, input_shape=({least}, {least}, 3),
...     pooling="avg",
... )
>>> model.output_shape
(None, {channels})
"""
# Of models that take long to build: what is refused before that.
_REFUSED = """
>>> import lamina
>>> lamina.applications.{called}(classes=10)
Traceback (most recent call last):
ValueError: The published weights of `{called}` tell 1000 classes apart: ...
"""
SCALES = "include_preprocessing: whether the model scales images from [0, 255] itself."


def usual(
    include_top=True,
    weights: str | None = "imagenet",
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation: str | Callable | None = "softmax",
    name=None,
) -> Model:
    """Return the architecture of this name, for images."""
    raise NotImplementedError


_USUAL = tuple(inspect.signature(usual).parameters)


def variant(
    called,
    name,
    build,
    sizes=(),
    *,
    summary,
    source,
    side=224,
    least=32,
    arguments: F = usual,
    extra="",
    channels=None,
    module=None,
) -> F:
    """Return the public function of an architecture.

    Args:
        called: the name of the function.
        name: the name of the model, and of its published weights.
        build: the function of its family, `(plan, sizes, **others) -> model`, where
            `others` are the arguments that `Plan` does not take.
        sizes: what it has that its family has not.
        summary: what it is, for its docstring.
        source: the paper.
        side: the default height and width of images.
        least: the least ones.
        arguments: a function with its arguments.
        extra: what the docstring says of arguments that others lack, each in a line.
        channels: how many channels it ends in without a top, for an example in the
            docstring that builds it; None where that takes long.
        module: the name of the module that it stands in; that of `build` when None.
    """
    signature = inspect.signature(arguments)
    signature = signature.replace(
        parameters=[
            p.replace(default=name) if p.name == "name" else p
            for p in signature.parameters.values()
        ]
    )

    @boundary
    @functools.wraps(build)
    def function(*args, **kwargs) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"`{called}` {error}") from None
        bound.apply_defaults()
        others = bound.arguments
        shared = {key: others.pop(key) for key in _USUAL}
        return build(Plan(called, name, side, least, **shared), sizes, **others)

    words = _SHARED + (_EXAMPLE if channels else _REFUSED)
    function.__doc__ = words.format(
        called=called,
        summary=summary,
        source=source,
        side=side,
        least=least,
        channels=channels,
        extra=textwrap.indent(extra.rstrip(), "    "),
    )
    function.__module__ = module or build.__module__
    function.__name__ = function.__qualname__ = called
    function.__signature__ = signature  # pyright: ignore
    return cast(F, function)


def channels_axis(last=3) -> int:
    """Return the axis of channels in images; `last` is its name when it comes last."""
    return 1 if image_data_format() == "channels_first" else last


class Plan:
    """A model in the making: checked arguments, its input, its head and its weights.

    Args:
        called: the name of the architecture, for errors.
        own: the name of its published weights.
        side: the default height and width of images.
        least: the least ones.
        name: the name of the model; None for `own`.
        include_top, weights, input_tensor, input_shape, pooling, classes,
            classifier_activation: what the user gave.
    """

    def __init__(
        self,
        called,
        own,
        side,
        least,
        *,
        name,
        include_top,
        weights,
        input_tensor,
        input_shape,
        pooling,
        classes,
        classifier_activation,
    ):
        self.called, self.own, self.side, self.least = called, own, side, least
        self.name, self.top = name or own, bool(include_top)
        self.published = isinstance(weights, str) and weights == "imagenet"
        self.shape, self.classes = input_shape, classes
        self._weights, self._input, self._pooling = weights, input_tensor, pooling
        self._activation: Any = activations.get(classifier_activation)
        self._check(classifier_activation)

    def _check(self, activation):
        weights = self._weights
        if weights is not None and not self.published:
            if not isinstance(weights, (str, os.PathLike)) or not _is_file(weights):
                raise ValueError(
                    f"`weights` of `{self.called}` expected 'imagenet', None, or the "
                    f"path of a file that is there. Received: weights={weights!r}"
                )
        if self._pooling not in (None, "avg", "max"):
            raise ValueError(
                f"`pooling` of `{self.called}` expected 'avg', 'max' or None. "
                f"Received: pooling={self._pooling!r}"
            )
        if not isinstance(self.classes, numbers.Integral) or self.classes < 1:
            raise ValueError(
                f"`classes` of `{self.called}` expected a positive integer. "
                f"Received: classes={self.classes!r}"
            )
        if self._input is not None and not is_symbolic(self._input):
            raise ValueError(
                f"`input_tensor` of `{self.called}` expected a symbolic tensor, as "
                "`lamina.Input(shape)` gives. To run the model on an array, call it. "
                f"Received: {type(self._input).__name__}"
            )
        if not (self.published and self.top):
            return
        if self.classes != 1000:
            raise ValueError(
                f"The published weights of `{self.called}` tell 1000 classes apart: "
                "`classes` must be 1000. For classes of your own, take "
                "include_top=False and add a Dense layer. "
                f"Received: classes={self.classes}"
            )
        if self._activation not in (activations.linear, activations.softmax):
            raise ValueError(
                f"`classifier_activation` of `{self.called}` with published weights "
                f"expected 'softmax' or None. Received: {activation!r}"
            )

    def check_channels_last(self):
        """Refuse images with channels first."""
        if channels_axis() == 1:
            raise ValueError(
                f"`{self.called}` takes images with channels last only. Call "
                "`lamina.config.set_image_data_format('channels_last')` first."
            )

    def start(self, path, bare="_notop", *, file="{}", sides=(), sized=None):
        """Return the symbolic tensor that the architecture begins at.

        Published weights are located first: without a network the error comes before
        the work.

        Args:
            path: the address of its weights below the folder of all, with `{}` in
                place of `bare`.
            bare: what the file without a top has in its name.
            file: how the name of the file in the cache begins; `{}` for that in the
                address.
            sides: other heights and widths that the published top is for.
            sized: whether the height and width must be known; None where a top needs
                that.
        """
        shape = self._image_shape(sides, self.top if sized is None else sized)
        if self.published:
            self._weights = self._fetched(path, bare, file)
        if self._input is None:
            self._inputs = x = layers.Input(shape)
            return x
        self._inputs = get_source_inputs(self._input)
        return self._input

    def _fetched(self, path, bare, file):
        """Return the path of published weights, from the cache or the net."""
        address = path if path.startswith("https:") else f"{ROOT}/{path}"
        name = file.format(address.rpartition("/")[2].removesuffix("{}.h5"))
        digest = HASHES.get(name, (None, None))[0 if self.top else 1]
        file = f"{name}{'' if self.top else bare.replace('-', '_')}.h5"
        address = address.format("" if self.top else bare)
        try:
            return get_file(file, address, cache_subdir="models", file_hash=digest)
        except OSError as error:
            raise OSError(
                f"The weights of `{self.called}` could not be fetched from {address} "
                f"({error}). Where there is no network, fetch the file elsewhere and "
                f"pass its path as `weights`, or put it at ~/.keras/models/{file}; "
                "`weights=None` starts with random ones."
            ) from error

    def _image_shape(self, sides_too, sized):
        first = channels_axis() == 1
        given, size = self.shape, self.side
        default = (3, size, size) if first else (size, size, 3)
        if given is None:
            sides = (size, size) if sized else (None, None)
            return (3, *sides) if first else (*sides, 3)
        given = tuple(given)
        if len(given) != 3:
            raise ValueError(
                f"`input_shape` of `{self.called}` expected three integers, such as "
                f"{default}. Received: input_shape={given}"
            )
        channels, *sides = given if first else (given[2], *given[:2])
        if self.published and channels != 3:
            raise ValueError(
                f"The published weights of `{self.called}` take images of 3 channels. "
                f"Received: input_shape={given}"
            )
        if channels not in (1, 3):
            warn(
                f"`{self.called}` is made for images of 1 or 3 channels. Received: "
                f"input_shape={given}, with {channels} of them"
            )
        fits = given == default or (len(set(sides)) == 1 and sides[0] in sides_too)
        if self.published and self.top and sized and not fits:
            raise ValueError(
                f"With a top, the published weights of `{self.called}` are for images "
                f"{default}. Leave `input_shape` out, resize the images, or take "
                f"include_top=False. Received: input_shape={given}"
            )
        if any(side is not None and side < self.least for side in sides):
            raise ValueError(
                f"`{self.called}` expected images of at least {self.least} x "
                f"{self.least} pixels. Received: input_shape={given}"
            )
        if sized and None in sides:
            raise ValueError(
                f"With include_top={self.top}, `{self.called}` expected the height and "
                f"width of images in `input_shape`. Received: input_shape={given}"
            )
        return given

    def shape_seen(self):
        """Return the shape of images: the given one, or that of the input tensor."""
        if self.shape is None and self._input is not None:
            return self._input.shape[1:]
        return self.shape

    def classified(self, x, name="predictions", **options):
        """Return the probabilities of the classes, from a vector for each image."""
        units, activation = self.classes, self._activation
        return layers.Dense(units, activation, name=name, **options)(x)

    def classified_maps(self, x, name, flattened):
        """Return the probabilities of the classes, from maps of one pixel each.

        Args:
            x: the maps.
            name: the name of the convolution.
            flattened: the layer that makes a vector of a map of one pixel.
        """
        x = layers.Conv2D(self.classes, 1, padding="same", name=name)(x)
        return layers.Activation(self._activation, name="predictions")(flattened(x))

    def finished(self, x, pool_names=(None, None), last=None) -> Model:
        """Return the model that ends in `x`, with its weights.

        Args:
            x: the maps, or what a top has made of them.
            pool_names: the names of the layers for `pooling` of `"avg"` and `"max"`.
            last: a layer after the pooling.
        """
        if not self.top and self._pooling == "avg":
            x = layers.GlobalAveragePooling2D(name=pool_names[0])(x)
        elif not self.top and self._pooling == "max":
            x = layers.GlobalMaxPooling2D(name=pool_names[1])(x)
        if last is not None:
            x = last(x)
        model = Model(self._inputs, x, name=self.name)
        if self._weights is not None:
            model.load_weights(os.fspath(self._weights))
        return model


def _is_file(path):
    try:
        return pathlib.Path(path).is_file()
    except OSError:  # no name that a file could have
        return False


def check_width(plan, alpha, published_for):
    """Refuse a factor of the width that is not a positive number, or has no weights."""
    if not alpha > 0:
        raise ValueError(
            f"`alpha` of `{plan.called}` expected a positive number. "
            f"Received: alpha={alpha!r}"
        )
    if plan.published and alpha not in published_for:
        raise ValueError(
            f"Weights of `{plan.called}` are published for these values of `alpha`: "
            f"{sorted(published_for)}. Received: alpha={alpha!r}"
        )


def side_of(shape, default=None):
    """Return the height of images of a shape; `default` where it is not given."""
    if shape is None or len(shape) != 3:
        return default
    return shape[1] if channels_axis() == 1 else shape[0]


def side_in(shape, sides):
    """Return which of some sides images have; 224 when they have none of them."""
    side = side_of(shape)
    return side if side in sides and tuple(shape).count(side) == 2 else 224


def divisible(channels, by=8, least=None) -> int:
    """Return the multiple of `by` nearest to a number, at most a tenth below it."""
    result = max(least or by, int(channels + by / 2) // by * by)
    return result + by if result < 0.9 * channels else result


def halving_padding(x, kernel):
    """Return the padding before a convolution of stride 2 that halves a size exactly.

    Args:
        x: the images; a size that is even, or not known, gets one less in front.
        kernel: the side of the kernel, an odd number.
    """
    sides = x.shape[2:] if channels_axis() == 1 else x.shape[1:3]
    half = kernel // 2
    return tuple((half - (side is None or side % 2 == 0), half) for side in sides)
