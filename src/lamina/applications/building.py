"""What all architectures share: arguments and their checks, the head, the weights."""

import functools
import importlib.resources
import inspect
import numbers
import os
import pathlib
import textwrap
import types
from collections.abc import Callable
from typing import Any, TypeVar, cast

from lamina import activations, layers
from lamina.applications.blocks import channels_axis
from lamina.core.symbolic import is_symbolic
from lamina.core.tracebacks import boundary, warn
from lamina.models import Model
from lamina.utils.arrays import get_source_inputs
from lamina.utils.files import get_file

ROOT = "https://storage.googleapis.com/tensorflow/keras-applications"

F = TypeVar("F", bound=Callable)
Activation = str | Callable | None
# Of each file and of that without a top: SHA256 of ConvNeXt's, MD5 of all others. The
# files of MobileNet 1 and 2 were published without one.
_LINES = (importlib.resources.files("lamina.applications") / "hashes.txt").read_text()
HASHES = {name: hashes for name, *hashes in map(str.split, _LINES.splitlines())}

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


# The arguments that most architectures have.
def _usual(
    include_top=True,
    weights: str | None = "imagenet",
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation: Activation = "softmax",
    name=None,
) -> Model: ...


_USUAL = tuple(inspect.signature(_usual).parameters)


def variant(
    called,
    name,
    build,
    size: str | int = "",
    *sizes,
    summary,
    source,
    side=224,
    least=32,
    arguments: F = _usual,
    extra="",
    channels=None,
    module=None,
) -> F:
    """Return the public function of an architecture.

    It takes what `arguments` takes and returns `build(plan, *sizes, **others)`, where
    `others` are the arguments that a `Plan` does not take. Its model, and the file of
    its weights, are called `name`; images have a default and a least `side`. It stands
    in `module`, that of `build` when None.

    A family of several sizes is a `functools.partial` of this: in `called`, `name` and
    `summary`, `{}` stands for `size` and `{small}` for it in lower case.

    Its docstring has the `summary`, the paper as its `source`, and in `extra` a line
    for each argument that others lack. `channels` is how many it ends in without a top,
    for an example that builds it; None where that takes long.
    """
    called, name, summary = (
        text and text.format(size, small=str(size).lower())
        for text in (called, name, summary)
    )
    parameters = dict(inspect.signature(arguments).parameters)
    parameters["name"] = parameters["name"].replace(default=name)
    signature = inspect.Signature([*parameters.values()], return_annotation=Model)

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
        return build(Plan(called, name, side, least, **shared), *sizes, **others)

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


class Plan(types.SimpleNamespace):
    """A model in the making: checked arguments, its input, its head and its weights.

    What the user gave is there under its name. `called` is the name of the
    architecture, `own` that of its published weights, `side` the default height and
    width of images, and `least` the least ones.
    """

    def __init__(self, called, own, side, least, **given):
        super().__init__(called=called, own=own, side=side, least=least, **given)
        self.name, self.top = self.name or self.own, bool(self.include_top)
        weights, pooling, classes = self.weights, self.pooling, self.classes
        self.published = isinstance(weights, str) and weights == "imagenet"
        self.activation: Any = activations.get(self.classifier_activation)
        there = weights is None or self.published or _is_file(weights)
        file = "'imagenet', None, or the path of a file that is there"
        self.expect(there, file, weights=weights)
        known = pooling in (None, "avg", "max")
        self.expect(known, "'avg', 'max' or None", pooling=pooling)
        counted = isinstance(classes, numbers.Integral) and int(classes) > 0
        self.expect(counted, "a positive integer", classes=classes)
        if self.input_tensor is not None and not is_symbolic(self.input_tensor):
            raise ValueError(
                f"`input_tensor` of `{self.called}` expected a symbolic tensor, as "
                "`lamina.Input(shape)` gives. To run the model on an array, call it. "
                f"Received: {type(self.input_tensor).__name__}"
            )
        if not (self.published and self.top):
            return
        if classes != 1000:
            raise ValueError(
                f"The published weights of `{self.called}` tell 1000 classes apart: "
                "`classes` must be 1000. For classes of your own, take "
                f"include_top=False and add a Dense layer. Received: classes={classes}"
            )
        if self.activation not in (activations.linear, activations.softmax):
            raise ValueError(
                f"`classifier_activation` of `{self.called}` with published weights "
                f"expected 'softmax' or None. Received: {self.classifier_activation!r}"
            )

    def expect(self, right, expected, **received):
        """Refuse an argument, given by its name, that is not right."""
        if not right:
            ((argument, value),) = received.items()
            raise ValueError(
                f"`{argument}` of `{self.called}` expected {expected}. "
                f"Received: {argument}={value!r}"
            )

    def check_channels_last(self):
        """Refuse images with channels first."""
        if channels_axis() == 1:
            raise ValueError(
                f"`{self.called}` takes images with channels last only. Call "
                "`lamina.config.set_image_data_format('channels_last')` first."
            )

    def start(self, path, bare="_notop", *, file=None, sides=(), sized=None):
        """Return the symbolic tensor that the architecture begins at.

        Published weights are located first: without a network the error comes before
        the work.

        Args:
            path: the address of its weights below the folder of all, without `.h5`.
            bare: how the name of the file without a top ends.
            file: how the name of the file in the cache begins; None as in the address.
            sides: other heights and widths that the published top is for.
            sized: whether the height and width must be known; None where a top needs
                that.
        """
        shape = self._image_shape(sides, self.top if sized is None else sized)
        if self.published:
            self.weights = self._fetched(path, bare, file)
        if self.input_tensor is None:
            self._inputs = x = layers.Input(shape)
            return x
        self._inputs = get_source_inputs(self.input_tensor)
        return self.input_tensor

    def _image_shape(self, sides_too, sized):
        def shaped(side):
            return (3, side, side) if channels_axis() == 1 else (side, side, 3)

        default = shaped(self.side)
        if self.input_shape is None:
            return default if sized else shaped(None)
        given = tuple(self.input_shape)
        form = f"three integers, such as {default}"
        self.expect(len(given) == 3, form, input_shape=given)
        channels, *sides = given if channels_axis() == 1 else (given[2], *given[:2])
        received = f"Received: input_shape={given}"
        if channels not in (1, 3) and not self.published:
            warn(
                f"`{self.called}` is made for images of 1 or 3 channels. {received}, "
                f"with {channels} of them"
            )
        fits = given == default or (len(set(sides)) == 1 and sides[0] in sides_too)
        called, least = f"`{self.called}`", self.least
        if self.published and channels != 3:
            wrong = f"The published weights of {called} take images of 3 channels"
        elif self.published and self.top and sized and not fits:
            wrong = (
                f"With a top, the published weights of {called} are for images "
                f"{default}. Leave `input_shape` out, resize the images, or take "
                "include_top=False"
            )
        elif any(side is not None and side < least for side in sides):
            wrong = f"{called} expected images of at least {least} x {least} pixels"
        elif sized and None in sides:
            wrong = (
                f"With include_top={self.top}, {called} expected the height and width "
                "of images in `input_shape`"
            )
        else:
            return given
        raise ValueError(f"{wrong}. {received}")

    def _fetched(self, path, bare, file):
        """Return the path of published weights, from the cache or the net."""
        address = path if path.startswith("https:") else f"{ROOT}/{path}"
        name = file or address.rpartition("/")[2]
        digest = HASHES.get(name, (None, None))[0 if self.top else 1]
        file = f"{name}{'' if self.top else bare.replace('-', '_')}.h5"
        address = f"{address}{'' if self.top else bare}.h5"
        try:
            return get_file(file, address, cache_subdir="models", file_hash=digest)
        except OSError as error:
            raise OSError(
                f"The weights of `{self.called}` could not be fetched from {address} "
                f"({error}). Where there is no network, fetch the file elsewhere and "
                f"pass its path as `weights`, or put it at ~/.keras/models/{file}; "
                "`weights=None` starts with random ones."
            ) from error

    def classified(self, x, name="predictions", **options):
        """Return the probabilities of the classes, from a vector for each image."""
        return layers.Dense(self.classes, self.activation, name=name, **options)(x)

    def classified_maps(self, x, name, flattened):
        """Return the probabilities of the classes, from maps of one pixel each.

        `name` is that of a convolution; `flattened` is the layer that makes vectors.
        """
        x = layers.Conv2D(self.classes, 1, padding="same", name=name)(x)
        return layers.Activation(self.activation, name="predictions")(flattened(x))

    def averaged(self, x, name=None, pool_names=(None, None)) -> Model:
        """Return the model that ends in `x`; its top is an average and the classes."""
        if self.top:
            x = self.classified(layers.GlobalAveragePooling2D(name=name)(x))
        return self.finished(x, pool_names)

    def finished(self, x, pool_names=(None, None), last=None) -> Model:
        """Return the model that ends in `x`, with its weights.

        `pool_names` are those of the layers that take the mean and the maximum where
        there is no top, and `last` is a layer after them.
        """
        if not self.top and self.pooling == "avg":
            x = layers.GlobalAveragePooling2D(name=pool_names[0])(x)
        elif not self.top and self.pooling == "max":
            x = layers.GlobalMaxPooling2D(name=pool_names[1])(x)
        if last is not None:
            x = last(x)
        model = Model(self._inputs, x, name=self.name)
        if self.weights is not None:
            model.load_weights(os.fspath(self.weights))
        return model


def _is_file(path):
    try:
        return isinstance(path, (str, os.PathLike)) and pathlib.Path(path).is_file()
    except OSError:  # no name that a file could have
        return False
