"""Arguments that a family of classes shares."""

import inspect
from typing import TypedDict

import pytest

import lamina
from lamina.core.arguments import SharedArguments

CLASSES = [
    value
    for space in (lamina.layers, lamina.optimizers)
    for value in vars(space).values()
    if inspect.isclass(value)
    and value.__module__.startswith(("lamina.layers.preproc", "lamina.optimizers"))
]


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


shared = SharedArguments(described)


class Shape:
    """A shape.

    Args:
        corners: how many.

    Source: none.
    """

    @shared("corners size seed color")
    def __init__(self, sides, corners=4, **kwargs):
        self.given = sides, corners, kwargs


def test_a_signature_has_the_shared_arguments_in_their_order():
    signature = inspect.signature(Shape)
    assert (
        str(signature) == "(sides, corners=4, size=3, seed=None, color='red', **kwargs)"
    )
    shape = Shape(5, 6, 7, 8, extra=1)
    given = {"size": 7, "seed": 8, "color": "red", "extra": 1}
    assert shape.given == (5, 6, given)
    with pytest.raises(TypeError, match=r"Shape.__init__\(\) missing .* 'sides'"):
        Shape()
    with pytest.raises(TypeError, match="too many positional"):
        Shape(*range(7))
    with pytest.raises(TypeError, match="multiple values for argument 'size'"):
        Shape(5, 6, 7, size=7)


def test_without_an_order_all_shared_arguments_follow_the_positional_ones():
    class Ball:
        @shared()
        def __init__(self, color, radius=1, *, seed=0, filled=True, **kwargs):
            self.given = color, radius, seed, filled, kwargs

    signature = "(color, radius=1, size=3, seed=0, filled=True, **kwargs)"
    assert str(inspect.signature(Ball)) == signature
    given = {"size": 9, "extra": 2}
    assert Ball("red", 2, 9, 8, False, extra=2).given == ("red", 2, 8, False, given)


def test_a_typed_dict_describes_types_and_defaults():
    class Drawn(TypedDict, total=False):
        pen: int | None
        paper: "str"

    @SharedArguments(Drawn, paper="white")("paper pen")
    def draw(self, *_, **kwargs):
        return kwargs

    assert str(inspect.signature(draw)) == (
        "(self, paper: 'str' = 'white', pen: int | None = None, **kwargs)"
    )
    assert draw(0, "grey", ink=1) == {"paper": "grey", "pen": None, "ink": 1}


def test_an_inherited_constructor_is_named_after_the_class_that_was_made():
    with pytest.raises(TypeError, match=r"^RandomHue.__init__\(\) missing .* 'factor'"):
        lamina.layers.RandomHue()  # pyright: ignore


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
