"""`FeatureSpace`: the columns of a table as vectors that a model can take."""

import itertools
from typing import Any

import numpy as np

from lamina import layers, ops
from lamina.core.checks import described
from lamina.core.config import deserialize_keras_object, serialize_keras_object
from lamina.core.naming import automatic_name
from lamina.core.structure import map_leaves
from lamina.core.symbolic import SymbolicTensor
from lamina.layers.preprocessing.data_layer import DataLayer, learns

# Where Keras' files say that the parts of a FeatureSpace are.
_PLACE = "keras.src.layers.preprocessing.feature_space"


class Cross:
    """Several features that are looked at together, see `FeatureSpace.cross`."""

    _saved_as = (_PLACE, "Cross")

    def __init__(self, feature_names, crossing_dim, output_mode="one_hot"):
        _check_mode(output_mode, ("int", "one_hot"))
        self.feature_names = tuple(feature_names)
        self.crossing_dim = crossing_dim
        self.output_mode = output_mode

    @property
    def name(self):
        """The names of its features, joined."""
        return "_X_".join(self.feature_names)

    def get_config(self):
        """Return the constructor's arguments."""
        return dict(vars(self))


class Feature:
    """A column's dtype, and the layer that prepares it, see `FeatureSpace.feature`."""

    _saved_as = (_PLACE, "Feature")

    def __init__(self, dtype, preprocessor, output_mode):
        _check_mode(output_mode, ("int", "one_hot", "float"))
        self.dtype = dtype
        self.preprocessor = _read(preprocessor)
        self.output_mode = output_mode

    def get_config(self):
        """Return the constructor's arguments, ready to be saved."""
        return {**vars(self), "preprocessor": serialize_keras_object(self.preprocessor)}


class TFDIdentity(DataLayer):
    """Gives back a column as it is; the name is that of Keras' files."""

    _saved_as = (_PLACE, "TFDIdentity")

    def call(self, x):
        """Return the input."""
        return x


class FeatureSpace(DataLayer):
    """Turns the columns of a table into one vector a row, or into a dict of them.

    Each column is prepared by a layer of its own: words are looked up, numbers
    normalized or put into ranges. What these layers learn from data they learn in
    `adapt`. The result is the input of a model; `get_inputs` and
    `get_encoded_features` put the space into the model itself, where it takes
    columns of numbers alone: text is prepared in the data.

    Args:
        features: a dict from columns to their kinds: `"float"`, `"float_normalized"`,
            `"float_rescaled"`, `"float_discretized"`, `"integer_categorical"`,
            `"integer_hashed"`, `"string_categorical"`, `"string_hashed"`, or what the
            methods of these names return.
        output_mode: `"concat"`, one vector of all, columns in sorted order and then
            crosses; or `"dict"`, each by its name.
        crosses: tuples of columns to look at together, or what `cross` returns.
        crossing_dim: how many bins combinations go to.
        hashing_dim: how many bins the values of a hashed column go to.
        num_discretization_bins: how many ranges there are for a discretized column.
        name: its name.

    Raises:
        ValueError: no features, an unknown kind, a cross of unknown columns.

    >>> import lamina
    >>> table = {"size": [1.0, 3.0], "city": ["Bonn", "Ulm"]}
    >>> space = lamina.utils.FeatureSpace(
    ...     {"size": "float_normalized", "city": "string_categorical"}
    ... )
    >>> space.adapt(table)
    >>> space(table).tolist()
    [[0.0, 0.0, 1.0, -1.0], [0.0, 1.0, 0.0, 1.0]]
    """

    _takes_text = True
    _nothing_to_build = _numbers_are_sizes = False
    _not_walked = frozenset({"one_hot_encoders", "encoded_features", "inputs"})

    def __init__(
        self,
        features: dict,
        output_mode: str = "concat",
        crosses: Any = None,
        crossing_dim: int = 32,
        hashing_dim: int = 32,
        num_discretization_bins: int = 32,
        name: str | None = None,
    ):
        super().__init__(name=name)
        if not features:
            raise ValueError("The `features` argument cannot be None or empty.")
        self.crossing_dim, self.hashing_dim = crossing_dim, hashing_dim
        self.num_discretization_bins = num_discretization_bins
        self.features = {k: self._feature_of(k, v) for k, v in features.items()}
        self.crosses = [self._cross_of(cross) for cross in crosses or ()]
        _check_mode(output_mode, ("concat", "dict"))
        self.output_mode = output_mode
        self.preprocessors = {k: f.preprocessor for k, f in self.features.items()}
        self.crossers = {
            cross.name: layers.HashedCrossing(cross.crossing_dim, name=cross.name)
            for cross in self.crosses
        }
        self.one_hot_encoders = {}
        self.inputs = {
            k: layers.Input(shape=(1,), dtype=f.dtype, name=k)
            for k, f in self.features.items()
        }
        self.encoded_features = None
        self._is_adapted = not self._learning()
        self.built = True

    def _feature_of(self, name, value):
        value = _read(value)
        if isinstance(value, Feature):
            return value
        sizes = {
            "float_discretized": self.num_discretization_bins,
            "integer_hashed": self.hashing_dim,
            "string_hashed": self.hashing_dim,
        }
        if value not in _KINDS:
            raise ValueError(
                f"Invalid feature type: {value!r} for {name!r}. `FeatureSpace` knows: "
                f"{', '.join(_KINDS)}"
            )
        given = {"num_bins": sizes[value]} if value in sizes else {}
        return getattr(self, value)(name=name, **given)

    def _cross_of(self, cross):
        cross = _read(cross)
        if not isinstance(cross, Cross):
            if not self.crossing_dim:
                raise ValueError(
                    "When specifying `crosses`, the argument `crossing_dim` "
                    "(dimensionality of the crossing space) should be specified too."
                )
            cross = Cross(cross, self.crossing_dim)
        if not set(cross.feature_names) <= set(self.features):
            raise ValueError(
                "All features referenced in the `crosses` argument should be present "
                f"in the `features` dict. Received: {cross.feature_names}, with "
                f"features {sorted(self.features)}"
            )
        return cross

    # ---- kinds of features ---------------------------------------------------

    @classmethod
    def cross(cls, feature_names, crossing_dim, output_mode="one_hot"):
        """Return several features, to be looked at together.

        Args:
            feature_names: their names; each gives integers or text.
            crossing_dim: how many bins their combinations go to.
            output_mode: `"one_hot"`, or `"int"` for the bin itself.
        """
        return Cross(feature_names, crossing_dim, output_mode=output_mode)

    @classmethod
    def feature(cls, dtype, preprocessor, output_mode):
        """Return a feature that is prepared by a layer of your choice.

        Args:
            dtype: the dtype of the column.
            preprocessor: the layer.
            output_mode: `"float"` or `"int"` for what the layer gives, `"one_hot"`
                for the integers that it gives as vectors.
        """
        return Feature(dtype, preprocessor, output_mode)

    @classmethod
    def float(cls, name=None):
        """Return a feature of floats that stay as they are."""
        return Feature("float32", TFDIdentity(name=_name(name, "float")), "float")

    @classmethod
    def float_rescaled(cls, scale=1.0, offset=0.0, name=None):
        """Return a feature of floats times `scale` plus `offset`."""
        name = _name(name, "float_rescaled")
        return Feature("float32", layers.Rescaling(scale, offset, name=name), "float")

    @classmethod
    def float_normalized(cls, name=None):
        """Return a feature of floats that are brought to mean 0 and variance 1."""
        layer = layers.Normalization(axis=-1, name=_name(name, "float_normalized"))
        return Feature("float32", layer, "float")

    @classmethod
    def float_discretized(
        cls, num_bins, bin_boundaries=None, output_mode="one_hot", name=None
    ):
        """Return a feature of floats that are put into ranges.

        Args:
            num_bins: how many ranges; None when `bin_boundaries` are given.
            bin_boundaries: what divides the ranges.
            output_mode: `"one_hot"`, or `"int"` for the index of the range.
            name: the first part of the layer's name.
        """
        name = _name(name, "float_discretized")
        layer = layers.Discretization(bin_boundaries, num_bins, name=name)
        return Feature("float32", layer, output_mode)

    @classmethod
    def integer_categorical(
        cls, max_tokens=None, num_oov_indices=1, output_mode="one_hot", name=None
    ):
        """Return a feature of integers that stand for categories.

        Args:
            max_tokens: how many categories at most; None for all in the data.
            num_oov_indices: into how many bins other integers go.
            output_mode: `"one_hot"`, or `"int"` for the index of the category.
            name: the first part of the layer's name.
        """
        name = _name(name, "integer_categorical")
        layer = layers.IntegerLookup(max_tokens, num_oov_indices, name=name)
        return Feature("int32", layer, output_mode)

    @classmethod
    def string_categorical(
        cls, max_tokens=None, num_oov_indices=1, output_mode="one_hot", name=None
    ):
        """Return a feature of text that stands for categories.

        Args:
            max_tokens: how many categories at most; None for all in the data.
            num_oov_indices: into how many bins other text goes.
            output_mode: `"one_hot"`, or `"int"` for the index of the category.
            name: the first part of the layer's name.
        """
        name = _name(name, "string_categorical")
        layer = layers.StringLookup(max_tokens, num_oov_indices, name=name)
        return Feature("string", layer, output_mode)

    @classmethod
    def integer_hashed(cls, num_bins, output_mode="one_hot", name=None):
        """Return a feature of integers that are hashed into `num_bins` bins."""
        layer = layers.Hashing(num_bins, name=_name(name, "integer_hashed"))
        return Feature("int32", layer, output_mode)

    @classmethod
    def string_hashed(cls, num_bins, output_mode="one_hot", name=None):
        """Return a feature of text that is hashed into `num_bins` bins."""
        layer = layers.Hashing(num_bins, name=_name(name, "string_hashed"))
        return Feature("string", layer, output_mode)

    # ---- learning ------------------------------------------------------------

    def _learning(self):
        return [k for k, layer in self.preprocessors.items() if learns(layer)]

    def adapt(self, dataset):
        """Let the layers of all columns learn from data.

        Args:
            dataset: a dict of columns, a DataFrame, or an iterable of dicts, each a
                batch or a single row.

        Raises:
            ValueError: it is none of these.
        """
        if _is_table(dataset):
            dataset = _columns(dataset)
        elif hasattr(dataset, "__next__"):
            dataset = list(dataset)  # each column is read for itself
        elif isinstance(dataset, str) or not hasattr(dataset, "__iter__"):
            raise ValueError(
                "`adapt()` can only be called on a dict of arrays/lists, a DataFrame, "
                f"or a data set of dicts. Received instead: {dataset!r} (of type "
                f"{type(dataset).__name__})"
            )
        for name in self._learning():
            if isinstance(dataset, dict):
                values = dataset[name]
            else:
                values = (np.asarray(row[name]) for row in dataset)
            self.preprocessors[name].adapt(_batches(values))
        self._is_adapted = True
        self.encoded_features = None

    def get_inputs(self):
        """Return a dict of symbolic tensors, one for each column.

        Raises:
            ValueError: `adapt` was not called.
        """
        self._check_adapted()
        return self.inputs

    def get_encoded_features(self):
        """Return what the space makes of `get_inputs()`, as symbolic tensors.

        Raises:
            ValueError: `adapt` was not called, or a feature's layer does not give
                what its `output_mode` needs.
        """
        self._check_adapted()
        if self.encoded_features is None:
            self.one_hot_encoders = {}
            self.encoded_features = self._encoded(self.inputs)
        return self.encoded_features

    def _check_adapted(self):
        if not self._is_adapted:
            raise ValueError(
                "You need to call `.adapt(dataset)` on the FeatureSpace before you can "
                "start using it."
            )

    # ---- encoding ------------------------------------------------------------

    def __call__(self, data):
        """Return the vectors of a table: a dict of columns, or a DataFrame.

        Raises:
            ValueError: it is neither, or a column is missing or unknown.
        """
        self.get_encoded_features()
        if not _is_table(data):
            raise ValueError(
                "A FeatureSpace can only be called with a dict. Received: "
                f"data={data!r} (of type {type(data).__name__})"
            )
        frame = not isinstance(data, dict)
        names = {k for k in data if k in self.features} if frame else set(data)
        if names != set(self.features):
            raise ValueError(
                f"{described(self)} takes the columns {sorted(self.features)}. "
                f"Received: {sorted(map(str, data))}"
            )
        return super().__call__({k: _column(data[k]) for k in self.features})

    def call(self, data):
        """Return the vectors of all rows, or of the one that `data` is."""
        single = any(x.ndim == 0 for x in data.values())
        wide = {
            k: x[..., None] if x.ndim == 1 else x.reshape(1, 1) if x.ndim == 0 else x
            for k, x in data.items()
        }
        result = self._encoded(wide)
        return map_leaves(lambda x: x[0], result) if single else result

    def compute_output_spec(self, data):
        """Return symbolic tensors like what a call gives."""
        shapes = [tuple(x.shape) for x in data.values()]
        rows = () if () in shapes else shapes[0][:1]
        return map_leaves(
            lambda x: SymbolicTensor((*rows, *x.shape[1:]), x.dtype),
            self.get_encoded_features(),
        )

    def _encoded(self, data):
        found = {k: layer(data[k]) for k, layer in self.preprocessors.items()}
        crossed = {
            cross.name: self.crossers[cross.name](
                [found[k] for k in cross.feature_names]
            )
            for cross in self.crosses
        }
        modes = {k: f.output_mode for k, f in self.features.items()}
        modes |= {cross.name: cross.output_mode for cross in self.crosses}
        results = {
            k: self._as_vector(k, x) if modes[k] == "one_hot" else x
            for part in (found, crossed)
            for k, x in sorted(part.items())
        }
        if self.output_mode == "dict":
            return results
        for k, x in results.items():
            if str(x.dtype).startswith(("int", "string")):
                raise ValueError(
                    f"Cannot concatenate features because feature {k!r} has not been "
                    f"encoded (it has dtype {x.dtype}). Consider using "
                    "`output_mode='dict'`."
                )
        return ops.concatenate(list(results.values()), axis=-1)

    def _as_vector(self, name, indices):
        if name not in self.one_hot_encoders:
            if not str(indices.dtype).startswith("int"):
                raise ValueError(
                    f"Feature {name!r} has `output_mode='one_hot'`. Thus its "
                    "preprocessor should return an integer dtype. Instead it returns a "
                    f"{indices.dtype} dtype."
                )
            size = _categories(self.preprocessors.get(name) or self.crossers[name])
            if size is None:
                raise ValueError(
                    f"Feature {name!r} has `output_mode='one_hot'`. However it is not "
                    "a standard feature and the size of its output space is not known, "
                    "thus it cannot be one-hot encoded. Try using `output_mode='int'`."
                )
            self.one_hot_encoders[name] = layers.CategoryEncoding(size)
        return self.one_hot_encoders[name](indices)

    # ---- saving --------------------------------------------------------------

    def get_config(self):
        """Return the constructor's arguments, with what the layers are."""
        return {
            "features": serialize_keras_object(self.features),
            "output_mode": self.output_mode,
            "crosses": serialize_keras_object(self.crosses),
            "crossing_dim": self.crossing_dim,
            "hashing_dim": self.hashing_dim,
            "num_discretization_bins": self.num_discretization_bins,
        }

    @classmethod
    def from_config(cls, config):
        """Make it from what `get_config` returned."""
        return cls(**config)

    def get_build_config(self):
        """Return how the layers of the columns were built."""
        return {k: layer.get_build_config() for k, layer in self.preprocessors.items()}

    def build_from_config(self, config):
        """Build the layers of the columns; what they learned comes from the file."""
        for name, shapes in config.items():
            if not self.preprocessors[name].built:
                self.preprocessors[name].build_from_config(shapes)
        self._is_adapted = True

    def save(self, filepath):
        """Save it as a `.keras` file, for `lamina.saving.load_model`."""
        from lamina.saving import save_model

        save_model(self, filepath)


_KINDS = tuple(
    (
        "float float_rescaled float_normalized float_discretized integer_categorical "
        "integer_hashed string_categorical string_hashed"
    ).split()
)


def _name(name, kind):
    return f"{name or automatic_name(kind)}_preprocessor"


def _check_mode(mode, known):
    if mode not in known:
        raise ValueError(
            f"Invalid value for argument `output_mode`. Expected one of {known}. "
            f"Received: output_mode={mode!r}"
        )


def _read(config) -> Any:
    """Return what a config stands for; anything else as it is."""
    if not isinstance(config, dict):
        return config
    own = {c._saved_as[1]: c for c in (Cross, Feature)}.get(config["class_name"])
    if own is not None:
        return own(**config["config"])
    if config["class_name"] == TFDIdentity.__name__:
        return TFDIdentity.from_config(config["config"])
    return deserialize_keras_object(config)


def _categories(layer):
    """Return how many categories a layer gives, or None."""
    if isinstance(layer, (layers.IntegerLookup, layers.StringLookup)):
        return layer.vocabulary_size()
    if isinstance(layer, layers.Discretization):
        return layer.num_bins or layer.depth
    return getattr(layer, "num_bins", getattr(layer, "num_tokens", None))


def _is_table(data):
    return isinstance(data, dict) or hasattr(data, "columns")


def _columns(table):
    return {k: np.asarray(_column(table[k])) for k in table}


def _column(values):
    """Return a column as an array; symbolic tensors of any kind as they are."""
    if hasattr(values, "to_numpy"):
        return values.to_numpy()
    return values if hasattr(values, "shape") else np.asarray(values)


def _batches(elements):
    """Yield batches of a column, a row each, from single values or from batches."""
    elements = iter(elements)
    first = next(elements, None)
    if first is None:
        return
    elements = itertools.chain([first], elements)
    if np.ndim(first) == 0:
        while batch := list(itertools.islice(elements, 32)):
            yield np.stack(batch)[:, None]
        return
    for batch in elements:
        yield batch[:, None] if np.ndim(batch) == 1 else batch
