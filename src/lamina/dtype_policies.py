"""Dtype policies, and maps that choose one by the path of a layer."""

from collections.abc import MutableMapping as _MutableMapping
from typing import Any as _Any

from lamina.core import patterns as _patterns
from lamina.core.config import deserialize_keras_object as _deserialize_keras_object
from lamina.core.config import serialize_keras_object as _serialize_keras_object
from lamina.core.policy import (
    AWQDTypePolicy,
    DTypePolicy,
    FloatDTypePolicy,
    GPTQDTypePolicy,
    Int4DTypePolicy,
    QuantizedDTypePolicy,
    QuantizedFloat8DTypePolicy,
)
from lamina.core.policy import (
    get_policy as _get_policy,
)
from lamina.core.policy import get_policy as get
from lamina.core.tracebacks import boundary as _boundary

__all__ = [
    "AWQDTypePolicy",
    "DTypePolicy",
    "DTypePolicyMap",
    "FloatDTypePolicy",
    "GPTQDTypePolicy",
    "Int4DTypePolicy",
    "QuantizedDTypePolicy",
    "QuantizedFloat8DTypePolicy",
    "deserialize",
    "get",
    "serialize",
]


class DTypePolicyMap(DTypePolicy, _MutableMapping):
    """Policies by the paths of layers; keys are regular expressions.

    Args:
        default_policy: for paths that no key matches; the global policy when None.
        policy_map: a dict from paths to policies.

    Raises:
        TypeError: `policy_map` is not a dict.
        ValueError: a value is not a policy.

    >>> import lamina
    >>> policies = lamina.dtype_policies.DTypePolicyMap()
    >>> policies["encoder/.*"] = lamina.DTypePolicy("mixed_bfloat16")
    >>> policies["encoder/dense"].compute_dtype
    'bfloat16'
    """

    def __init__(self, default_policy: _Any = None, policy_map: _Any = None):
        if not isinstance(policy_map, (dict, type(None))):
            raise TypeError(
                "If specified, `policy_map` must be a dict. Received: "
                f"policy_map={policy_map!r} (of type {type(policy_map).__name__})"
            )
        if isinstance(default_policy, DTypePolicyMap):
            raise ValueError(
                "`DTypePolicyMap` expected `default_policy` to be one policy. "
                f"Received: {default_policy!r}"
            )
        _patterns.check(policy_map or ())
        self._given = default_policy
        self._default = _get_policy(default_policy)
        self._policies = {k: _get_policy(p) for k, p in (policy_map or {}).items()}

    @property
    def name(self) -> str:
        """The map's name."""
        return "map_" + self.default_policy.name

    @property
    def default_policy(self) -> DTypePolicy:
        """The policy of paths that no key matches."""
        return self._default

    @property
    def compute_dtype(self) -> str:
        """The dtype that layers without an entry compute in."""
        return self.default_policy.compute_dtype

    @property
    def variable_dtype(self) -> str:
        """The dtype that layers without an entry keep weights in."""
        return self.default_policy.variable_dtype

    @property
    def quantization_mode(self):
        """None: entries may have one, the map has not."""
        return self.default_policy.quantization_mode

    def __getitem__(self, key):
        if key in self._policies:
            return self._policies[key]
        found = [k for k in self._policies if _patterns.fullmatch(k, key)]
        if len(found) > 1:
            raise ValueError(
                f"Path '{key}' matches multiple dtype policy specification keys: "
                f"{found}. Please make sure each path only matches at most one."
            )
        return self._policies[found[0]] if found else self.default_policy

    def __setitem__(self, key, policy):
        if key in self._policies:
            raise ValueError(
                f"{key} already exist in the DTypePolicyMap with value "
                f"{self._policies[key]}. Please make sure to not use duplicated keys."
            )
        try:
            policy = _get_policy(policy)
        except Exception:
            raise ValueError(
                "Cannot interpret the assigned value by `get`. Received: "
                f"{policy} of type {type(policy)}"
            ) from None
        self._policies[key] = policy

    def __delitem__(self, key):
        del self._policies[key]

    def __contains__(self, key):
        return key in self._policies

    def __len__(self):
        return len(self._policies)

    def __iter__(self):
        return iter(self._policies)

    def __eq__(self, other):
        return (
            isinstance(other, DTypePolicyMap)
            and self._default == other._default
            and self._policies == other._policies
        )

    __hash__ = None  # it changes  # pyright: ignore

    def get_config(self) -> dict:
        """Return the constructor's arguments.

        Without a `default_policy` the entries are written without their source, so
        that they follow the global policy in force where they are read.
        """
        policies = {k: serialize(p) for k, p in self._policies.items()}
        if self._given is None:
            for entry in policies.values():
                config = entry["config"]
                config["source_name" if "mode" in config else "name"] = None
        given = self._given
        if isinstance(given, DTypePolicy):
            given = serialize(given)
        return {"default_policy": given, "policy_map": policies}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make a map from `get_config()`."""
        policies = config["policy_map"] or {}
        default = config["default_policy"]
        if isinstance(default, dict):
            default = deserialize(default, custom_objects)
        return cls(
            default,
            {key: deserialize(p, custom_objects) for key, p in policies.items()},
        )

    def __repr__(self):
        names = [(path, policy.name) for path, policy in self.items()]
        return (
            f"<DTypePolicyMap at {hex(id(self))} "
            f"default_policy={self.default_policy.name}, mapping={names}>"
        )


@_boundary
def serialize(dtype_policy):
    """Return the config of a policy.

    >>> import lamina
    >>> policy = lamina.DTypePolicy("mixed_bfloat16")
    >>> lamina.dtype_policies.serialize(policy)["config"]
    {'name': 'mixed_bfloat16'}
    """
    return _serialize_keras_object(dtype_policy)


@_boundary
def deserialize(config, custom_objects=None):
    """Make a policy from its config.

    >>> import lamina
    >>> config = {"class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}}
    >>> lamina.dtype_policies.deserialize(config).compute_dtype
    'bfloat16'
    """
    table = {name: globals()[name] for name in __all__ if "Policy" in name}
    return _deserialize_keras_object(
        config, custom_objects=custom_objects, module_objects=table
    )
