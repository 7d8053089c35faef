"""Hashes of text: TensorFlow's numbers, for every length that has its own formula."""

import numpy as np
import pytest

from lamina.kernels.hashing import fingerprint, keyed

# Of `bytes(range(length))`, modulo 2**63 - 1: `tf.strings.to_hash_bucket_fast`, and
# `tf.strings.to_hash_bucket_strong` with the key (133, -7).
KNOWN = [
    (0, 1936946117179621456, 7373424935019646237),
    (1, 4494688008148699989, 6635661071928590402),
    (3, 1486536572171691163, 2365824316556447433),
    (4, 198155675784242497, 6333171899674513380),
    (7, 2513219638405408418, 331294242949243136),
    (8, 3267946340606884761, 1039645459779277009),
    (16, 1080060857502750420, 1141979352142013357),
    (17, 4302810082142134045, 838751207741766738),
    (32, 1917831512995979081, 3045570869470023265),
    (33, 7527044130840859215, 5479380874319586412),
    (64, 8468179876952591436, 3781612283765044846),
    (65, 5089956174350597567, 8939907132393065675),
    (128, 2037963038260878803, 8362315209988227269),
    (129, 5659797075620071487, 1637740733760342767),
    (200, 525935771297148851, 2888427961625324602),
]


@pytest.mark.parametrize("column", [1, 2])
def test_numbers_of_tensorflow(column):
    texts = np.array([bytes(range(n)) for n, *_ in KNOWN], object)
    hashes = fingerprint(texts) if column == 1 else keyed(texts, (133, -7))
    found = hashes % np.uint64(2**63 - 1)
    assert found.tolist() == [row[column] for row in KNOWN]


def test_shape_and_repetition():
    texts = np.array([[b"a", b"bb"], [b"bb", b"a"]], object)
    hashes = fingerprint(texts)
    assert hashes.shape == (2, 2)
    assert (hashes == hashes.T[::-1, ::-1]).all()
    assert hashes[0, 0] != hashes[0, 1]
    assert fingerprint(np.zeros((0, 3), object)).shape == (0, 3)
