"""Say from one sentence what it is about.

It solves: sort short texts (questions, tickets, reviews) into topics. The texts here
are real: sentences from the manual of SciPy, which is installed with Lamina, and the
topic is the part of SciPy that they describe. Held out are whole functions, so that
no sentence of a function that was learnt from is asked about.

The vocabulary is a layer of the model: the saved file takes raw sentences. For a
problem of your own, replace `load_sentences`. Run it with
``python examples/text_topics.py``; it writes ``text_topics.keras`` and
``text_topics.png``.
"""

import argparse
import importlib
import re
from pathlib import Path

import numpy as np

import lamina
from lamina.layers import (
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    GlobalMaxPooling1D,
    Input,
    TextVectorization,
)
from lamina.models import Model, load_model

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError(
        "This example needs matplotlib: pip install 'lamina[plot]'"
    ) from error

TOPICS = ["stats", "signal", "optimize", "linalg", "ndimage", "interpolate", "special"]
WORDS = 32  # of a sentence; longer ones are cut


def load_sentences(rng):
    """Return sentences, their topics as numbers, and which of them are held out."""
    sentences, topics, held_out, seen = [], [], [], set()
    for number, topic in enumerate(TOPICS):
        module = importlib.import_module(f"scipy.{topic}")
        for name in sorted(vars(module)):
            manual = getattr(getattr(module, name), "__doc__", None)
            if name.startswith("_") or not manual or "Deprecated" in manual:
                continue
            apart = rng.uniform() < 0.2
            for text in re.split(r"(?<=[.])\s+|\n\s*\n", manual):
                text = " ".join(text.split())
                prose = (
                    text.endswith(".") and text[:1].isupper() and 40 < len(text) < 300
                )
                if (
                    prose
                    and ">>>" not in text
                    and "--" not in text
                    and text not in seen
                ):
                    seen.add(text)
                    sentences.append(text)
                    topics.append(number)
                    held_out.append(apart)
    order = rng.permutation(len(sentences))
    found = np.array(sentences), np.array(topics), np.array(held_out)
    return [values[order] for values in found]


def build_model(sentences):
    """Return the compiled network; it learns its words from the sentences."""
    words = TextVectorization(max_tokens=6000, output_sequence_length=WORDS)
    words.adapt(sentences)
    sentence = Input(shape=(), dtype="string", name="sentence")
    x = Embedding(words.vocabulary_size(), 48)(words(sentence))
    x = Dropout(0.4)(x)
    x = Conv1D(64, 3, padding="same", activation="relu")(x)
    x = GlobalMaxPooling1D()(x)
    x = Dropout(0.4)(x)
    topic = Dense(len(TOPICS), activation="softmax", name="topic")(x)
    model = Model(sentence, topic)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def save_confusions(path, truth, guessed):
    """Write which topics are taken for which as a picture."""
    counts = np.zeros((len(TOPICS), len(TOPICS)))
    np.add.at(counts, (truth, guessed), 1)
    counts /= counts.sum(axis=1, keepdims=True)
    figure = Figure(figsize=(6, 5), layout="constrained")
    panel = figure.subplots()
    panel.imshow(counts, cmap="Blues", vmin=0, vmax=1)
    panel.set_xticks(range(len(TOPICS)), TOPICS, rotation=45)
    panel.set_yticks(range(len(TOPICS)), TOPICS)
    panel.set_xlabel("what the network says")
    panel.set_ylabel("what it is")
    for row, column in np.ndindex(*counts.shape):
        color = "white" if counts[row, column] > 0.5 else "black"
        text = f"{counts[row, column]:.0%}"
        panel.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    figure.savefig(path, dpi=100, facecolor="white")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests")
    options = parser.parse_args(arguments)
    if options.quick:
        options.epochs, options.samples = 4, 3000
    options.out.mkdir(parents=True, exist_ok=True)

    lamina.utils.set_random_seed(0)
    sentences, topics, held_out = load_sentences(np.random.default_rng(0))
    train = np.flatnonzero(~held_out)[: options.samples]
    model = build_model(sentences[train])
    model.summary()
    model.fit(
        sentences[train],
        topics[train],
        batch_size=64,
        epochs=options.epochs,
        validation_data=(sentences[held_out], topics[held_out]),
        verbose=2,
    )

    truth = topics[held_out]
    guessed = model.predict(sentences[held_out], verbose=0).argmax(axis=1)
    most_frequent = np.bincount(topics[train]).argmax()
    result = {
        f"always {TOPICS[most_frequent]}": np.mean(truth == most_frequent),
        "this network": np.mean(truth == guessed),
    }
    print(f"\n{len(truth)} sentences of functions that it has never seen:")
    for name, accuracy in result.items():
        print(f"  {name}: {accuracy:.1%} right")

    save_confusions(options.out / "text_topics.png", truth, guessed)
    saved = options.out / "text_topics.keras"
    model.save(saved)
    again = load_model(saved)
    new = "Blur a picture with a Gaussian filter along each axis."
    chances = again.predict(np.array([new]), verbose=0)[0]
    print(f'From {saved}: "{new}" is about {TOPICS[chances.argmax()]}.')
    print("Try next: your own texts; a GRU in place of Conv1D; bigrams (ngrams=2).")
    return result


if __name__ == "__main__":
    main()
