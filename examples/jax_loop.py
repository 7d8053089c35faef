"""Train in a loop of your own, in plain JAX.

It solves: a training that `fit` does not do, or one that you want to see in full. The
network is made of Lamina's layers; the step is a function of arrays that `jax.jit`
compiles. `stateless_call` and `stateless_apply` join the two.

The data are real: prices of diamonds by weight, measures and grades, as plotnine ships
them.
Dropout and batch normalization are there to show how random numbers and statistics
pass through the loop. For a problem of your own, replace `load_diamonds` and `loss_of`.
Run it with ``python examples/jax_loop.py``; it writes ``jax_loop.keras`` and
``jax_loop.png``.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import lamina
from lamina.layers import BatchNormalization, Dense, Dropout, Input, Normalization
from lamina.models import Sequential, load_model

try:
    from matplotlib.figure import Figure
    from plotnine.data import diamonds
except ImportError as error:
    raise ImportError(
        "This example needs plotnine and matplotlib: pip install 'lamina[examples]'"
    ) from error

NUMBERS = ["carat", "depth", "table", "x", "y", "z"]
GRADES = ["cut", "color", "clarity"]  # ordered: their place in the order is a number


def load_diamonds(samples, rng):
    """Return nine numbers of each diamond, and its price in dollars."""
    rows = diamonds.iloc[rng.permutation(len(diamonds))[:samples]]
    columns = [rows[name] for name in NUMBERS]
    columns += [rows[name].cat.codes for name in GRADES]
    return np.stack(columns, axis=1).astype("float32"), rows["price"].to_numpy(
        "float32"
    )


def build_model(x):
    """Return the network; it learns the scale of the numbers from `x`."""
    scale = Normalization()
    scale.adapt(x)
    return Sequential(
        [
            Input((len(NUMBERS + GRADES),)),
            scale,
            Dense(64, activation="relu"),
            BatchNormalization(),
            Dense(64, activation="relu"),
            Dropout(0.05),
            Dense(1, bias_initializer=lamina.initializers.Constant(7.8)),
        ]
    )


def train(model, optimizer, x, y, epochs, batch_size, rng):
    """Train the model; return the mean loss of each epoch."""

    def loss_of(trainable, rest, x, y):
        predicted, rest = model.stateless_call(trainable, rest, x, training=True)
        return jnp.abs(predicted[:, 0] - jnp.log(y)).mean(), rest

    @jax.jit
    def step(trainable, rest, slots, x, y):
        gradient = jax.value_and_grad(loss_of, has_aux=True)
        (loss, rest), gradients = gradient(trainable, rest, x, y)
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return loss, trainable, rest, slots

    # Objects stay outside: what goes through the loop are lists of arrays.
    optimizer.build(model.trainable_variables)
    trainable = [v.value for v in model.trainable_variables]
    rest = [v.value for v in model.non_trainable_variables]
    slots = [v.value for v in optimizer.variables]
    history = []
    for epoch in range(1, epochs + 1):
        order, losses = rng.permutation(len(x)), []
        for first in range(0, len(x) - batch_size + 1, batch_size):
            rows = order[first : first + batch_size]
            loss, trainable, rest, slots = step(
                trainable, rest, slots, x[rows], y[rows]
            )
            losses.append(loss)  # not read here: JAX need not wait
        history.append(float(np.mean(losses)))
        print(f"Epoch {epoch}/{epochs} - loss: {history[-1]:.4f}")

    for variable, value in zip(model.trainable_variables, trainable, strict=True):
        variable.assign(value)
    for variable, value in zip(model.non_trainable_variables, rest, strict=True):
        variable.assign(value)
    return history


def save_picture(path, truth, predicted, history):
    """Write the loss by epoch, and predicted beside real prices."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(range(1, len(history) + 1), history, color="#2b6cb0", marker="o", ms=3)
    left.set_xlabel("epoch")
    left.set_ylabel("loss")
    right.loglog(truth, predicted, ".", ms=2, color="#2b6cb0", alpha=0.4)
    right.loglog([300, 20_000], [300, 20_000], color="#4a5568", lw=1)
    right.set_xlabel("real price, dollars")
    right.set_ylabel("predicted price")
    figure.savefig(path, dpi=100, facecolor="white")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="a few seconds, for tests")
    options = parser.parse_args(arguments)
    if options.quick:
        options.epochs, options.samples = 8, 4000
    options.out.mkdir(parents=True, exist_ok=True)

    lamina.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x, prices = load_diamonds(options.samples, rng)
    cut = len(x) * 4 // 5

    model = build_model(x[:cut])
    model.summary()
    optimizer = lamina.optimizers.Adam(0.003)
    history = train(model, optimizer, x[:cut], prices[:cut], options.epochs, 128, rng)

    line = np.polyfit(np.log(x[:cut, 0]), np.log(prices[:cut]), 1)
    x, truth = x[cut:], prices[cut:]
    predicted = np.exp(model.predict(x, verbose=0)[:, 0])
    by_weight = np.exp(np.polyval(line, np.log(x[:, 0])))
    result = {
        "always the median": np.abs(truth - np.median(prices[:cut])).mean(),
        "by its weight alone": np.abs(truth - by_weight).mean(),
        "this network": np.abs(truth - predicted).mean(),
    }
    print(f"\n{len(truth)} held-out diamonds, mean error in dollars:")
    for name, error in result.items():
        print(f"  {name}: {error:,.0f}")

    save_picture(options.out / "jax_loop.png", truth, predicted, history)
    saved = options.out / "jax_loop.keras"
    model.save(saved)
    again = load_model(saved)
    new = np.array([[0.7, 61.8, 57.0, 5.7, 5.7, 3.5, 4, 3, 4]])
    price = np.exp(again.predict(new, verbose=0)[0, 0])
    print(f"From {saved}: a diamond of 0.7 carat costs about {price:,.0f} dollars.")
    print("Try next: jax.lax.scan over the batches; two losses; an optax optimizer.")
    return result


if __name__ == "__main__":
    main()
