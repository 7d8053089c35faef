"""Connectionist temporal classification: alignments of labels and steps.

Source: Graves et al., 2006, "Connectionist temporal classification".
"""

import jax
import jax.numpy as jnp
from jax import lax

# Stands for the logarithm of 0: finite, so that gradients are.
_NEVER = -1e5


def alignments(labels, log_p, label_count, steps, blank):
    """Return -ln of the summed probability of all alignments of one sequence.

    Args:
        labels: (most labels,).
        log_p: log probabilities of the classes, (most steps, classes).
        label_count: how many labels count.
        steps: how many steps count.
        blank: the class that stands between labels.
    """
    # Blanks and labels in turn: blank, first label, blank, second label, ...
    spaced = jnp.full(2 * labels.shape[0] + 1, blank).at[1::2].set(labels)
    emitted = log_p[:, spaced]
    before = jnp.concatenate([jnp.full(2, -1), spaced[:-2]])
    may_skip = (spaced != blank) & (spaced != before)
    start = jnp.full(spaced.shape, _NEVER, log_p.dtype)
    first = start.at[:2].set(emitted[0, :2])

    def step(alpha, now):
        index, emission = now
        one = jnp.concatenate([start[:1], alpha[:-1]])
        two = jnp.where(may_skip, jnp.concatenate([start[:2], alpha[:-2]]), _NEVER)
        moved = jnp.logaddexp(jnp.logaddexp(alpha, one), two) + emission
        return jnp.where(index < steps, moved, alpha), None

    times = jnp.arange(1, log_p.shape[0])
    alpha, _ = lax.scan(step, first, (times, emitted[1:]))
    last_blank = alpha[2 * label_count]
    last_label = jnp.where(label_count > 0, alpha[2 * label_count - 1], _NEVER)
    return -jnp.logaddexp(last_blank, last_label)


def greedy(x, lengths, merge_repeated, blank):
    """Return the best class of each step, (1, batch, steps), and its negative score.

    Args:
        x: logits, (batch, steps, classes).
        lengths: how many steps count, (batch,).
        merge_repeated: count repeated labels once.
        blank: the class that is left out.
    """
    counts = jnp.arange(x.shape[1]) < lengths[:, None]
    best = jnp.argmax(x, -1).astype("int32")
    score = -jnp.sum(jnp.where(counts, jnp.max(x, -1), 0), 1, keepdims=True)
    keep = counts & (best != blank)
    if merge_repeated:
        keep = keep.at[:, 1:].set(keep[:, 1:] & (best[:, 1:] != best[:, :-1]))
    order = jnp.argsort(~keep, -1, stable=True)
    labels = jnp.take_along_axis(jnp.where(keep, best, -1), order, -1)
    return labels[None], score


def beam(logits, steps, width, top, blank):
    """Search prefixes, each with the probabilities of ending in a blank or not.

    A prefix that grows into another one of the beam merges into it.
    """
    length, classes = logits.shape
    log_p = jax.nn.log_softmax(logits)
    labels = jnp.full((width, length), -1, "int32")
    sizes = jnp.zeros(width, "int32")
    none = jnp.full(width, _NEVER, log_p.dtype)
    everything = jnp.arange(classes)

    def step(state, now):
        labels, sizes, in_blank, in_label = state
        index, emission = now
        rows = jnp.arange(width)
        last = jnp.where(sizes > 0, labels[rows, sizes - 1], -1)
        either = jnp.logaddexp(in_blank, in_label)
        stay_blank = either + emission[blank]
        stay_label = jnp.where(last >= 0, in_label + emission[last], _NEVER)
        # A repeated label needs a blank before it.
        source = jnp.where(
            everything == last[:, None], in_blank[:, None], either[:, None]
        )
        grown = jnp.where(everything == blank, _NEVER, source + emission)
        # Prefix j grown from prefix i: all labels of j but the last are those of i.
        position = jnp.arange(length)
        shorter = jnp.where(position < sizes[:, None] - 1, labels, -1)
        parent = (shorter[None] == labels[:, None]).all(-1)
        parent = parent & (sizes[None] == sizes[:, None] + 1)
        alive = either > _NEVER / 2
        parent = parent & alive[:, None] & alive[None]
        into = jnp.where(parent, grown[:, jnp.maximum(last, 0)], _NEVER)
        stay_label = jnp.logaddexp(stay_label, jax.nn.logsumexp(into, 0))
        merged = (
            jnp.zeros((width, classes), bool)
            .at[rows[:, None], jnp.maximum(last, 0)[None]]
            .max(parent)
        )
        grown = jnp.where(merged, _NEVER, grown)
        total = jnp.concatenate([jnp.logaddexp(stay_blank, stay_label), grown.ravel()])
        _, best = lax.top_k(total, width)
        new = best >= width
        row = jnp.where(new, (best - width) // classes, best)
        label = jnp.where(new, (best - width) % classes, -1)
        here = (position == sizes[row][:, None]) & new[:, None]
        moved = (
            jnp.where(here, label[:, None], labels[row]).astype("int32"),
            sizes[row] + new,
            jnp.where(new, _NEVER, stay_blank[row]),
            jnp.where(new, grown.ravel()[best - width], stay_label[row]),
        )
        running = index < steps
        return jax.tree.map(lambda a, b: jnp.where(running, a, b), moved, state), None

    state = (labels, sizes, none.at[0].set(0), none)
    state, _ = lax.scan(step, state, (jnp.arange(length), log_p))
    labels, _, in_blank, in_label = state
    scores, best = lax.top_k(jnp.logaddexp(in_blank, in_label), top)
    return labels[best], scores
