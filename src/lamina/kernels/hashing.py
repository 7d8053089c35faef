"""Hashes of text on the host, the ones that TensorFlow's string ops give.

`fingerprint` is FarmHash's Fingerprint64 (Geoff Pike, 2014), `keyed` is SipHash-2-4
(Aumasson and Bernstein, 2012), `combined` is how `tf.sparse.cross_hashed` makes one
number of several. All compute on unsigned 64-bit integers modulo 2**64, for all
texts of one length at once.
"""

import numpy as np

_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
_CROSS = np.uint64(0xC6A4A7935BD1E995)
_CROSS_KEY = 0xDECAFCAFFE
_ALL = 2**64 - 1


def fingerprint(texts: np.ndarray) -> np.ndarray:
    """Return FarmHash's Fingerprint64 of each byte string, as uint64.

    >>> import numpy as np
    >>> from lamina.kernels.hashing import fingerprint
    >>> int(fingerprint(np.array([b"lamina"], object))[0] % 1000)
    222
    """
    return _by_length(texts, _farm)


def keyed(texts: np.ndarray, key) -> np.ndarray:
    """Return SipHash-2-4 of each byte string under a key of two integers, as uint64."""
    return _by_length(texts, lambda block: _sip(block, key))


def combined(columns) -> np.ndarray:
    """Return one uint64 for each row of several columns of uint64."""
    total = np.full(columns[0].size, _CROSS_KEY, np.uint64)
    for column in columns:
        column = column.reshape(-1)  # single numbers would warn that they overflow
        total = (total ^ _CROSS) ^ (_mix(column * _CROSS) * _CROSS)
        total = _mix(_mix(total * _CROSS) * _CROSS)
    return total.reshape(columns[0].shape)


def _by_length(texts, hashed):
    """Apply `hashed` to blocks of bytes, one block for all texts of one length."""
    flat = texts.reshape(-1).tolist()
    lengths = np.fromiter(map(len, flat), int, len(flat))
    result = np.zeros(len(flat), np.uint64)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        joined = b"".join([flat[i] for i in rows])
        block = np.frombuffer(joined, np.uint8).reshape(len(rows), length)
        result[rows] = hashed(block)
    return result.reshape(texts.shape)


def _word(block, start, dtype="<u8"):
    """Return the little-endian integer at a byte of each row."""
    part = block[:, start : start + np.dtype(dtype).itemsize]
    return np.ascontiguousarray(part).view(dtype)[:, 0].astype(np.uint64)


def _number(value):
    return np.uint64(value & _ALL)


def _turned(x, bits):
    """Return `x` with its bits turned to the right."""
    return (x >> np.uint64(bits)) | (x << np.uint64(64 - bits))


def _mix(x):
    return x ^ (x >> np.uint64(47))


# ---- FarmHash ------------------------------------------------------------------


def _farm(block):
    length = block.shape[1]
    if length > 64:
        return _farm_long(block)
    factor = _number(_K2 + 2 * length)
    if length > 32:
        return _farm_to_64(block, factor)
    if length > 16:
        return _pair(*_halves(block, 0, factor, _K1), factor)
    if length >= 8:
        a = _word(block, 0) + _number(_K2)
        b = _word(block, length - 8)
        return _pair(_turned(b, 37) * factor + a, (_turned(a, 25) + b) * factor, factor)
    if length >= 4:
        first, last = _word(block, 0, "<u4"), _word(block, length - 4, "<u4")
        return _pair((first << np.uint64(3)) + _number(length), last, factor)
    if length == 0:
        return _number(_K2)
    first, middle, last = (
        block[:, i].astype(np.uint64) for i in (0, length // 2, length - 1)
    )
    y = first + (middle << np.uint64(8))
    z = _number(length) + (last << np.uint64(2))
    return _mix(y * _number(_K2) ^ z * _number(_K0)) * _number(_K2)


def _pair(u, v, factor):
    """Mix two numbers into one."""
    a = _mix((u ^ v) * factor)
    return _mix((v ^ a) * factor) * factor


def _halves(block, start, factor, first):
    """Mix the 16 bytes from `start` with the last 16 into two numbers."""
    length = block.shape[1]
    a, b = _word(block, start) * _number(first), _word(block, start + 8)
    c = _word(block, length - 8) * factor
    d = _word(block, length - 16) * _number(_K2)
    one = _turned(a + b, 43) + _turned(c, 30) + d
    return one, a + _turned(b + _number(_K2), 18) + c


def _farm_to_64(block, factor):
    length = block.shape[1]
    y, other = _halves(block, 0, factor, _K2)
    z = _pair(y, other, factor)
    a = _word(block, 0) * _number(_K2)
    e, f = _word(block, 16) * factor, _word(block, 24)
    g = (y + _word(block, length - 32)) * factor
    h = (z + _word(block, length - 24)) * factor
    one = _turned(e + f, 43) + _turned(g, 30) + h
    return _pair(one, e + _turned(f + a, 18) + g, factor)


def _weak(block, start, a, b):
    """Mix 32 bytes into a pair of numbers."""
    w, x, y, z = (_word(block, start + 8 * i) for i in range(4))
    a = a + w
    b = _turned(b + a + z, 21)
    total = a + x + y
    return total + z, b + _turned(total, 44) + a


def _farm_long(block):
    rows, length = block.shape
    start_y = (81 * _K1 + 113) & _ALL
    start_z = (start_y * _K2 + 113) & _ALL
    start_z = (start_z ^ (start_z >> 47)) * _K2
    y = np.full(rows, start_y, np.uint64)
    z = np.full(rows, _number(start_z))
    x = _word(block, 0) + _number(81 * _K2)
    zeros = np.zeros(rows, np.uint64)
    state = (x, y, z, (zeros, zeros), (zeros, zeros))
    for start in range(0, (length - 1) // 64 * 64, 64):
        state = _round(block, start, state, _number(_K1), 1)
    # The last 64 bytes again, with a factor that depends on all before.
    x, y, z, v, w = state
    factor = _number(_K1) + ((z & np.uint64(0xFF)) << np.uint64(1))
    w = (w[0] + _number((length - 1) & 63), w[1])
    v = (v[0] + w[0], v[1])
    w = (w[0] + v[0], w[1])
    x, y, z, v, w = _round(block, length - 64, (x, y, z, v, w), factor, 9)
    one = _pair(v[0], w[0], factor) + _mix(y) * _number(_K0) + z
    return _pair(one, _pair(v[1], w[1], factor) + x, factor)


def _round(block, start, state, factor, times):
    x, y, z, v, w = state
    times = np.uint64(times)
    x = _turned(x + y + v[0] + _word(block, start + 8), 37) * factor
    y = _turned(y + v[1] + _word(block, start + 48), 42) * factor
    x = x ^ (w[1] * times)
    y = y + v[0] * times + _word(block, start + 40)
    z = _turned(z + w[0], 33) * factor
    v = _weak(block, start, v[1] * factor, x + w[0])
    w = _weak(block, start + 32, z + w[1], y + _word(block, start + 16))
    return z, y, x, v, w


# ---- SipHash -------------------------------------------------------------------

_SIP = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


def _sip(block, key):
    rows, length = block.shape
    padded = np.zeros((rows, length // 8 * 8 + 8), np.uint8)
    padded[:, :length] = block
    padded[:, -1] = length & 0xFF
    keys = (*key, *key)
    state = [
        np.full(rows, _number(int(k) ^ start))
        for k, start in zip(keys, _SIP, strict=True)
    ]
    for start in range(0, padded.shape[1], 8):
        word = _word(padded, start)
        state[3] = state[3] ^ word
        state = _sip_rounds(state, 2)
        state[0] = state[0] ^ word
    state[2] = state[2] ^ np.uint64(0xFF)
    a, b, c, d = _sip_rounds(state, 4)
    return a ^ b ^ c ^ d


def _sip_rounds(state, times):
    a, b, c, d = state
    for _ in range(times):
        a, c = a + b, c + d
        b, d = _turned(b, 51) ^ a, _turned(d, 48) ^ c
        a, c = _turned(a, 32) + d, c + b
        b, d = _turned(b, 47) ^ c, _turned(d, 43) ^ a
        c = _turned(c, 32)
    return [a, b, c, d]
