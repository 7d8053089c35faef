"""Arguments that a family of classes shares."""

import inspect

import pytest

import lamina
from lamina.core.arguments import SharedArguments, as_given

CLASSES = [
    value
    for space in (lamina.layers, lamina.optimizers)
    for value in vars(space).values()
    if inspect.isclass(value)
    and value.__module__.startswith(("lamina.layers.preproc", "lamina.optimizers"))
]


def doubled(thing, name, value):
    return 2 * value


def described(size=3, color="red", seed=None):
    """Describe what shapes share.

    Args:
        size: how large:
            in pixels.
        color: of a {cls.__name__}.
        seed: a seed.

    Raises:
        ValueError: always.
    """


shared = SharedArguments(described, {"size": doubled, "color": as_given})


class Shape:
    """A shape.

    Args:
        corners: how many.

    Source: none.
    """

    @shared("corners size seed color")
    def __init__(self, sides, corners=4, **kwargs):
        self.given = sides, corners
        self.left = shared.keep(self, kwargs)


def test_a_signature_has_the_shared_arguments_in_their_order():
    signature = inspect.signature(Shape)
    assert (
        str(signature) == "(sides, corners=4, size=3, seed=None, color='red', **kwargs)"
    )
    shape = Shape(5, 6, 7, 8, extra=1)
    assert shape.given == (5, 6)
    assert (shape.size, shape.color) == (14, "red")
    assert shape.left == {"seed": 8, "extra": 1}
    with pytest.raises(TypeError, match="`Shape`: missing .* 'sides'"):
        Shape()


def test_without_an_order_all_shared_arguments_follow_the_positional_ones():
    class Ball:
        @shared()
        def __init__(self, color, radius=1, *, seed=0, filled=True, **kwargs):
            self.given = color, radius, seed, filled, kwargs

    signature = "(color, radius=1, size=3, seed=0, filled=True, **kwargs)"
    assert str(inspect.signature(Ball)) == signature
    given = {"size": 9, "extra": 2}
    assert Ball("red", 2, 9, 8, False, extra=2).given == ("red", 2, 8, False, given)


def test_an_argument_that_a_class_does_not_take_is_left():
    class Plain:
        def __init__(self, **kwargs):
            self.left = shared.keep(self, kwargs)

    assert Plain(size=3).left == {"size": 3}


def test_a_docstring_gets_what_it_leaves_out():
    shared.document(Shape)
    assert Shape.__doc__ == (
        "A shape.\n\nArgs:\n    corners: how many.\n"
        "    size: how large: in pixels.\n    seed: a seed.\n    color: of a Shape.\n\n"
        "Raises:\n    ValueError: always.\n\nSource: none."
    )


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_docstrings_name_all_arguments(cls):
    names = set(inspect.signature(cls.__init__).parameters) - {"self", "kwargs"}
    said = {
        name for name in names if f"\n    {name}: " in inspect.cleandoc(cls.__doc__)
    }
    # What every layer has is documented there.
    assert names - said <= {"name", "dtype"}
