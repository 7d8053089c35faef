"""A folder of images through PyTorch's DataLoader, read and resized by Pillow."""

import data
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset


class Folder(Dataset):
    def __init__(self):
        self.files = sorted((data.FOLDER / "images").glob("*/*.jpg"))

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        with Image.open(self.files[index]) as image:
            small = image.convert("RGB").resize((data.SIDE, data.SIDE))
        label = int(self.files[index].parent.name.rpartition("_")[2])
        return torch.from_numpy(np.asarray(small, "float32")), label


def task(name):
    """Return how many things a run makes ready, and the run."""
    # Workers stay between passes, as those of the others do.
    loader = DataLoader(
        Folder(), data.BATCH, shuffle=True, num_workers=2, persistent_workers=True
    )

    def run():
        for x, y in loader:
            x.numpy(), y.numpy()

    return data.IMAGES, run
