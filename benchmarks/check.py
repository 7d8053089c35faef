"""Holds the hand-written limit to Lamina: same weights, same losses, same outputs."""

import numpy as np
from peers import jax_peer, keras_peer
from workloads import WORKLOADS, arrays

made = []  # all layers in the order of the text: a graph sorts them otherwise


def recorded(layer, *args, call=keras_peer.k.Layer.__call__, **kwargs):
    made.append(layer)
    return call(layer, *args, **kwargs)


def weights(of):
    """Return the Variables of all layers, in the order of the layers."""
    found = {id(v): v for layer in made for v in of(layer)}
    return tuple(np.array(v) for v in found.values())


def compare(name, workload):
    """Return how far the losses of three steps are apart, as a share."""
    made.clear()
    x, y = arrays(workload, workload.batch)
    ours = keras_peer.Peer(name, x, y)
    groups = (
        weights(lambda layer: layer.trainable_variables),
        weights(lambda layer: layer.non_trainable_variables),
    )
    limit = jax_peer.Peer(name, x, y, groups)
    assert ours.parameters() == limit.parameters(), name
    order = np.arange(workload.batch, dtype="int32")[None]
    losses = [float(ours.model.train_on_batch(x, y)) for _ in range(3)]
    totals = [0.0]
    for _ in range(3):
        limit.carry = limit.steps(limit.carry, limit.x, limit.y, order)
        totals.append(float(limit.carry[-1]))
    apart = np.abs(np.diff(totals) / losses - 1).max()
    print(f"{name:12} {losses[-1]:.7f} {apart:.1e}", flush=True)
    assert apart < 1e-5, f"{name}: {losses} in Lamina, {np.diff(totals)} by hand"
    outputs = ours.call(x), limit.call(x)
    np.testing.assert_allclose(*outputs, rtol=1e-3, atol=1e-3, err_msg=name)
    return apart


keras_peer.k.Layer.__call__ = recorded
print("losses after 3 steps, and how far apart they were at most:")
for name, workload in WORKLOADS.items():
    compare(name, workload)
print("The limit trains and predicts as Lamina does.")
