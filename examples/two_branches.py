"""Learn one number from two inputs, each with a network of its own.

It solves: join models that were made apart. The data are generated, not real: every
row has 32 features in one input and 128 in another, and the number to predict depends
on both, partly on their product, so that neither input alone is enough. A little noise
is added, which no model can predict.

It shows how two finished models are joined into a third one through their
``.input`` and ``.output``. For a problem of your own, replace `make_data` and the
shapes of the inputs. Run it with ``python examples/two_branches.py``.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import lamina
from lamina.layers import Concatenate, Dense, Input
from lamina.models import Model, load_model

NOISE = 0.1


def make_data(samples, rng):
    """Return both inputs and the number that depends on them."""
    a = rng.normal(size=(samples, 32)).astype("float32")
    b = rng.normal(size=(samples, 128)).astype("float32")
    from_a = a @ rng.normal(size=32) / np.sqrt(32)
    from_b = b @ rng.normal(size=128) / np.sqrt(128)
    target = from_a + from_b + from_a * from_b
    target += NOISE * rng.normal(size=samples)
    return a, b, target.astype("float32")


def build_model():
    """Return the compiled model of two joined branches."""
    input_a = Input(shape=(32,), name="a")
    input_b = Input(shape=(128,), name="b")

    x = Dense(32, activation="relu")(input_a)
    x = Dense(8, activation="relu")(x)
    x = Model(inputs=input_a, outputs=x, name="branch_a")

    y = Dense(64, activation="relu")(input_b)
    y = Dense(32, activation="relu")(y)
    y = Dense(8, activation="relu")(y)
    y = Model(inputs=input_b, outputs=y, name="branch_b")

    combined = Concatenate()([x.output, y.output])
    z = Dense(32, activation="relu")(combined)
    z = Dense(1)(z)

    model = Model(inputs=[x.input, y.input], outputs=z, name="two_branches")
    model.compile(optimizer="adam", loss="mse", metrics=["mae"])
    return model


def main(arguments=None):
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests")
    options = parser.parse_args(arguments)
    if options.quick:
        options.epochs, options.samples = 5, 4000
    options.out.mkdir(parents=True, exist_ok=True)

    lamina.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    a, b, target = make_data(options.samples, rng)
    cut = options.samples * 4 // 5

    model = build_model()
    model.summary()
    model.fit(
        [a[:cut], b[:cut]],
        target[:cut],
        batch_size=64,
        epochs=options.epochs,
        validation_data=([a[cut:], b[cut:]], target[cut:]),
    )

    a, b, truth = a[cut:], b[cut:], target[cut:]

    def error(inputs):
        return np.abs(model.predict(inputs, verbose=0)[:, 0] - truth).mean()

    result = {
        "always the mean": np.abs(target[:cut].mean() - truth).mean(),
        "this network, a shuffled": error([rng.permutation(a), b]),
        "this network, b shuffled": error([a, rng.permutation(b)]),
        "this network": error([a, b]),
    }
    table = Table(title=f"{len(truth)} held-out rows", title_justify="left")
    table.add_column("Prediction")
    table.add_column("Mean absolute error", justify="right")
    for name, value in result.items():
        table.add_row(name, f"{value:.3f}")
    Console().print(table)
    print(f"The noise alone leaves {NOISE * np.sqrt(2 / np.pi):.3f}.")

    drawing = options.out / "two_branches.png"
    lamina.utils.plot_model(model, drawing, rankdir="LR", show_layer_names=True, dpi=90)
    saved = options.out / "two_branches.keras"
    model.save(saved)
    print(f"Wrote {drawing} and {saved}")

    again = load_model(saved)
    number = again.predict([a[:1], b[:1]], verbose=0)[0, 0]
    print(f"From {saved}: a new row gives {number:.2f}; it is {truth[0]:.2f}.")
    print("Try next: train each branch alone first; a third branch; other sizes.")
    return result


if __name__ == "__main__":
    main()
