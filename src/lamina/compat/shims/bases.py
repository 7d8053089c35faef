"""Keras' bases of layers, which take a rank, where Lamina's know theirs."""

import abc

from lamina.core.checks import one_of
from lamina.kernels import average_pool, max_pool
from lamina.layers import convolution, pooling


def _base(name, of, arguments):
    """Return a base that has Lamina's layers, and takes arguments in Keras' order.

    One of them is the rank, and one may be the mode of pooling.
    """
    names = arguments.split()
    ranks = {"rank", "pool_dimensions"}
    kinds = of.__subclasses__()

    # Of abc, as the metaclasses of packages are that mix a base with others.
    class Base(of, metaclass=abc.ABCMeta):
        _saved_never = (*of._saved_never, *ranks, "pool_mode")

        def __init__(self, *args, **kwargs):
            given = dict(zip(names, args, strict=False)) | kwargs
            for one in ranks.intersection(given):
                self.__dict__["rank"] = given.pop(one)
            if isinstance(size := given.get("output_size"), tuple):
                self.__dict__["rank"] = len(size)
            if (mode := given.pop("pool_mode", None)) is not None:
                mode = one_of(name, "pool_mode", mode, ("max", "average"))
                pool = average_pool if mode == "average" else max_pool
                self.__dict__ |= {"pool_mode": mode, "_pool": pool}
            super().__init__(**given)

    Base.__name__ = Base.__qualname__ = name
    for kind in kinds:
        Base.register(kind)
    return Base


BaseConv, BaseConvTranspose, BaseDepthwiseConv, BaseSeparableConv = (
    _base(f"Base{of.__name__}", of, f"rank {arguments}")
    for of, arguments in (
        (convolution.Conv, "filters kernel_size"),
        (convolution.ConvTranspose, "filters kernel_size"),
        (convolution.DepthwiseConv, "depth_multiplier kernel_size"),
        (convolution.SeparableConv, "depth_multiplier filters kernel_size"),
    )
)
BaseAdaptivePooling = _base(
    "BaseAdaptivePooling", pooling.AdaptivePool, "output_size data_format"
)
BaseGlobalPooling = _base(
    "BaseGlobalPooling", pooling.GlobalPool, "pool_dimensions data_format keepdims"
)
BasePooling = _base(
    "BasePooling",
    pooling.Pool,
    "pool_size strides pool_dimensions pool_mode padding data_format name",
)
