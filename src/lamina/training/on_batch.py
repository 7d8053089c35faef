"""`train_on_batch` and its like: one step on one batch."""

from typing import Any

from lamina.data.arrays import as_arrays, count_rows
from lamina.training import checks
from lamina.training.alone import alone, until_end
from lamina.training.compiled import require_compiled, training_of
from lamina.training.drive import CompiledStep, Logs
from lamina.training.evaluate import in_order
from lamina.training.placing import distributed, placing
from lamina.training.predict import joined, runner
from lamina.training.prepare import outputs_for, prepare, refuse_text
from lamina.training.step import StateVariables


def on_batch(model, kind, x, y, sample_weight, class_weight, return_dict):
    """Train or evaluate one step; see `Model.train_on_batch`."""
    what = f"{kind}_on_batch"
    data = {"x": x, "y": y, "sample_weight": sample_weight}
    with until_end(model), alone(model, what), distributed(model, what, **data):
        require_compiled(model, what)
        if class_weight is not None and sample_weight is not None:
            raise ValueError(
                "Arguments `sample_weight` and `class_weight` cannot be given at the "
                "same time."
            )
        x = training_of(model).on_host(model, as_arrays(x, "x"))
        batch = x, as_arrays(y, "y"), as_arrays(sample_weight, "sample_weight")
        prepare(model, refuse_text(batch), training=kind == "train")
        if class_weight is not None:
            batch = checks.class_weighted(model, batch, class_weight)
        checks.check_batch(model, batch)
        if kind == "train":
            count_rows(*batch)  # none has no gradient
        model.reset_metrics()
        variables = StateVariables(model)
        run = CompiledStep(model, kind, variables)
        place: Any = placing(early=True)
        state, given = run(variables.read(), place(batch))
        variables.write(state)
        logs = Logs(model, variables, state, given)()
        return logs if return_dict else in_order(model, logs)


def predict_on_batch(model, x):
    """Predict one batch; see `Model.predict_on_batch`."""
    with until_end(model), distributed(model, "predict_on_batch", x=x):
        x = refuse_text(training_of(model).on_host(model, as_arrays(x, "x")))
        if not model.built:
            outputs_for(model, x)
        return joined([runner(model)(x)])
