"""Keras' bases of convolutions, which take a rank first, where Lamina's know theirs."""

import abc

from lamina.layers import convolution


def _base(name, *arguments):
    """Return a base that takes a rank and some arguments, and has Lamina's layers."""
    of = getattr(convolution, name.removeprefix("Base"))
    kinds = of.__subclasses__()

    # Of abc, as the metaclasses of packages are that mix a base with others.
    class Base(of, metaclass=abc.ABCMeta):
        _saved_never = (*of._saved_never, "rank")

        def __init__(self, rank, *args, **kwargs):
            self.__dict__["rank"] = rank
            given = dict(zip(arguments, args, strict=False))
            super().__init__(**given, **kwargs)

    Base.__name__ = Base.__qualname__ = name
    for kind in kinds:
        Base.register(kind)
    return Base


BaseConv = _base("BaseConv", "filters", "kernel_size")
BaseConvTranspose = _base("BaseConvTranspose", "filters", "kernel_size")
BaseDepthwiseConv = _base("BaseDepthwiseConv", "depth_multiplier", "kernel_size")
BaseSeparableConv = _base(
    "BaseSeparableConv", "depth_multiplier", "filters", "kernel_size"
)
