"""Learn age and emotion from one picture of a drawn (not a real) face.

No package ships labelled photographs of faces, so this script draws its own. Age
shows in wrinkles, bags under the eyes, grey hair, the hair line and the shape of
the face; emotion shows in the mouth, the brows and the eyelids. Position, tilt,
skin, hair, light and noise vary and mean nothing, the signs of age come early to
one person and late to another, and some emotions are faint: even the best model
must err.

It solves: two answers, of different kinds, from one picture. For a problem of your
own, replace `make_faces` by your photographs.

It shows one network with two outputs of different kinds: a number (``age``, in
years) and a class (``emotion``). Run it with ``python examples/faces.py``; it
writes ``faces.png`` and ``faces.keras``.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import lamina
from lamina.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D, Rescaling
from lamina.models import Model, load_model

try:
    from matplotlib.figure import Figure
    from PIL import Image, ImageDraw
except ImportError as error:
    raise ImportError(
        "This example needs pillow and matplotlib: pip install 'lamina[demo]'"
    ) from error

SIZE = 48  # pixels of a finished face
SCALE = 4  # faces are drawn this much larger, then reduced, for smooth lines

# Mouth curve, mouth opening, brows raised inside, brows raised, eye opening.
EMOTIONS = {
    "neutral": (0.0, 0.0, 0.0, 0.0, 1.0),
    "happy": (1.0, 0.4, 0.0, 0.2, 0.85),
    "sad": (-0.9, 0.0, 1.0, 0.1, 0.75),
    "angry": (-0.6, 0.1, -1.0, -0.6, 0.8),
    "surprised": (0.0, 1.0, 0.2, 1.0, 1.4),
}
NAMES = list(EMOTIONS)
FREQUENCY = (0.30, 0.25, 0.15, 0.15, 0.15)
YOUNGEST, OLDEST = 5, 85

SKINS = [(255, 219, 188), (241, 194, 150), (206, 150, 108), (150, 100, 66)]
HAIRS = [(35, 28, 25), (84, 54, 32), (140, 84, 44), (206, 164, 92)]
SHADOW, INK, LIPS, GREY_HAIR = (70, 35, 25), (40, 28, 28), (176, 74, 74), (225,) * 3


def mix(color, other, share):
    """Return a colour on the way from one to another."""
    return tuple(int(a + (b - a) * share) for a, b in zip(color, other, strict=True))


def ramp(value, start, end):
    """Return 0 up to `start`, 1 from `end`, and a straight line between."""
    return float(np.clip((value - start) / (end - start), 0, 1))


class Pen:
    """Draw in units of the face: (0, 0) is its middle, y points down."""

    def __init__(self, background, rng):
        side = SIZE * SCALE
        self.image = Image.new("RGB", (side, side), background)
        self.canvas = ImageDraw.Draw(self.image)
        self.unit = side / 2 * rng.uniform(0.84, 0.96)
        self.middle = side / 2 + np.array((0, 5)) + rng.normal(0, 4, 2)

    def place(self, points):
        return [tuple(self.middle + self.unit * np.array(point)) for point in points]

    def oval(self, x, y, w, h, color):
        self.canvas.ellipse(self.place([(x - w, y - h), (x + w, y + h)]), fill=color)

    def shape(self, points, color):
        self.canvas.polygon(self.place(points), fill=color)

    def line(self, points, color, width=0.035):
        pixels = max(1, round(width * self.unit))
        self.canvas.line(self.place(points), fill=color, width=pixels, joint="curve")


def bow(x, y, half_width, sag):
    """Return the points of a curve whose middle hangs `sag` below its ends."""
    return [(x + half_width * t, y + sag * (1 - t * t)) for t in np.linspace(-1, 1, 15)]


def draw_head(pen, skin, hair, child, bald, sagging, long_hair):
    """Draw the bare face and the hair behind it."""
    width, height = 0.6 + 0.06 * child, 0.82 - 0.08 * child
    pen.oval(0, -0.12, width + 0.1, 0.84 - 0.14 * bald, hair)
    if long_hair:
        pen.shape([(-0.7, -0.1), (0.7, -0.1), (0.76, 0.75), (-0.76, 0.75)], hair)
    pen.shape([(-0.2, 0.6), (0.2, 0.6), (0.26, 1.3), (-0.26, 1.3)], mix(skin, INK, 0.2))
    for side in (-1, 1):
        pen.oval(side * width, 0, 0.08, 0.14, skin)
        pen.oval(side * 0.36, 0.46, 0.2 + 0.06 * sagging, 0.2 + 0.1 * sagging, skin)
    pen.oval(0, 0, width, height, skin)


def draw_age(pen, skin, child, wrinkles, bags):
    """Draw the lines that years leave."""
    crease = mix(skin, SHADOW, 0.6 * wrinkles)
    pouch = mix(skin, SHADOW, 0.55 * bags)
    if wrinkles > 0.1:
        for row in range(3):
            pen.line(bow(0, -0.34 - 0.09 * row, 0.3 - 0.04 * row, -0.03), crease)
    for side in (-1, 1):
        if wrinkles > 0.1:
            fold = [(side * 0.16, 0.14), (side * 0.3, 0.3), (side * 0.34, 0.5)]
            pen.line(fold, crease)
            for rise in (-0.07, 0.0, 0.07):
                pen.line([(side * 0.43, -0.06), (side * 0.54, -0.06 + rise)], crease)
        if bags > 0.05:
            pen.line(bow(side * 0.25, 0.02, 0.13, 0.07 + 0.04 * bags), pouch, 0.05)
        if child > 0:
            pen.oval(side * 0.38, 0.26, 0.12, 0.09, mix(skin, LIPS, 0.3 * child))


def draw_fringe(pen, hair, child, bald):
    """Draw the hair above the forehead."""
    width = 0.6 + 0.06 * child
    hair_line = bow(0, -0.36, width - 0.03, -0.12 - 0.4 * bald)
    crown = bow(0, -0.36, width + 0.06, -0.56)
    if bald < 0.9:
        pen.shape(hair_line + crown[::-1], hair)


def draw_mood(pen, skin, hair, child, mood):
    """Draw the eyes, the brows, the nose and the mouth."""
    curve, opening, inner, lift, eyes = mood
    opening = max(opening, 0.0)
    size = 0.12 + 0.03 * child
    for side in (-1, 1):
        pen.oval(side * 0.25, -0.05, size, 0.6 * size * eyes, (250, 250, 248))
        pen.oval(side * 0.25, -0.05, 0.055, min(0.055, 0.6 * size * eyes), INK)
        pen.line(bow(side * 0.25, -0.05, size, -0.6 * size * eyes), INK)
        high = -0.2 - 0.09 * lift
        ends = [(side * 0.1, high - 0.09 * inner), (side * 0.4, high + 0.05 * inner)]
        pen.line(ends, mix(hair, INK, 0.35), 0.06)
    pen.line([(0.0, 0.02), (0.07, 0.2), (-0.03, 0.22)], mix(skin, SHADOW, 0.4))
    half_width = 0.25 * (1 - 0.4 * opening * (1 - abs(curve)))
    upper = bow(0, 0.46 - 0.08 * curve, half_width, 0.17 * curve - 0.1 * opening)
    lower = bow(0, 0.46 - 0.08 * curve, half_width, 0.17 * curve + 0.24 * opening)
    pen.shape(upper + lower[::-1], mix(INK, LIPS, 0.3))
    pen.line(upper, LIPS, 0.05)
    pen.line(lower, LIPS, 0.05)


def draw_face(age, emotion, rng):
    """Return one face as an array of shape (SIZE, SIZE, 3), 0 to 255."""
    calm, full = np.array(EMOTIONS["neutral"]), np.array(EMOTIONS[emotion])
    mood = calm + rng.uniform(0.3, 1.0) * (full - calm) + rng.normal(0, 0.1, 5)
    greying, balding, wrinkling, pouching = age + rng.normal(0, 7, 4)
    child, wrinkles = 1 - ramp(age, 5, 22), ramp(wrinkling, 25, 85)

    skin = mix(SKINS[rng.integers(4)], SKINS[rng.integers(4)], rng.uniform())
    hair = mix(HAIRS[rng.integers(4)], HAIRS[rng.integers(4)], rng.uniform())
    hair = mix(hair, GREY_HAIR, ramp(greying, 35, 75))
    long_hair = rng.uniform() < 0.4
    bald = ramp(balding, 30, 85) * (0.3 if long_hair else 1.0)
    background = tuple(int(level) for level in rng.integers(90, 225, 3))

    pen = Pen(background, rng)
    draw_head(pen, skin, hair, child, bald, wrinkles, long_hair)
    draw_age(pen, skin, child, wrinkles, ramp(pouching, 30, 80))
    draw_fringe(pen, hair, child, bald)
    draw_mood(pen, skin, hair, child, mood)

    tilted = pen.image.rotate(
        rng.normal(0, 5), Image.Resampling.BILINEAR, fillcolor=background
    )
    pixels = np.asarray(tilted.reduce(SCALE), dtype="float32")
    across, down = np.meshgrid(np.linspace(-1, 1, SIZE), np.linspace(-1, 1, SIZE))
    light = rng.uniform(0.8, 1.1)
    light = light + rng.normal(0, 0.12) * across + rng.normal(0, 0.08) * down
    pixels = pixels * light[..., None] + rng.normal(0, 6, pixels.shape)
    return np.clip(pixels, 0, 255).astype("uint8")


def make_faces(samples, rng):
    """Return pictures, ages in years and emotions as positions in `NAMES`."""
    ages = rng.uniform(YOUNGEST, OLDEST, samples).astype("float32")
    emotions = rng.choice(len(NAMES), samples, p=FREQUENCY)
    pictures = [
        draw_face(age, NAMES[emotion], rng)
        for age, emotion in track(
            zip(ages, emotions, strict=True), "Drawing faces", total=samples
        )
    ]
    return np.stack(pictures), ages, emotions


def build_model(mean_age, age_spread):
    """Return the compiled network: one trunk, two outputs."""
    picture = Input(shape=(SIZE, SIZE, 3), name="picture")
    x = Rescaling(1 / 127.5, offset=-1)(picture)
    x = Conv2D(16, 5, strides=2, activation="relu", padding="same")(x)
    x = Conv2D(32, 3, activation="relu", padding="same")(x)
    x = MaxPooling2D()(x)
    x = Conv2D(48, 3, activation="relu", padding="same")(x)
    x = MaxPooling2D()(x)
    x = Flatten()(x)
    trunk = Dense(96, activation="relu")(x)

    # The last layer turns a number around 0 into years: it is learned faster.
    age = Dense(32, activation="relu")(trunk)
    age = Dense(1)(age)
    age = Rescaling(age_spread, offset=mean_age, name="age")(age)
    emotion = Dense(32, activation="relu")(trunk)
    emotion = Dense(len(NAMES), activation="softmax", name="emotion")(emotion)

    model = Model(inputs=picture, outputs={"age": age, "emotion": emotion})
    model.compile(
        optimizer="adam",
        loss={"age": "mae", "emotion": "sparse_categorical_crossentropy"},
        # Errors in years are larger numbers than cross-entropies: balance them.
        loss_weights={"age": 0.02, "emotion": 1.0},
        metrics={"age": ["mae"], "emotion": ["accuracy"]},
    )
    return model


def save_grid(path, pictures, ages, emotions, guessed_ages, guessed_emotions):
    """Write faces with their true and predicted age and emotion as one picture."""
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    figure.suptitle(
        "Held-out drawn faces: true, then predicted (red: wrong emotion, or age "
        "off by more than 10 years)",
        fontsize=11,
    )
    for place, panel in enumerate(figure.subplots(3, 8).flat):
        panel.axis("off")
        if place >= len(pictures):
            continue
        panel.imshow(pictures[place])
        emotion, guess = NAMES[emotions[place]], NAMES[guessed_emotions[place]]
        age, guessed_age = ages[place], guessed_ages[place]
        wrong = emotion != guess or abs(age - guessed_age) > 10
        panel.set_title(
            f"{emotion}, {age:.0f}\n{guess}, {guessed_age:.0f}",
            fontsize=9,
            color="#c53030" if wrong else "#4a5568",
        )
    figure.savefig(path, dpi=130, facecolor="white")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--samples", type=int, default=6000)
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests")
    options = parser.parse_args(arguments)
    if options.quick:
        options.epochs, options.samples = 5, 1250
    options.out.mkdir(parents=True, exist_ok=True)

    lamina.utils.set_random_seed(0)
    pictures, ages, emotions = make_faces(options.samples, np.random.default_rng(0))
    cut = options.samples * 4 // 5

    model = build_model(float(ages[:cut].mean()), float(ages[:cut].std()))
    model.summary()
    model.fit(
        pictures[:cut],
        {"age": ages[:cut], "emotion": emotions[:cut]},
        batch_size=32,
        epochs=options.epochs,
        validation_data=(
            pictures[cut:],
            {"age": ages[cut:], "emotion": emotions[cut:]},
        ),
    )

    predicted = model.predict(pictures[cut:], verbose=0)
    guessed_ages = predicted["age"][:, 0]
    guessed_emotions = predicted["emotion"].argmax(axis=1)
    most_frequent = np.bincount(emotions[:cut]).argmax()
    result = {
        f"always {ages[:cut].mean():.0f} years and {NAMES[most_frequent]}": (
            np.abs(ages[cut:] - ages[:cut].mean()).mean(),
            np.mean(emotions[cut:] == most_frequent),
        ),
        "this network": (
            np.abs(ages[cut:] - guessed_ages).mean(),
            np.mean(emotions[cut:] == guessed_emotions),
        ),
    }
    table = Table(title=f"{len(ages) - cut} held-out faces", title_justify="left")
    table.add_column("Prediction")
    table.add_column("Age: mean error", justify="right")
    table.add_column("Emotion: correct", justify="right")
    for name, (years, accuracy) in result.items():
        table.add_row(name, f"{years:.1f} years", f"{accuracy:.1%}")
    Console().print(table)

    grid, saved = options.out / "faces.png", options.out / "faces.keras"
    save_grid(
        grid, pictures[cut:], ages[cut:], emotions[cut:], guessed_ages, guessed_emotions
    )
    model.save(saved)
    print(f"Wrote {grid} and {saved}")

    again = load_model(saved)
    new = draw_face(30, "happy", np.random.default_rng(1))  # pixels, as a file has them
    one = again.predict(new[None], verbose=0)
    mood = NAMES[one["emotion"][0].argmax()]
    print(f"From {saved}: a happy face of 30 years looks {mood}, ", end="")
    print(f"{one['age'][0, 0]:.0f} years old.")
    print("Try next: photographs of your own; a third output; a deeper trunk.")
    return result


if __name__ == "__main__":
    main()
