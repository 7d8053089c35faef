"""Write text, a character at a time, with a small GPT.

It solves: continue a sequence (text, music, events) from its beginning. The network
is a transformer: each character looks back at those before it, by causal attention,
and says which one comes next. Then it writes: a character is drawn, put behind the
text, and the network is asked again.

The text is real: the reference manual of Python's language, which comes with Python. A
character is its own number (ASCII), so that the saved file needs no vocabulary. For
another text, replace `load_text`. Run it with ``python examples/gpt.py``; it writes
``gpt.keras`` and ``gpt.png``.
"""

import argparse
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

import lamina
from lamina.layers import (
    Add,
    Dense,
    Dropout,
    Embedding,
    Input,
    LayerNormalization,
    MultiHeadAttention,
)
from lamina.models import Model, load_model

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError(
        "This example needs matplotlib: pip install 'lamina[plot]'"
    ) from error

CONTEXT = 64  # characters that it looks back at
WIDTH, HEADS, BLOCKS = 96, 4, 2
CHARACTERS = 128  # of ASCII


def load_text():
    """Return the text as an array of the numbers of its characters."""
    text = "\n".join(topics[name] for name in sorted(topics))
    return np.frombuffer(text.encode("ascii", "ignore"), "uint8")


class Position(lamina.Layer):
    """Adds a vector for each place in the text, which is learnt."""

    def build(self, input_shape):
        self.places = self.add_weight(
            shape=input_shape[1:], initializer="random_normal", name="places"
        )

    def call(self, x):
        return x + self.places


def build_model():
    """Return the compiled network: a probability of each character, at each place."""
    text = Input((CONTEXT,), dtype="int32", name="text")
    x = Position()(Embedding(CHARACTERS, WIDTH)(text))
    for _ in range(BLOCKS):
        seen = LayerNormalization()(x)
        attention = MultiHeadAttention(HEADS, WIDTH // HEADS)
        x = Add()([x, attention(seen, seen, use_causal_mask=True)])
        thought = Dense(4 * WIDTH, activation="gelu")(LayerNormalization()(x))
        x = Add()([x, Dropout(0.1)(Dense(WIDTH)(thought))])
    following = Dense(CHARACTERS, name="following")(LayerNormalization()(x))
    model = Model(text, following, name="gpt")
    model.compile(
        lamina.optimizers.Adam(0.002),
        lamina.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def windows(text, count, rng):
    """Return pieces of the text, and the same pieces one character later."""
    starts = rng.integers(0, len(text) - CONTEXT - 1, count)
    pieces = text[starts[:, None] + np.arange(CONTEXT + 1)].astype("int32")
    return pieces[:, :-1], pieces[:, 1:]


def write(model, beginning, length, rng, courage=0.7):
    """Return the beginning and what the model writes behind it.

    `courage` divides the scores: little of it takes what is most probable.
    """
    codes = [*beginning.encode("ascii")]
    for _ in range(length):
        last = codes[-CONTEXT:]
        given = np.full((1, CONTEXT), ord(" "))
        given[0, : len(last)] = last  # what comes behind is not looked at
        scores = np.asarray(model(given))[0, len(last) - 1] / courage
        chances = np.exp(scores - scores.max())
        codes.append(rng.choice(CHARACTERS, p=chances / chances.sum()))
    return bytes(codes).decode("ascii")


def entropy_of_pairs(train, test):
    """Return the bits of a character when it is told from the one before it."""
    counts = np.full((CHARACTERS, CHARACTERS), 0.01)
    np.add.at(counts, (train[:-1], train[1:]), 1)
    chances = counts / counts.sum(axis=1, keepdims=True)
    return -np.log2(chances[test[:-1], test[1:]]).mean()


def main(arguments=None):
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--samples", type=int, default=3200, help="pieces an epoch")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests")
    options = parser.parse_args(arguments)
    if options.quick:
        options.epochs, options.samples = 3, 800
    options.out.mkdir(parents=True, exist_ok=True)

    lamina.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    text = load_text()
    train, test = text[: len(text) * 9 // 10], text[len(text) * 9 // 10 :]
    held_out = windows(test, 200, rng)

    model = build_model()
    model.summary()
    bits = []
    for epoch in range(1, options.epochs + 1):
        # New pieces in every epoch.
        model.fit(*windows(train, options.samples, rng), batch_size=32, verbose=0)
        bits.append(model.evaluate(*held_out, verbose=0) / np.log(2))
        print(f"Epoch {epoch}/{options.epochs} - {bits[-1]:.2f} bits a character")

    often = np.bincount(train, minlength=CHARACTERS) + 0.01
    result = {
        "by how often it occurs": -np.log2(often[test] / often.sum()).mean(),
        "by the character before": entropy_of_pairs(train, test),
        "this network": bits[-1],
    }
    print("\nheld-out text, bits a character (fewer: it knows better what comes):")
    for name, value in result.items():
        print(f"  {name}: {value:.2f}")

    saved = options.out / "gpt.keras"
    model.save(saved)
    again = load_model(saved, custom_objects={"Position": Position})
    length = 60 if options.quick else 240
    written = write(again, "The value of the expression ", length, rng)
    print(f"From {saved}, it writes:\n{written}")

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    panel = figure.subplots()
    panel.plot(range(1, len(bits) + 1), bits, color="#2b6cb0", marker="o", ms=3)
    panel.axhline(result["by the character before"], color="#dd6b20", lw=1)
    panel.legend(["this network", "by the character before"], frameon=False)
    panel.set_xlabel("epoch")
    panel.set_ylabel("bits a character")
    figure.savefig(options.out / "gpt.png", dpi=100, facecolor="white")
    print("Try next: a text of your own; more blocks; words in place of characters.")
    return result


if __name__ == "__main__":
    main()
