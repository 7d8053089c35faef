"""Arguments that ops refuse or warn of, and sizes that are known all the same."""

import keras
import numpy as np
import pytest

import lamina
from lamina import ops
from lamina.ops import image

Symbol = lamina.KerasTensor


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.unstack(Symbol((3, 4)), axis=10), "axis 10 is out of bounds"),
        (lambda: ops.unstack(np.ones((3, 4)), axis=-3), "axis -3 is out of bounds"),
        (lambda: ops.softmax(Symbol((3, 4)), axis=10), "axis 10 is out of bounds"),
        (lambda: ops.glu(Symbol((2, 4)), axis=2), "`glu` expected `axis` to be one"),
        (lambda: image.affine_transform(np.ones((4, 4, 3)), np.ones(6)), "8 numbers"),
        (lambda: image.affine_transform(Symbol((2, 4, 4, 3)), Symbol((2, 9))),
         "8 numbers"),
        (lambda: ops.normalize([1.0], order=0), "`order` must be an int >= 1"),
        (lambda: ops.normalize([1.0], order=2.5), "`order` must be an int >= 1"),
        (lambda: ops.conv(Symbol((2, 9, 3)), Symbol((3, 5, 4))),
         "input channels must match the kernel in `conv`: be a multiple of"),
        (lambda: ops.depthwise_conv(Symbol((2, 9, 3)), Symbol((3, 5, 1))),
         "input channels must match the kernel in `depthwise_conv`: be kernel"),
        (lambda: image.resize(np.ones((4, 4, 3)), (0, 10)), "positive height and"),
        (lambda: image.resize(np.ones((4, 4, 3)), (3, -1)), "positive height and"),
        (lambda: image.pad_images(Symbol((4, 4, 3)), 0, 0, 0), "exactly two of left"),
        (lambda: image.pad_images(Symbol((4, 4, 3)), 0, 0, None, 0, -1),
         "target_height must be >= 0"),
        (lambda: image.crop_images(Symbol((4, 4, 3)), None, 0, 3, 0, 3),
         "top_cropping must be >= 0. Received: top_cropping=-2"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("shape", "axis"), [((2, 1), -1), ((1, 2), 0), ((1, 2), -2)])
def test_softmax_of_one_entry_is_worth_a_warning(shape, axis):
    with pytest.warns(UserWarning, match=f"softmax over axis {axis}.*sigmoid"):
        y = ops.softmax(np.zeros(shape), axis)
    assert np.all(y == 1)


def test_sizes_asked_for_are_known_where_those_of_images_are_not():
    cropped = image.crop_images(
        Symbol((None, None, None, 3)), 2, 3, target_height=10, target_width=20
    )
    assert cropped.shape == (None, 10, 20, 3)
    moved = image.scale_and_translate(
        Symbol((None, 8, 8, 3)), (None, 5, 5, 3), [0.5, 0.5], [0.0, 0.0], (1, 2),
        "linear",
    )  # fmt: skip
    assert moved.shape == (None, 5, 5, 3)


@pytest.mark.parametrize("padding", [(1, 2, 3, 0), (0, 0, 0, 0)])
def test_padding_and_cropping_undo_each_other(padding):
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype("float32")
    top, left, bottom, right = padding
    wide = image.pad_images(x, top, left, bottom, right)
    np.testing.assert_array_equal(
        wide, keras.ops.image.pad_images(x, top, left, bottom, right)
    )
    again = image.crop_images(wide, top, left, None, None, 4, 5)
    np.testing.assert_array_equal(again, x)
    again = image.crop_images(wide, None, None, bottom, right, 4, 5)
    np.testing.assert_array_equal(again, x)


def test_a_kernel_has_its_height_first():
    dot = np.zeros((1, 9, 9, 1), "float32")
    dot[0, 4, 4, 0] = 1
    spread = np.asarray(image.gaussian_blur(dot, (3, 5), (0.5, 2.0)))[0, :, :, 0]
    rows, columns = (np.exp(-0.5 * (np.arange(-n, n + 1) / s) ** 2)
                     for n, s in ((1, 0.5), (2, 2.0)))  # fmt: skip
    expected = np.outer(rows / rows.sum(), columns / columns.sum())
    np.testing.assert_allclose(spread[3:6, 2:7], expected, atol=1e-6)
    assert spread.sum() == pytest.approx(1)


def test_the_number_of_axes_is_an_int():
    assert ops.ndim(Symbol((None, 3))) == ops.ndim(np.ones((2, 3))) == 2
    assert type(ops.ndim(Symbol((None, 3)))) is int
