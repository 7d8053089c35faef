"""Sources whose batches are changed as they come."""


class Mapped:
    """A source that gives the batches of another, each changed by a function.

    Args:
        source: any source but an `ArraySource`, which can do more.
        change: a function of a batch that returns one.
    """

    rows = None
    arrays = None

    def __init__(self, source, change):
        self._source, self._change = source, change

    def __getattr__(self, name):
        return getattr(self._source, name)

    def first(self):
        """Return the first batch of the coming epoch, which will still yield it."""
        return self._change(self._source.first())

    def epoch(self, *args, **kwargs):
        """Yield the batches of one epoch."""
        return map(self._change, self._source.epoch(*args, **kwargs))

    @property
    def batches(self):
        """The batches in one epoch, or None."""
        return self._source.batches

    @batches.setter
    def batches(self, value):
        self._source.batches = value
