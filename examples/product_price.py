"""Learn a price from three inputs at once: a table, a sentence and a picture.

The diamonds and their prices are real (plotnine ships 53,940 of them; a sample
is used). The sentences and pictures are not: they are made here from fields of
the same diamonds, and every field is given to one input only.

- ``table``: the height in millimetres and the width of the top facet,
- ``text``: the cut and the clarity, in words and in several phrasings,
- ``image``: length and width as the size of the drawn stone, and its colour.

So every branch knows something the others lack, and the weight, which would say
most, is given to none. Each branch is also trained alone, for comparison.

It solves: one answer from several kinds of data. The scaling of the numbers, the
vocabulary and the way back to dollars are layers of the model: the saved file takes
raw numbers, sentences and pixels. For a problem of your own, replace
`load_diamonds`, `write_sentence` and `draw_stone`.

Run it with ``python examples/product_price.py``; it writes ``prices.png``,
``diamonds.png`` and ``product_price.keras``.
"""

import argparse
import textwrap
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import lamina
from lamina.layers import (
    GRU,
    Activation,
    Concatenate,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    Input,
    MaxPooling2D,
    Normalization,
    Rescaling,
    TextVectorization,
)
from lamina.models import Model, load_model

try:
    from matplotlib.figure import Figure
    from PIL import Image, ImageDraw
    from plotnine.data import diamonds
except ImportError as error:
    raise ImportError(
        "This example needs plotnine, pillow and matplotlib: "
        "pip install 'lamina[examples]'"
    ) from error

SIZE = 32  # pixels of a picture
SCALE = 4  # pictures are drawn this much larger, then reduced, for smooth lines
MILLIMETRES = 11  # what a picture is wide; the largest stone has 10.7
WORDS = 18  # the longest sentence has 17; longer ones would be cut

CUTS = {
    "Fair": "a fair cut",
    "Good": "a good cut",
    "Very Good": "a very good cut",
    "Premium": "a premium cut",
    "Ideal": "an ideal cut",
}
# "Very" is said of cuts and of inclusions: the order of the words matters.
CLARITIES = {
    "I1": "plain inclusions",
    "SI2": "slight inclusions of the second grade",
    "SI1": "slight inclusions of the first grade",
    "VS2": "very slight inclusions of the second grade",
    "VS1": "very slight inclusions of the first grade",
    "VVS2": "very very slight inclusions of the second grade",
    "VVS1": "very very slight inclusions of the first grade",
    "IF": "no inclusions",
}
PHRASES = [
    "this diamond has {cut} and {clarity}",
    "a stone with {clarity} and {cut}",
    "{cut} and under the lens {clarity}",
    "from a private collection with {clarity} and {cut}",
    "the jeweller notes {cut} and {clarity}",
]
COLORS = "DEFGHIJ"  # from colourless to yellowish
CLEAR, YELLOW = np.array((232, 240, 250)), np.array((244, 216, 132))


def write_sentence(cut, clarity, rng):
    """Return a sentence that tells the cut and the clarity."""
    phrase = PHRASES[rng.integers(len(PHRASES))]
    return phrase.format(cut=CUTS[cut], clarity=CLARITIES[clarity])


def draw_stone(length, width, color, rng):
    """Return the stone from above, shape (SIZE, SIZE, 3), 0 to 255."""
    side = SIZE * SCALE
    velvet = tuple(int(level) for level in rng.integers(20, 90, 3))
    image = Image.new("RGB", (side, side), velvet)
    canvas = ImageDraw.Draw(image)
    tint = CLEAR + (YELLOW - CLEAR) * COLORS.index(color) / (len(COLORS) - 1)

    radii = np.array((length, width)) / 2 / MILLIMETRES * side
    middle = side / 2 + rng.uniform(-2, 2, 2)
    angles = np.arange(8) * np.pi / 4 + rng.uniform(0, np.pi / 4)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rim, facet = middle + radii * circle, middle + 0.55 * radii * circle

    def shade(share):
        return tuple(int(level) for level in share * tint)

    canvas.ellipse([*(middle - radii), *(middle + radii)], fill=shade(0.84))
    for corner in range(0, 8, 2):
        after = corner + 1
        face = [facet[corner], rim[corner], rim[after], facet[after]]
        canvas.polygon([tuple(point) for point in face], fill=shade(0.94))
    canvas.polygon([tuple(point) for point in facet], fill=shade(1.0))

    pixels = np.asarray(image.reduce(SCALE), dtype="float32")
    pixels = pixels * rng.uniform(0.85, 1.05) + rng.normal(0, 3, pixels.shape)
    return np.clip(pixels, 0, 255).astype("uint8")


def load_diamonds(samples, rng):
    """Return the table, the sentences, the pictures and the prices in dollars."""
    # Some sizes are typing errors: 0, or longer than any real stone here.
    sizes = diamonds[["x", "y", "z"]]
    possible = diamonds[(sizes > 1).all(axis=1) & (sizes < MILLIMETRES).all(axis=1)]
    rows = possible.iloc[rng.permutation(len(possible))[:samples]]
    table = rows[["z", "table"]].to_numpy("float32")
    told = zip(rows["cut"], rows["clarity"], strict=True)
    sentences = [write_sentence(cut, clarity, rng) for cut, clarity in told]
    shown = zip(rows["x"], rows["y"], rows["color"], strict=True)
    images = [draw_stone(length, width, color, rng) for length, width, color in shown]
    return table, sentences, np.stack(images), rows["price"].to_numpy("float32")


def table_branch(numbers):
    """Return the input for numbers and what its branch makes of them."""
    scale = Normalization()
    scale.adapt(numbers)
    table = Input(shape=(2,), name="table")
    return table, Dense(16, activation="relu")(scale(table))


def text_branch(sentences):
    """Return the input for sentences and what its branch makes of them."""
    words = TextVectorization(output_sequence_length=WORDS)
    words.adapt(sentences)
    text = Input(shape=(), dtype="string", name="text")
    x = Embedding(words.vocabulary_size(), 16, mask_zero=True)(words(text))
    return text, GRU(32)(x)


def image_branch():
    """Return the input for pictures and what its branch makes of them."""
    image = Input(shape=(SIZE, SIZE, 3), name="image")
    x = Rescaling(1 / 255)(image)
    x = Conv2D(16, 5, strides=2, activation="relu")(x)
    x = Conv2D(32, 3, activation="relu")(x)
    x = MaxPooling2D()(x)
    x = Flatten()(x)
    return image, Dense(32, activation="relu")(x)


def build_model(branches, prices, name):
    """Return a compiled model that joins one or more branches into one price."""
    logs = np.log(prices)
    inputs = {branch.name: branch for branch, _ in branches}
    outputs = [output for _, output in branches]
    x = Concatenate()(outputs) if len(outputs) > 1 else outputs[0]
    x = Dense(64, activation="relu")(x)
    x = Dense(1)(x)
    # Prices span two powers of ten: their logarithm is learnt, at a scale around 1.
    x = Rescaling(logs.std(), offset=logs.mean())(x)
    price = Activation("exponential", name="price")(x)
    model = Model(inputs=inputs, outputs=price, name=name)
    model.compile(optimizer="adam", loss="mean_squared_logarithmic_error")
    return model


def save_prices(path, truth, predicted, error):
    """Write predicted against real prices as a picture."""
    figure = Figure(figsize=(6, 6), layout="constrained")
    panel = figure.subplots()
    both = np.concatenate([truth, predicted])
    ends = [both.min() * 0.8, both.max() * 1.2]
    panel.plot(ends, ends, color="#dd6b20", lw=1)
    panel.scatter(truth, predicted, s=6, alpha=0.35, color="#2b6cb0", lw=0)
    panel.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    panel.set_xlabel("real price, dollars")
    panel.set_ylabel("predicted price, dollars")
    panel.set_title(
        f"{len(truth)} held-out diamonds, mean error {error:,.0f} dollars",
        loc="left",
        fontsize=10,
    )
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130, facecolor="white")


def save_diamonds(path, table, sentences, images, truth, predicted):
    """Write some diamonds as the network receives them as one picture."""
    figure = Figure(figsize=(12, 5.4), layout="constrained")
    for place, panel in enumerate(figure.subplots(2, 4).flat):
        height, facet = table[place]
        panel.imshow(images[place])
        panel.set_xticks([])
        panel.set_yticks([])
        panel.set_xlabel(
            f"height {height:.2f} mm, top facet {facet:.0f}%\n"
            f"{textwrap.fill(sentences[place], 38)}\n"
            f"real {truth[place]:,.0f} dollars, predicted {predicted[place]:,.0f}",
            fontsize=8,
        )
    figure.savefig(path, dpi=130, facecolor="white")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--samples", type=int, default=12_000)
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests")
    options = parser.parse_args(arguments)
    if options.quick:
        options.epochs, options.samples = 10, 3000
    options.out.mkdir(parents=True, exist_ok=True)

    lamina.utils.set_random_seed(0)
    table, sentences, images, prices = load_diamonds(
        options.samples, np.random.default_rng(0)
    )
    cut = len(prices) * 4 // 5
    inputs = {"table": table, "text": np.array(sentences), "image": images}
    seen = prices[:cut]

    def branches():
        yield table_branch(table[:cut])
        yield text_branch(inputs["text"][:cut])
        yield image_branch()

    models = {
        f"{name} only": build_model([branch], seen, f"{name}_only")
        for name, branch in zip(inputs, branches(), strict=True)
    }
    models["all three"] = build_model([*branches()], seen, "all_three")
    models["all three"].summary()

    truth = prices[cut:]
    result = {
        "always the mean": np.abs(truth - prices[:cut].mean()).mean(),
        "always the median": np.abs(truth - np.median(prices[:cut])).mean(),
    }
    for name, model in models.items():
        print(f"\nTraining: {name}")
        train = {key: inputs[key][:cut] for key in model.input}
        held_out = {key: inputs[key][cut:] for key in model.input}
        model.fit(
            train,
            seen,
            batch_size=64,
            epochs=options.epochs,
            validation_data=(held_out, truth),
        )
        predicted = model.predict(held_out, verbose=0)[:, 0]
        result[name] = np.abs(truth - predicted).mean()

    report = Table(title=f"{len(truth)} held-out diamonds", title_justify="left")
    report.add_column("Prediction")
    report.add_column("Mean absolute error", justify="right")
    for name, error in result.items():
        report.add_row(name, f"{error:,.0f} dollars")
    Console().print(report)

    out = options.out
    save_prices(out / "prices.png", truth, predicted, result["all three"])
    save_diamonds(
        out / "diamonds.png",
        table[cut:],
        sentences[cut:],
        images[cut:],
        truth,
        predicted,
    )
    saved = out / "product_price.keras"
    models["all three"].save(saved)
    print(f"Wrote prices.png, diamonds.png and product_price.keras to {out}")

    again = load_model(saved)
    one = {
        "table": np.array([[3.5, 57.0]]),
        "text": np.array(["a stone with no inclusions and an ideal cut"]),
        "image": draw_stone(5.7, 5.7, "E", np.random.default_rng(1))[None],
    }
    price = again.predict(one, verbose=0)[0, 0]
    print(f"From {saved}: a new stone costs about {price:,.0f} dollars.")
    print("Try next: a second output (how long until it sells); your own products.")
    return result


if __name__ == "__main__":
    main()
