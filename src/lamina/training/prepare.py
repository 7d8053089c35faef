"""Getting ready: a model for its batches, batches for the model, callbacks for both."""

import jax
import jax.numpy as jnp
import numpy as np

from lamina.callbacks.callback_list import CallbackList
from lamina.core import settings, structure
from lamina.core.context import having
from lamina.core.owner import layers_in
from lamina.core.placement import Distribution, distribution, is_first
from lamina.core.symbolic import SymbolicTensor, infer
from lamina.core.variable import scratch
from lamina.data import ArraySource, unpack
from lamina.data.arrays import is_text
from lamina.metrics.metric import is_built
from lamina.training import step
from lamina.training.compiled import training_of
from lamina.training.mapped import Mapped
from lamina.training.placing import check_placed
from lamina.training.together import least_batches, of_first


def prepare(model, batch, training=True):
    """Build the model, its losses, metrics and optimizer for batches like this one.

    For a step that a user wrote, only as far as that step needs: what it makes while
    it is traced is found there.
    """
    x, y, weight = unpack(batch)
    own = step.own_step(model, "train" if training else "test")
    if own:
        y_pred = _outputs_if_wanted(model, x, step.in_keras_form(own))
    else:
        y_pred = outputs_for(model, x)
        if y_pred is None:
            raise ValueError(
                f"`{type(model).__name__}.call` gave None. Let it end in `return ...`, "
                "with the outputs."
            )
    if y_pred is not None and training_of(model).settings.compiled:
        _prepare_compiled(model, x, y, y_pred, weight)
    optimizer = model.optimizer
    if training and optimizer is not None:
        if not optimizer.built:
            # The user's step may make the weights; then it builds it for them.
            if own is None or _all_built(model):
                optimizer.build(model.trainable_variables)
        elif step.own_step(model, "train") is None:
            step.check_trained(model)
    if Distribution.any_made:
        check_placed(model, step.StateVariables(model).groups, step.rows(x))


def _all_built(model):
    return all(layer.built for layer in layers_in(model, include_self=False))


def _outputs_if_wanted(model, x, explicit):
    """Return the outputs where they are known, and something is to be made by them.

    Its own step may call the models inside of it, and never the model as a whole. One
    that takes the State must find there what the metrics hold.
    """
    built = _all_built(model)
    if not model.has_call or (built and not explicit):
        model.built = model.built or built
        return None
    try:
        return outputs_for(model, x)
    except Exception:
        return None


def _prepare_compiled(model, x, y, y_pred, weight):
    compiled = training_of(model).settings
    if step.own_method(model, "compute_loss") is not None:
        # The user's own loss may hand other parts to the compiled one.
        given = _specs(x), _specs(y), y_pred, _specs(weight)
        with having(losses=[]):
            infer(lambda *a: step.loss_of(model, *a, training=True), *given)
        compiled.compiled_metrics.make(_specs(y), y_pred)
    elif compiled.loss is not None or compiled.compiled_metrics.given:
        compiled.prepare(model, _specs(y), y_pred)
    _build_metrics(model, y, y_pred, weight)


def outputs_for(model, x):
    """Return the outputs for a batch as symbolic tensors; builds the model."""
    specs = _specs(x)
    training = training_of(model)
    eager = step.runs_eagerly(model)
    if not model.built:
        with scratch():  # zeros are not data: nothing of them is kept
            model(jax.tree.map(_zeros, specs)) if eager else infer(model, specs)
    # Each `fit` and `evaluate` asks more than once, and takes a trace of the model.
    known, key = training.programs.of(model).made, _key(specs)
    outputs = known.get(key)
    if outputs is None and eager:
        with scratch():
            made = model(jax.tree.map(_zeros, specs), training=False)
        return jax.tree.map(lambda a: SymbolicTensor(a.shape, a.dtype), made)
    if outputs is None:
        outputs = infer(lambda *a: model(*a, training=False), specs)
        if key is not None:
            known[key] = outputs
    return outputs


def _key(specs):
    leaves, form = jax.tree.flatten(specs)
    if not all(isinstance(t, SymbolicTensor) for t in leaves):
        return None
    return "outputs", form, tuple((t.shape, t.dtype) for t in leaves)


def _zeros(tensor):
    return jnp.zeros(tensor.shape, tensor.dtype)


def _specs(value):
    """Return symbolic tensors of the shapes of a batch."""

    def spec(a):
        dtype = jax.dtypes.canonicalize_dtype(a.dtype)
        return SymbolicTensor(a.shape, dtype.name)

    return jax.tree.map(spec, value)


def _build_metrics(model, y, y_pred, weight):
    """Let metrics make their Variables, from the shapes of one batch."""
    if not model.compiled_metrics.outputs or y is None:
        return

    def update(y, y_pred, weight):
        model.compiled_metrics.update_state(y, y_pred, weight)
        return jnp.zeros(())

    # Some have Variables from the beginning and make more of them here.
    fresh = (not m.variables or not is_built(m) for m in model.compiled_metrics.metrics)
    if any(fresh):
        infer(update, _specs(y), y_pred, _specs(weight))


def order_seed():
    """Draw the seed of the order of rows from NumPy's generator, which users seed."""
    return of_first(int(np.random.randint(0, 2**31 - 1)))


def ready(model, source, together=True):
    """Return a source of batches as compiled code takes them, from any source.

    What works on text is done, and other text is left out. Processes that go `together`
    have as many batches each.

    Raises:
        ValueError: there is text where numbers are taken, or other numbers of rows or
            batches in another process.
    """
    if together and (steps := least_batches(source)) is not None:
        source.limit(steps)
    on_host, first = training_of(model).on_host, source.first()[0]
    if on_host(model, first) is not first:

        def change(batch):
            x, y, weight = batch
            return on_host(model, x), y, weight

        if isinstance(source, ArraySource):
            source.change = change
        else:
            source = Mapped(source, change)
    refuse_text(source.first())  # all batches have the dtypes of the first
    return source


def refuse_text(batch):
    """Return a batch as it is; refuse text, which no device holds."""
    for array in filter(is_text, jax.tree.leaves(batch)):
        raise ValueError(
            f"The model was given text (dtype {array.dtype}, shape {array.shape}) "
            "where it takes numbers. Turn words into integers first, for instance with "
            "`lamina.layers.StringLookup` or `TextVectorization`: on the data, or as "
            "the first layers of a Functional or Sequential model, right after its "
            "inputs."
        )
    return batch


def callbacks_for(model, given, verbose, source, history=False, epochs=1):
    """Return the `CallbackList` of a loop.

    Of several processes the first one prints and writes, and hands its callbacks what
    the others have as well.
    """
    if not is_first(distribution()):
        verbose, given = 0, _of_all(given)
    if isinstance(given, CallbackList):
        return given
    return CallbackList(
        given,
        add_history=history,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=source.batches,
    )


def _of_all(given):
    """Return the callbacks that run in every process."""
    alone = isinstance(given, CallbackList)
    found = list(given) if alone else structure.flatten(given)
    found = [c for c in found if getattr(c, "on_every_process", True)]
    return [c for c in found if c is not None]


def limited(steps):
    """Return how many steps to run at most: a number, or None for all there are."""
    limit = settings.get("max_steps_per_epoch")
    if limit is None:
        return steps
    return limit if steps is None else min(steps, limit)
