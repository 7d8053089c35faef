"""What getting data ready is measured with: the same files and arrays for all peers."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

FOLDER = Path(__file__).parent.parent / "build" / "bench" / "data"
SIDE, BATCH, IMAGES, CLASSES = 128, 32, 640, 4


class Task(NamedTuple):
    title: str
    unit: str


TASKS = {
    "images": Task("Folder of JPEGs, 320x240 to 128x128, batch 32", "images"),
    "text-adapt": Task("`TextVectorization.adapt`, 20 words a text", "texts"),
    "text": Task("`TextVectorization`, 20 words a text", "texts"),
    "lookup": Task("`StringLookup`, 10,000 words", "words"),
    "normalization": Task("`Normalization.adapt`, 20 columns", "rows"),
    "windows": Task("Windows of 24 steps of a series, batch 64", "windows"),
    "augmentation": Task("Flip, rotate and zoom 64x64x3", "images"),
}


def prepare():
    """Write the folder of JPEGs, unless it is there: smooth, with some noise."""
    from PIL import Image

    if (FOLDER / "made").exists():
        return
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        coarse = rng.integers(0, 256, (12, 16, 3), "uint8")
        smooth = Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC)
        noisy = np.asarray(smooth, "float32") + rng.normal(0, 6, (240, 320, 3))
        place = FOLDER / "images" / f"class_{number % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = Image.fromarray(np.clip(noisy, 0, 255).astype("uint8"))
        pixels.save(place / f"{number:04d}.jpg", quality=90)
    (FOLDER / "made").touch()


def words(count, vocabulary, seed=0):
    """Return words, the second half as frequent as the first, and so on (Zipf)."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, vocabulary + 1)
    known = np.array([f"w{n * 7919 % 100_003}" for n in range(vocabulary)])
    return known[rng.choice(vocabulary, count, p=shares / shares.sum())]


def texts(count=10_000):
    return np.array(
        [" ".join(row) for row in words(count * 20, 20_000).reshape(-1, 20)]
    )
