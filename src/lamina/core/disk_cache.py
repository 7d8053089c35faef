"""The entries of the cache of compiled programs: whole, or not there.

JAX writes an entry in place and never replaces it. One that a full disk or a kill cut
short would be read, warned of and compiled anew in each later run.
"""

import contextlib
import os
import pathlib
import time
import zlib

from jax._src import compilation_cache
from jax._src.lru_cache import LRUCache

from lamina.core.files import replacing

_STALE = 3600  # seconds after which nobody writes a file aside any more


class AtomicCache(LRUCache):
    """JAX's cache in a folder, with entries that end in a checksum.

    They are written aside and renamed. One that is not whole is dropped, and the next
    compilation writes it.
    """

    _cleaned = False

    def get(self, key):
        """Return an entry, or None where there is none that is whole."""
        found = super().get(key)
        if found is None or zlib.crc32(found[:-4]).to_bytes(4, "big") == found[-4:]:
            return found and found[:-4]
        with contextlib.suppress(OSError):
            self._entry(key).unlink()
        return None

    def put(self, key, value):
        """Write an entry, unless there is one."""
        entry = self._entry(key)
        if entry.exists():
            return
        self._clean()
        with replacing(entry, follow=False, flush=False) as file:
            file.write(value + zlib.crc32(value).to_bytes(4, "big"))

    def _entry(self, key):
        return pathlib.Path(str(self.path)) / f"{key}-cache"

    def _clean(self):
        """Remove what runs that were killed have left."""
        if self._cleaned:
            return
        self._cleaned = True
        for part in pathlib.Path(str(self.path)).glob(".*.part"):
            with contextlib.suppress(OSError):
                if part.stat().st_mtime < time.time() - _STALE:
                    part.unlink()


def use_atomic_cache(folder):
    """Have JAX use `AtomicCache` in a folder; other folders are left to JAX."""
    made = compilation_cache.get_file_cache

    def get_file_cache(path):
        found = made(path)
        if path == os.fspath(folder) and found and type(found[0]) is LRUCache:
            if not found[0].eviction_enabled:
                return AtomicCache(path, max_size=-1), path
        return found

    compilation_cache.get_file_cache = get_file_cache
