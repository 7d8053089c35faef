"""The entries of the cache of compiled programs: whole, or not there.

JAX writes an entry in place and never replaces it. One that a full disk or a kill cut
short would be read, warned of and compiled anew in each later run.
"""

import contextlib
import pathlib
import time
import zlib
from typing import Any

from jax._src import compilation_cache
from jax._src.lru_cache import LRUCache

from lamina.core.files import replacing

_STALE = 3600  # seconds after which nobody writes a file aside any more


class ReplacingCache(LRUCache):
    """JAX's cache in a folder that others may use too: the entries are as JAX's.

    They are written aside and renamed. One that was read and is compiled all the same,
    which JAX warns of, was broken, and is replaced.
    """

    _cleaned = False

    def __init__(self, path):
        super().__init__(path, max_size=-1)
        self._read = set()

    def get(self, key):
        """Return an entry, or None where there is none."""
        found = super().get(key)
        if found is not None:
            self._read.add(key)
        return found

    def put(self, key, value):
        """Write an entry, unless there is one that was not read."""
        entry = self._entry(key)
        if entry.exists() and key not in self._read:
            return
        self._read.discard(key)
        self._clean()
        with replacing(entry, follow=False, flush=False) as file:
            file.write(self._packed(value))

    @staticmethod
    def _packed(value):
        return value

    def _entry(self, key):
        return pathlib.Path(str(self.path)) / f"{key}-cache"

    def _clean(self):
        """Remove what runs that were killed have left."""
        if self._cleaned:
            return
        self._cleaned = True
        for part in pathlib.Path(str(self.path)).glob(".*-cache.*.part"):
            with contextlib.suppress(OSError):
                if part.stat().st_mtime < time.time() - _STALE:
                    part.unlink()


class AtomicCache(ReplacingCache):
    """The cache in a folder of Lamina's own, with entries that end in a checksum.

    One that is not whole is dropped without a warning.
    """

    def get(self, key):
        """Return an entry, or None where there is none that is whole."""
        found = super().get(key)
        if found is None or self._packed(found[:-4]) == found:
            return found and found[:-4]
        with contextlib.suppress(OSError):
            self._entry(key).unlink()
        return None

    @staticmethod
    def _packed(value):
        return value + zlib.crc32(value).to_bytes(4, "big")


def use_atomic_cache(folder=None):
    """Have JAX use `AtomicCache` in a folder of ours, in others `ReplacingCache`.

    Those that JAX keeps to a size, and that are not on a disk, are left to it.
    """
    made = compilation_cache.get_file_cache

    def get_file_cache(path):
        found = made(path)
        cache: Any = found and found[0]
        if type(cache) is not LRUCache or cache.eviction_enabled or "://" in path:
            return found
        return (AtomicCache if path == folder else ReplacingCache)(path), path

    compilation_cache.get_file_cache = get_file_cache
