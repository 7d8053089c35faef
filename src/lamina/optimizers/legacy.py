"""The optimizers of Keras 2, which no longer exist."""


class Optimizer:
    """Raises an ImportError: the optimizers of Keras 2 do not exist here.

    Raises:
        ImportError: always.

    >>> import lamina
    >>> lamina.optimizers.legacy.Optimizer()
    Traceback (most recent call last):
    ImportError: ... Use `lamina.optimizers.Optimizer`.
    """

    def __init__(self, *args, **kwargs):
        raise ImportError(
            "`lamina.optimizers.legacy` holds only the names of Keras 2's optimizers. "
            f"Use `lamina.optimizers.{type(self).__name__}`."
        )


class Adagrad(Optimizer):
    """Raises an ImportError: use `lamina.optimizers.Adagrad`.

    >>> import lamina
    >>> lamina.optimizers.legacy.Adagrad()
    Traceback (most recent call last):
    ImportError: ... Use `lamina.optimizers.Adagrad`.
    """


class Adam(Optimizer):
    """Raises an ImportError: use `lamina.optimizers.Adam`.

    >>> import lamina
    >>> lamina.optimizers.legacy.Adam()
    Traceback (most recent call last):
    ImportError: ... Use `lamina.optimizers.Adam`.
    """


class Ftrl(Optimizer):
    """Raises an ImportError: use `lamina.optimizers.Ftrl`.

    >>> import lamina
    >>> lamina.optimizers.legacy.Ftrl()
    Traceback (most recent call last):
    ImportError: ... Use `lamina.optimizers.Ftrl`.
    """


class RMSprop(Optimizer):
    """Raises an ImportError: use `lamina.optimizers.RMSprop`.

    >>> import lamina
    >>> lamina.optimizers.legacy.RMSprop()
    Traceback (most recent call last):
    ImportError: ... Use `lamina.optimizers.RMSprop`.
    """


class SGD(Optimizer):
    """Raises an ImportError: use `lamina.optimizers.SGD`.

    >>> import lamina
    >>> lamina.optimizers.legacy.SGD()
    Traceback (most recent call last):
    ImportError: ... Use `lamina.optimizers.SGD`.
    """
