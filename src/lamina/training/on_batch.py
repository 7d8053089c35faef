"""`train_on_batch` and its like: one step on one batch."""

import jax

from lamina.data.arrays import as_arrays, count_rows
from lamina.training import checks
from lamina.training.alone import until_end
from lamina.training.compiled import require_compiled, training_of
from lamina.training.compiled_step import Logs, compiled_step
from lamina.training.evaluate import in_order
from lamina.training.placing import distributed, placing, without_text
from lamina.training.predict import joined, runner
from lamina.training.prepare import outputs_for, prepare
from lamina.training.step import StateVariables


@until_end
@distributed
def on_batch(model, kind, x, y, sample_weight, class_weight, return_dict):
    """Train or evaluate one step; see `Model.train_on_batch`."""
    require_compiled(model, f"{kind}_on_batch")
    if class_weight is not None and sample_weight is not None:
        raise ValueError(
            "Arguments `sample_weight` and `class_weight` cannot be given at the same "
            "time."
        )
    x = training_of(model).on_host(model, as_arrays(x, "x"))
    batch = x, as_arrays(y, "y"), as_arrays(sample_weight, "sample_weight")
    prepare(model, batch, training=kind == "train")
    if class_weight is not None:
        batch = checks.class_weighted(model, batch, class_weight)
    checks.check_batch(model, batch)
    if kind == "train":
        count_rows(*batch)  # none has no gradient
    model.reset_metrics()
    variables = StateVariables(model)
    run = compiled_step(model, kind, variables)
    state, given = run(variables.read(), placing(early=True)(batch))
    variables.write(state)
    logs = Logs(model, variables, state, given)()
    return logs if return_dict else in_order(model, logs)


@until_end
@distributed
def predict_on_batch(model, x):
    """Predict one batch; see `Model.predict_on_batch`."""
    x = training_of(model).on_host(model, as_arrays(x, "x"))
    if not model.built:
        outputs_for(model, x)
    return joined([runner(model)(jax.tree.map(without_text, x))])
