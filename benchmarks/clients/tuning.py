"""optuna, wandb, mlflow, shap: what watches a training, or a model."""

import os
import pathlib

os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
os.environ |= {"MLFLOW_ALLOW_FILE_STORE": "true"}

import keras
import numpy as np

X = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")


def network(rate=0.01):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(keras.optimizers.Adam(rate), "mse", metrics=["mae"])
    return model


def fit(callbacks=(), **settings):
    settings = {"epochs": 3, "verbose": 0, "validation_split": 0.25} | settings
    return network().fit(X, X[:, :1], callbacks=list(callbacks), **settings)


def optuna_pruning():
    import optuna
    from optuna_integration import KerasPruningCallback

    optuna.logging.disable_default_handler()

    def objective(trial):
        rate = trial.suggest_float("rate", 1e-4, 10.0, log=True)
        watch = KerasPruningCallback(trial, "val_loss")
        model = network(rate)
        settings = {"epochs": 4, "verbose": 0, "validation_split": 0.25}
        seen = model.fit(X, X[:, :1], callbacks=[watch], **settings)
        return seen.history["val_loss"][-1]

    study = optuna.create_study(
        sampler=optuna.samplers.RandomSampler(seed=1),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0),
    )
    study.optimize(objective, n_trials=6)
    return [trial.state.name for trial in study.trials]


def wandb_callbacks():
    import wandb
    from wandb.integration.keras import WandbMetricsLogger, WandbModelCheckpoint

    run = wandb.init(project="p", dir=".")
    fit([WandbMetricsLogger(), WandbModelCheckpoint("best.keras")])
    logged = sorted(k for k in run.summary.keys() if not k.startswith("_"))
    run.finish()
    return logged, pathlib.Path("best.keras").exists()


def mlflow_autologging():
    import mlflow

    mlflow.set_tracking_uri("file:" + str(pathlib.Path("runs").absolute()))
    mlflow.keras.autolog(log_datasets=False)
    with mlflow.start_run() as run:
        fit()
    seen = mlflow.get_run(run.info.run_id).data
    own = {"check_numerics", "resume"}  # arguments of Lamina's `fit`
    return sorted(seen.metrics), sorted({*seen.params} - own)


def mlflow_model():
    import mlflow

    model = network()
    mlflow.keras.save_model(model, "logged")
    again = mlflow.keras.load_model("logged")
    return bool(np.allclose(again.predict(X, verbose=0), model.predict(X, verbose=0)))


def shap_values():
    import shap

    model = network()
    explain = shap.Explainer(lambda x: model.predict(x, verbose=0), X[:10], seed=0)
    return explain(X[:4]).values.shape


def tensorboard():
    fit([keras.callbacks.TensorBoard("logs")])
    return sorted(p.name for p in pathlib.Path("logs").iterdir())


CASES = (
    optuna_pruning, wandb_callbacks, mlflow_autologging, mlflow_model, shap_values,
    tensorboard,
)  # fmt: skip
