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
from lamina import ops
from lamina.layers import (
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

CONTEXT = 96  # characters that it looks back at
WIDTH, HEADS, BLOCKS = 96, 4, 2
CHARACTERS = 128  # of ASCII


def load_text():
    """Return the text as an array of the numbers of its characters."""
    text = "\n".join(topics[name] for name in sorted(topics))
    return np.frombuffer(text.encode("ascii", "ignore"), "uint8")


@lamina.saving.register_keras_serializable("gpt")
class Position(lamina.Layer):
    """Adds a vector for each place in the text, which is learnt."""

    def build(self, input_shape):
        self.places = self.add_weight(
            shape=input_shape[1:], initializer="random_normal", name="places"
        )

    def call(self, x):
        return x + self.places


@lamina.saving.register_keras_serializable("gpt")
class Block(lamina.Layer):
    """Looks back at the characters before, then thinks about each one."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.before, self.after = LayerNormalization(), LayerNormalization()
        self.attention = MultiHeadAttention(HEADS, WIDTH // HEADS)
        self.up, self.down = Dense(4 * WIDTH, activation="gelu"), Dense(WIDTH)
        self.dropout = Dropout(0.1)

    def call(self, x):
        seen = self.before(x)
        return self.think(x + self.attention(seen, seen, use_causal_mask=True))

    def think(self, x):
        return x + self.dropout(self.down(self.up(self.after(x))))

    def follow(self, x, keys, values, place):
        """Do the same for one character, given the keys and values before its place."""
        seen, attention, size = self.before(x), self.attention, WIDTH // HEADS
        query = ops.reshape(attention.query_dense(seen), (-1, 1, size))
        key = ops.reshape(attention.key_dense(seen), (-1, size, 1))
        value = ops.reshape(attention.value_dense(seen), (-1, 1, size))
        # Kept as they are multiplied: a step writes its place, and copies nothing.
        keys = ops.slice_update(keys, (0, 0, place), key)
        values = ops.slice_update(values, (0, place, 0), value)
        scores = query @ keys / size**0.5
        scores = ops.where(ops.arange(CONTEXT) <= place, scores, -1e9)
        found = ops.reshape(ops.softmax(scores) @ values, (-1, 1, HEADS, size))
        return self.think(x + attention.output_dense(found)), keys, values


def build_model():
    """Return the compiled network: a score of each character, at each place."""
    text = Input((CONTEXT,), dtype="int32", name="text")
    x = Embedding(CHARACTERS, WIDTH, name="characters")(text)
    x = Position(name="position")(x)
    for i in range(BLOCKS):
        x = Block(name=f"block_{i}")(x)
    x = LayerNormalization(name="last")(x)
    model = Model(text, Dense(CHARACTERS, name="following")(x), name="gpt")
    model.compile(
        lamina.optimizers.Adam(0.002),
        lamina.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


class Writer(Model):
    """Writes behind the beginnings of texts, with the layers of a trained network.

    It takes the numbers of the characters, (texts, CONTEXT), with 0 where it is to
    write. `predict` compiles it: one program, in which a loop goes from place to place.
    `courage` divides the scores: little of it takes what is most probable.
    """

    def __init__(self, gpt, courage=0.7):
        super().__init__()
        self.gpt, self.courage = gpt, courage
        self.seed = lamina.random.SeedGenerator()

    def call(self, text):
        layer, texts, size = self.gpt.get_layer, len(text), WIDTH // HEADS
        blocks = [layer(f"block_{i}") for i in range(BLOCKS)]
        # The greatest score with such noise is a draw by the probabilities.
        shape_of_noise = texts, CONTEXT, CHARACTERS
        chance = lamina.random.uniform(shape_of_noise, 1e-9, 1.0, seed=self.seed)
        noise = -ops.log(-ops.log(chance))

        def step(place, state):
            text, kept = state
            x = layer("characters")(text[:, place])[:, None]
            x = x + layer("position").places[place]
            for i, block in enumerate(blocks):
                x, *kept[i] = block.follow(x, *kept[i], place)
            scores = layer("following")(layer("last")(x))[:, 0] / self.courage
            drawn = ops.argmax(scores + noise[:, place], axis=-1)
            following = text[:, place + 1]
            following = ops.where(following == 0, drawn, following)
            return ops.slice_update(text, (0, place + 1), following[:, None]), kept

        heads = texts * HEADS
        shapes = (heads, size, CONTEXT), (heads, CONTEXT, size)
        kept = [[ops.zeros(shape) for shape in shapes] for _ in blocks]
        return ops.fori_loop(0, CONTEXT - 1, step, (text, kept))[0]


def windows(text, count, rng):
    """Return pieces of the text, and the same pieces one character later."""
    starts = rng.integers(0, len(text) - CONTEXT - 1, count)
    pieces = text[starts[:, None] + np.arange(CONTEXT + 1)].astype("int32")
    return pieces[:, :-1], pieces[:, 1:]


def write(writer, beginning):
    """Return the beginning, and what is written behind it."""
    text = np.zeros((1, CONTEXT), "int32")
    text[0, : len(beginning)] = [*beginning.encode("ascii")]
    return bytes(writer.predict(text, verbose=0)[0].tolist()).decode("ascii")


def entropy_of_pairs(train, test):
    """Return the bits of a character when it is told from the one before it."""
    counts = np.full((CHARACTERS, CHARACTERS), 0.01)
    np.add.at(counts, (train[:-1], train[1:]), 1)
    chances = counts / counts.sum(axis=1, keepdims=True)
    return -np.log2(chances[test[:-1], test[1:]]).mean()


def main(arguments=None):
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--samples", type=int, default=2048, help="pieces an epoch")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests")
    options = parser.parse_args(arguments)
    if options.quick:
        options.epochs, options.samples = 3, 512
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
        model.fit(*windows(train, options.samples, rng), batch_size=16, verbose=0)
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
    writer = Writer(load_model(saved))
    print(f"From {saved}, it writes:\n{write(writer, 'The value of the expression ')}")

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
