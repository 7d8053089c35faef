"""`Config`, a dict whose entries are attributes."""

import json


class Config:
    """A dict whose entries are attributes too, and that can be frozen.

    Args:
        kwargs: the first entries.

    Raises:
        ValueError: a change while frozen.

    >>> import lamina
    >>> config = lamina.utils.Config(width=8)
    >>> config.depth = 2
    >>> config["width"], config.as_dict()
    (8, {'width': 8, 'depth': 2})
    """

    def __init__(self, **kwargs):
        object.__setattr__(self, "_config", dict(kwargs))
        object.__setattr__(self, "_frozen", False)

    @property
    def frozen(self) -> bool:
        """Whether changes are refused."""
        return self._frozen

    def freeze(self) -> None:
        """Refuse changes from now on."""
        object.__setattr__(self, "_frozen", True)

    def unfreeze(self) -> None:
        """Allow changes again."""
        object.__setattr__(self, "_frozen", False)

    def _changeable(self):
        if self._frozen:
            raise ValueError(
                "Cannot mutate attribute(s) because the config is frozen. Call "
                "`unfreeze()` first."
            )

    def as_dict(self) -> dict:
        """Return the entries as a new dict."""
        return dict(self._config)

    def to_json(self) -> str:
        """Return the entries as JSON."""
        return json.dumps(self._config)

    def keys(self):
        """Return the names."""
        return self._config.keys()

    def values(self):
        """Return the values."""
        return self._config.values()

    def items(self):
        """Return (name, value) pairs."""
        return self._config.items()

    def get(self, keyname, value=None):
        """Return an entry, or `value` if there is none."""
        return self._config.get(keyname, value)

    def pop(self, *args):
        """Take an entry out and return it."""
        self._changeable()
        return self._config.pop(*args)

    def update(self, *args, **kwargs) -> None:
        """Change several entries at once."""
        self._changeable()
        self._config.update(*args, **kwargs)

    def __getitem__(self, key):
        return self._config[key]

    def __setitem__(self, key, value):
        self._changeable()
        self._config[key] = value

    def __delitem__(self, key):
        self._changeable()
        del self._config[key]

    def __getattr__(self, name):
        try:
            return self.__dict__["_config"][name]
        except KeyError:
            raise AttributeError(
                f"`Config` has no entry {name!r}. It has: {list(self._config)}"
            ) from None

    def __setattr__(self, name, value):
        self[name] = value

    def __delattr__(self, name):
        self._changeable()
        if name not in self._config:
            raise AttributeError(f"`Config` has no entry {name!r}")
        del self._config[name]

    def __iter__(self):
        return iter(sorted(self._config))

    def __contains__(self, key):
        return key in self._config

    def __len__(self):
        return len(self._config)

    def __dir__(self):
        return sorted({*super().__dir__(), *self._config})

    def __repr__(self):
        return f"<Config {self._config}>"
