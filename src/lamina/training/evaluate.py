"""`evaluate`: the loss and the metrics on data."""

from lamina.data import open_source
from lamina.training import checks, together
from lamina.training.alone import alone, until_end
from lamina.training.compiled import require_compiled, training_of
from lamina.training.drive import Logs, chunks, drive
from lamina.training.placing import distributed
from lamina.training.prepare import callbacks_for, limited, prepare, ready
from lamina.training.step import StateVariables


def evaluate(
    model, x, y, batch_size, verbose, sample_weight, steps, callbacks, return_dict
):
    """Evaluate; see `Model.evaluate`."""
    what, data = "evaluate", {"x": x, "y": y, "sample_weight": sample_weight}
    with until_end(model), alone(model, what), distributed(model, what, **data):
        require_compiled(model, what)
        rules = {"batch_size": batch_size, "steps": limited(steps)}
        with together.first_batch():
            source = open_source(x, y, sample_weight, **rules)
            source.first()
        source = ready(model, source)
        prepare(model, source.first(), training=False)
        checks.check_targets(model, source)
        callbacks = callbacks_for(model, callbacks, verbose, source)
        try:
            logs = run_test(model, source, callbacks)
        finally:
            callbacks.close()
        return logs if return_dict else in_order(model, logs)


def run_test(model, source, callbacks):
    """Evaluate on the batches of a source; return the logs."""
    prepare(model, source.first(), training=False)
    model.reset_metrics()
    callbacks.on_test_begin()
    variables = StateVariables(model)
    logs = Logs(model, variables, variables.read())
    single = together.any_of(callbacks.listens_to_batches("test"))
    flags = training_of(model).flags
    flags.stop_evaluating = False
    try:
        chosen = chunks(model, "test", variables, source, donate=False, single=single)
        with chosen as found:
            for _ in drive("test", found, logs, callbacks):
                if together.stopped(flags.stop_evaluating, single):
                    break
            else:
                together.check_batches(found.place)
    finally:
        variables.write(logs.state)
    found = logs()
    callbacks.on_test_end(found)
    return found


def in_order(model, logs):
    """Return results as Keras' list: the loss, the metrics, the rest by name."""
    each = [m.metrics if m is model.compiled_metrics else [m] for m in model.metrics]
    names = [metric.name for some in each for metric in some]
    names = dict.fromkeys((*(name for name in names if name in logs), *sorted(logs)))
    values = [logs[name] for name in names]
    return values[0] if len(values) == 1 else values
