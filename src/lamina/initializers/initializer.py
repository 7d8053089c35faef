"""The base of all initializers."""

from lamina.core.config import Constructed


class Initializer(Constructed):
    """A callable `(shape, dtype=None)` that gives the first value of a Variable.

    Subclasses write `__call__`, and `get_config` when they take arguments.

    >>> import lamina
    >>> class Halves(lamina.initializers.Initializer):
    ...     def __call__(self, shape, dtype=None):
    ...         return lamina.initializers.Constant(0.5)(shape, dtype)
    >>> Halves()((2,)).tolist()
    [0.5, 0.5]
    """

    _reads_signatures = False

    def __call__(self, shape, dtype=None):
        """Return an array of the given shape and dtype."""
        raise NotImplementedError(
            f"`{type(self).__name__}` must implement `__call__(shape, dtype=None)`."
        )

    def clone(self):
        """Return an initializer with the same config."""
        return type(self).from_config(self.get_config())
