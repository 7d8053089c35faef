"""Models as estimators of scikit-learn, for its pipelines and searches.

They follow scikit-learn's rules for estimators
(https://scikit-learn.org/stable/developers/develop.html), 1.6 or newer.
"""

import typing as _typing
from typing import Any as _Any

import numpy as _np

from lamina._imports import offer as _offer
from lamina.models import Model as _Model
from lamina.models import clone_model as _clone_model

try:
    from sklearn import get_config as _get_config
    from sklearn.base import BaseEstimator as _BaseEstimator
    from sklearn.base import ClassifierMixin as _ClassifierMixin
    from sklearn.base import RegressorMixin as _RegressorMixin
    from sklearn.base import TransformerMixin as _TransformerMixin
    from sklearn.utils import column_or_1d as _column_or_1d
    from sklearn.utils.metadata_routing import MetadataRequest as _MetadataRequest
    from sklearn.utils.multiclass import type_of_target as _type_of_target
    from sklearn.utils.validation import check_is_fitted as _check_is_fitted
    from sklearn.utils.validation import validate_data as _validate_data

    _MISSING = False
except ImportError:
    # The classes can be imported and looked at; making one says what is missing.
    if not _typing.TYPE_CHECKING:
        _BaseEstimator = type("BaseEstimator", (), {})
        _ClassifierMixin = type("ClassifierMixin", (), {})
        _RegressorMixin = type("RegressorMixin", (), {})
        _TransformerMixin = type("TransformerMixin", (), {})
    _MISSING = True


class _Estimator(_BaseEstimator):
    """What the three wrappers share."""

    _numbers = True  # whether targets are numbers, several for a row if need be

    def __init__(
        self,
        model: _Any,
        warm_start: bool = False,
        model_kwargs: dict | None = None,
        fit_kwargs: dict | None = None,
    ):
        if _MISSING:
            raise ImportError(
                f"`{type(self).__name__}` needs scikit-learn 1.6 or newer. Install it "
                "with `pip install scikit-learn`."
            )
        self.model = model
        self.warm_start = warm_start
        self.model_kwargs = model_kwargs
        self.fit_kwargs = fit_kwargs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.non_deterministic = True
        tags.target_tags.required = True
        tags.target_tags.multi_output = self._numbers
        return tags

    def set_fit_request(self, **kwargs):
        """Say which metadata `fit` takes, see scikit-learn's metadata routing.

        Args:
            kwargs: for each argument True, False, None or another name for it.

        Raises:
            RuntimeError: metadata routing is not enabled.
        """
        if not _get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                "This method needs metadata routing. Enable it with "
                "`sklearn.set_config(enable_metadata_routing=True)`."
            )
        self._metadata_request = _MetadataRequest(owner=self)
        for name, alias in kwargs.items():
            self._metadata_request.fit.add_request(param=name, alias=alias)
        return self

    def fit(self, X, y, **kwargs):  # noqa: N803
        """Train a model; return the estimator.

        Args:
            X: an array `(n, features)`.
            y: targets, `(n,)` or `(n, outputs)`.
            kwargs: arguments of `Model.fit`, before those in `fit_kwargs`.

        Raises:
            RuntimeError: the model is not compiled.
            TypeError: `model` is neither a model nor a function.
        """
        X, y = _validate_data(self, X, y, multi_output=True, y_numeric=self._numbers)  # noqa: N806
        y = self._targets(y)
        model = self._made(X, y)
        if not (model.compiled and model.loss and model.optimizer):
            raise RuntimeError(
                f"Model {model.name!r} must be compiled with an optimizer and a loss "
                "before it is given to scikit-learn."
            )
        self.history_ = model.fit(X, y, **{**(self.fit_kwargs or {}), **kwargs})
        self.model_ = model
        return self

    def _made(self, x, y) -> _Any:
        """Return the model to train: as it was made, or as it was trained last."""
        if self.warm_start and hasattr(self, "model_"):
            return self.model_
        if not isinstance(self.model, _Model):
            if not callable(self.model):
                raise TypeError(
                    f"`{type(self).__name__}` expected `model` to be a model or a "
                    f"function that returns one. Received: model={self.model!r}"
                )
            return self.model(X=x, y=y, **(self.model_kwargs or {}))
        return self.model if self.warm_start else _clone_model(self.model)

    def _targets(self, y):
        """Return targets as the model takes them: a column for each output."""
        _type_of_target(y, raise_unknown=True)
        self._one_column = y.ndim == 1
        return y.reshape(len(y), -1)

    @property
    def epoch_(self):
        """The numbers of the epochs that the last `fit` ran; 0 before it."""
        history = getattr(self, "history_", None)
        return history.epoch if history is not None else 0

    def _outputs(self, X):  # noqa: N803
        """Return what the trained model predicts."""
        _check_is_fitted(self)
        X = _validate_data(self, X, reset=False)  # noqa: N806
        verbose = (self.fit_kwargs or {}).get("verbose", "auto")
        return self.model_.predict(X, verbose=verbose)


class SKLearnClassifier(_ClassifierMixin, _Estimator):
    """A classifier of scikit-learn that trains a model.

    The model gets targets of 0 and 1 with a column for each class, and its largest
    output is the class.

    Args:
        model: a compiled model, or a function that returns one. The function is called
            with `X` and `y`, as the model will see them, and with `model_kwargs`.
        warm_start: whether `fit` goes on with the weights of the `fit` before; a model
            is trained itself then, else a clone of it.
        model_kwargs: arguments of the function.
        fit_kwargs: arguments of `Model.fit`; `verbose` holds for `predict` too.

    Attributes:
        model_: the trained model.
        history_: the `History` of its training.
        classes_: the labels, in the order of the outputs.

    Raises:
        ImportError: scikit-learn is not installed.

    >>> import lamina, numpy as np
    >>> def model(X, y):
    ...     net = lamina.Sequential([lamina.layers.Dense(y.shape[1], "softmax")])
    ...     net.compile("adam", "categorical_crossentropy")
    ...     return net
    >>> net = lamina.wrappers.SKLearnClassifier(model, fit_kwargs={"verbose": 0})
    >>> _ = net.fit(np.eye(4), ["a", "b", "a", "b"])
    >>> net.classes_.tolist(), net.predict(np.eye(4)).shape
    (['a', 'b'], (4,))
    """

    _numbers = False

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags

    def _targets(self, y):
        kind = _type_of_target(y, raise_unknown=True)
        if kind not in ("binary", "multiclass"):
            raise ValueError(
                "Only binary and multiclass target types are supported. Target type: "
                f"{kind}"
            )
        column = _column_or_1d(y, warn=True)
        self.classes_, places = _np.unique(column, return_inverse=True)
        if len(self.classes_) == 1:
            raise ValueError("Classifier can't train when only one class is present.")
        return _np.eye(len(self.classes_))[places]

    def decision_function(self, X):  # noqa: N803
        """Return the model's outputs `(n, classes)` for an array `(n, features)`."""
        return self._outputs(X)

    def predict(self, X):  # noqa: N803
        """Return the class of each row of an array `(n, features)`."""
        outputs = self._outputs(X)
        return self.classes_[_np.argmax(outputs, axis=-1)]


class SKLearnRegressor(_RegressorMixin, _Estimator):
    """A regressor of scikit-learn that trains a model.

    Args:
        model: a compiled model, or a function that returns one. The function is called
            with `X` and `y`, as the model will see them, and with `model_kwargs`.
        warm_start: whether `fit` goes on with the weights of the `fit` before; a model
            is trained itself then, else a clone of it.
        model_kwargs: arguments of the function.
        fit_kwargs: arguments of `Model.fit`; `verbose` holds for `predict` too.

    Attributes:
        model_: the trained model.
        history_: the `History` of its training.

    Raises:
        ImportError: scikit-learn is not installed.

    >>> import lamina, numpy as np
    >>> net = lamina.Sequential([lamina.Input((2,)), lamina.layers.Dense(1)])
    >>> net.compile("adam", "mse")
    >>> net = lamina.wrappers.SKLearnRegressor(net, fit_kwargs={"verbose": 0})
    >>> net.fit(np.ones((4, 2)), np.ones(4)).predict(np.ones((3, 2))).shape
    (3,)
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags

    def predict(self, X):  # noqa: N803
        """Return float64 outputs for an array `(n, features)`, shaped like targets."""
        found = self._outputs(X).astype("float64")
        return found.reshape(-1) if self._one_column else found


class SKLearnTransformer(_TransformerMixin, _Estimator):
    """A transformer of scikit-learn whose features are a model's outputs.

    To use a trained model as it is, wrap the fitted transformer in scikit-learn's
    `FrozenEstimator`.

    Args:
        model: a compiled model, or a function that returns one. The function is called
            with `X` and `y`, as the model will see them, and with `model_kwargs`.
        warm_start: whether `fit` goes on with the weights of the `fit` before; a model
            is trained itself then, else a clone of it.
        model_kwargs: arguments of the function.
        fit_kwargs: arguments of `Model.fit`; `verbose` holds for `predict` too.

    Attributes:
        model_: the trained model.
        history_: the `History` of its training.

    Raises:
        ImportError: scikit-learn is not installed.

    >>> import lamina, numpy as np
    >>> net = lamina.Sequential([lamina.Input((2,)), lamina.layers.Dense(5)])
    >>> net.compile("adam", "mse")
    >>> net = lamina.wrappers.SKLearnTransformer(net, fit_kwargs={"verbose": 0})
    >>> net.fit(np.ones((4, 2)), np.ones((4, 5))).transform(np.ones((3, 2))).shape
    (3, 5)
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def transform(self, X):  # noqa: N803
        """Return the model's outputs for an array `(n, features)`."""
        return self._outputs(X)

    def predict(self, X):  # noqa: N803
        """Return the model's outputs, one for each row where it has one unit."""
        found = self._outputs(X)
        return found.reshape(-1) if self._one_column else found


_offer(globals())
