import subprocess
import sys

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import lamina
from lamina.layers import Dense, Input
from lamina.wrappers import SKLearnClassifier, SKLearnRegressor, SKLearnTransformer

QUIET = {"verbose": 0}
rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4))


@pytest.fixture(autouse=True)
def no_bars():
    shown = lamina.config.is_interactive_logging_enabled()
    lamina.config.disable_interactive_logging()
    yield
    if shown:
        lamina.config.enable_interactive_logging()


def network(X, y, loss="mse", units=(10,), out=None, optimizer="adam"):  # noqa: N803
    x = hidden = Input((X.shape[1],))
    for size in units:
        hidden = Dense(size, "relu")(hidden)
    model = lamina.Model(x, Dense(y.shape[1], out)(hidden))
    model.compile(optimizer, loss)
    return model


SOFT = {"loss": "categorical_crossentropy", "out": "softmax"}


def seeded(X, y, **kwargs):  # noqa: N803
    lamina.utils.set_random_seed(0)
    return network(X, y, **kwargs)


FAILS = {
    "check_classifiers_train": "outputs may be probabilities or logits of all classes",
    "check_classifiers_one_label_sample_weights": "one epoch does not learn a label",
    "check_classifiers_classes": "one epoch does not learn all labels",
}


@pytest.mark.parametrize(
    ("cls", "fails"),
    [(SKLearnClassifier, FAILS), (SKLearnRegressor, {}), (SKLearnTransformer, {})],
)
@pytest.mark.filterwarnings("ignore")
def test_the_rules_of_scikit_learn(cls, fails):
    settings = SOFT if cls is SKLearnClassifier else {}
    estimator = cls(seeded, model_kwargs=settings, fit_kwargs=QUIET)
    done = check_estimator(estimator, expected_failed_checks=fails, on_skip=None)
    states = [one["status"] for one in done]
    assert states.count("passed") >= 40 and states.count("skipped") <= 5


def test_learns_classes_of_any_label():
    y = np.where(X[:, 0] + X[:, 1] > 0, "up", "down")
    net = SKLearnClassifier(
        network,
        model_kwargs={**SOFT, "optimizer": lamina.optimizers.Adam(0.05)},
        fit_kwargs={**QUIET, "epochs": 60},
    )
    assert net.fit(X, y).score(X, y) > 0.9
    outputs = net.model_.predict(X, verbose=0)
    np.testing.assert_array_equal(net.decision_function(X), outputs)
    np.testing.assert_array_equal(net.predict(X), net.classes_[outputs.argmax(1)])
    assert net.classes_.tolist() == ["down", "up"]
    assert len(net.history_.history["loss"]) == 60
    assert net.epoch_ == list(range(60))
    assert SKLearnClassifier(network).epoch_ == 0


def test_a_model_is_cloned_unless_it_starts_warm():
    y = X @ [1.0, 2.0, 0.0, -1.0]
    model = network(X, y[:, None], units=())
    before = model.get_weights()
    net = SKLearnRegressor(model, fit_kwargs=QUIET).fit(X, y)
    assert net.model_ is not model
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    assert net.predict(X).shape == (60,) and net.predict(X).dtype == "float64"
    np.testing.assert_allclose(net.predict(X), net.model_(X)[:, 0], rtol=1e-6)
    warm = SKLearnRegressor(model, warm_start=True, fit_kwargs=QUIET)
    losses = [warm.fit(X, y, epochs=20).history_.history["loss"] for _ in range(2)]
    assert warm.model_ is model
    assert losses[1][0] < losses[0][-1]
    made = SKLearnRegressor(network, warm_start=True, fit_kwargs=QUIET)
    first = made.fit(X, y).model_
    assert made.fit(X, y).model_ is first


def test_several_targets_and_what_fit_is_told():
    y = X[:, :2] * 3
    given = {**QUIET, "epochs": 2}
    net = SKLearnRegressor(network, fit_kwargs=given).fit(X, y, epochs=3)
    assert net.predict(X).shape == (60, 2)
    assert len(net.history_.history["loss"]) == 3
    assert given == {**QUIET, "epochs": 2}
    again = clone(net)
    assert again.fit_kwargs == given and not hasattr(again, "model_")


def test_in_pipelines_and_searches():
    y = X @ [1.0, 2.0, 0.0, -1.0]
    net = SKLearnRegressor(network, fit_kwargs={**QUIET, "epochs": 30})
    pipe = make_pipeline(StandardScaler(), net)
    rates = [{"optimizer": lamina.optimizers.Adam(r)} for r in (1e-6, 0.05)]
    search = GridSearchCV(pipe, {"sklearnregressor__model_kwargs": rates}, cv=2)
    search.fit(X, y)
    assert search.best_params_["sklearnregressor__model_kwargs"] is rates[1]
    assert search.best_score_ > 0.5
    features = SKLearnTransformer(network, fit_kwargs=QUIET)
    both = make_pipeline(features, sklearn.linear_model.LinearRegression())
    assert cross_val_score(both, X, y, cv=2).shape == (2,)


def test_metadata_routing():
    net = SKLearnRegressor(network, fit_kwargs=QUIET)
    with pytest.raises(RuntimeError, match="enable_metadata_routing=True"):
        net.set_fit_request(sample_weight=True)
    with sklearn.config_context(enable_metadata_routing=True):
        net.set_fit_request(sample_weight=True)
        scores = cross_val_score(
            net, X, X[:, 0], params={"sample_weight": np.ones(60)}, cv=2
        )
        assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SKLearnRegressor(lamina.Sequential([Dense(1)])), RuntimeError,
         "'sequential' must be compiled"),
        (lambda: SKLearnClassifier(network), ValueError, "Target type: continuous"),
    ],
)  # fmt: skip
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make().fit(X, X[:, 0])


def test_without_scikit_learn():
    code = """
import sys
sys.modules["sklearn"] = None
import lamina
try: lamina.wrappers.SKLearnClassifier(print)
except ImportError as error: print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "pip install scikit-learn" in done.stdout


def test_what_is_no_model_is_refused_by_name():
    with pytest.raises(TypeError, match="SKLearnRegressor` expected `model` to be a"):
        SKLearnRegressor(3).fit(np.ones((4, 2)), np.ones(4))
