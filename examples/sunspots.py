"""Forecast next year's number from the years before.

It solves: forecast a series (sales, load, temperature) from its own past. The series
is real: the number of spots on the sun, for each year from 1700 to 2008, as the
package statsmodels ships it. The years from 1950 on are held out; mixing the years
would let the network peek into the future.

The scaling is a layer of the model: the saved file takes raw numbers. For a problem
of your own, replace `load_series`. Run it with ``python examples/sunspots.py``; it
writes ``sunspots.keras`` and ``sunspots.png``.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import lamina
from lamina.callbacks import EarlyStopping
from lamina.layers import GRU, Dense, Input, Normalization, Rescaling, Reshape
from lamina.models import Model, load_model
from lamina.utils import timeseries_dataset_from_array

try:
    from matplotlib.figure import Figure
    from statsmodels.datasets import sunspots
except ImportError as error:
    raise ImportError(
        "This example needs statsmodels and matplotlib: pip install 'lamina[examples]'"
    ) from error

WINDOW = 22  # years that it looks at: two cycles of the sun
VALIDATION, TEST = 1910, 1950  # the first years of these parts


def load_series():
    """Return the years and their numbers."""
    table: Any = sunspots.load_pandas().data
    years, spots = table["YEAR"], table["SUNACTIVITY"]
    return years.to_numpy("int"), spots.to_numpy("float32")


def windows(series, batch_size=32, shuffle=False):
    """Return a data set of windows and the number that comes after each."""
    return timeseries_dataset_from_array(
        series[:-1],
        series[WINDOW:],
        sequence_length=WINDOW,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=0 if shuffle else None,
    )


def build_model(series):
    """Return the compiled network."""
    mean, spread = float(series.mean()), float(series.std())
    past = Input(shape=(WINDOW,), name="past")
    x = Normalization(axis=None, mean=mean, variance=spread**2)(past)
    x = Reshape((WINDOW, 1))(x)
    x = GRU(24)(x)
    x = Dense(1)(x)
    following = Rescaling(spread, offset=mean, name="following")(x)
    model = Model(past, following)
    model.compile(lamina.optimizers.Adam(0.005), loss="mae")
    return model


def save_forecast(path, years, spots, forecast):
    """Write the held-out years and the forecast of each a year before."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panel = figure.subplots()
    panel.plot(years[years >= 1900], spots[years >= 1900], color="#4a5568", lw=1)
    panel.plot(years[years >= TEST], forecast, color="#dd6b20", marker="o", ms=3, lw=1)
    panel.legend(["what was seen", "forecast a year before"], frameon=False)
    panel.set_ylabel("sunspots")
    panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100, facecolor="white")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests")
    options = parser.parse_args(arguments)
    if options.quick:
        options.epochs = 40
    options.out.mkdir(parents=True, exist_ok=True)

    lamina.utils.set_random_seed(0)
    years, spots = load_series()
    train = spots[years < VALIDATION]
    # The first window of a part reaches back into the part before.
    middle = spots[(years >= VALIDATION - WINDOW) & (years < TEST)]
    last = spots[years >= TEST - WINDOW]

    model = build_model(train)
    model.summary()
    model.fit(
        windows(train, shuffle=True),
        validation_data=windows(middle),
        epochs=options.epochs,
        callbacks=[EarlyStopping(patience=30, restore_best_weights=True)],
        verbose=2 if options.quick else 0,
    )

    truth = spots[years >= TEST]
    forecast = model.predict(windows(last), verbose=0)[:, 0]
    result = {
        "always the mean": np.abs(truth - train.mean()).mean(),
        "the same as last year": np.abs(np.diff(last)[WINDOW - 1 :]).mean(),
        "this network": np.abs(truth - forecast).mean(),
    }
    print(f"\n{len(truth)} held-out years, mean error in spots:")
    for name, error in result.items():
        print(f"  {name}: {error:.1f}")

    save_forecast(options.out / "sunspots.png", years, spots, forecast)
    saved = options.out / "sunspots.keras"
    model.save(saved)
    again = load_model(saved)
    # What it says goes in again, and so on: the years to come.
    past = list(spots[-WINDOW:])
    for _ in range(3):
        past.append(again.predict(np.array([past[-WINDOW:]]), verbose=0)[0, 0])
    ahead = ", ".join(
        f"{year}: {n:.0f}" for year, n in zip(range(2009, 2012), past[-3:], strict=True)
    )
    print(f"From {saved}, the years after the last: {ahead}.")
    print("Try next: a series of your own; several series at once (a last axis of 2).")
    return result


if __name__ == "__main__":
    main()
