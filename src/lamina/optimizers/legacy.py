"""The optimizers of Keras 2, which no longer exist."""


class Optimizer:
    """Raises an ImportError: the optimizers of Keras 2 do not exist here.

    Raises:
        ImportError: always.
    """

    def __init__(self, *args, **kwargs):
        raise ImportError(
            "`lamina.optimizers.legacy` holds only the names of Keras 2's optimizers. "
            f"Use `lamina.optimizers.{type(self).__name__}`."
        )


class Adagrad(Optimizer):
    """Raises an ImportError: use `lamina.optimizers.Adagrad`."""


class Adam(Optimizer):
    """Raises an ImportError: use `lamina.optimizers.Adam`."""


class Ftrl(Optimizer):
    """Raises an ImportError: use `lamina.optimizers.Ftrl`."""


class RMSprop(Optimizer):
    """Raises an ImportError: use `lamina.optimizers.RMSprop`."""


class SGD(Optimizer):
    """Raises an ImportError: use `lamina.optimizers.SGD`."""
