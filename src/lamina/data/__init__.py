"""Anything a user has, turned into batches of arrays."""

from lamina.data.arrays import as_arrays as as_arrays
from lamina.data.arrays import pack as pack
from lamina.data.arrays import unpack as unpack
from lamina.data.sources import ArraySource as ArraySource
from lamina.data.sources import IterableSource as IterableSource
from lamina.data.sources import open_source as open_source
from lamina.data.sources import split as split
