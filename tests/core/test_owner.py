"""Layers, metrics and optimizers own Variables in one way."""

import threading

import numpy as np
import pytest

import lamina
from lamina.core.owner import Owner


class Layer(lamina.layers.Layer):
    pass


class Metric(lamina.metrics.Metric):
    pass


class Optimizer(lamina.optimizers.Optimizer):
    pass


KINDS = {
    Layer: lambda thing: thing.add_weight(),
    Metric: lambda thing: thing.variables,
    Optimizer: lambda thing: thing.add_variable(()),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_one_error_says_that_super_init_was_forgotten(kind):
    class Forgot(kind):
        def __init__(self):
            pass

    assert issubclass(kind, Owner)
    with pytest.raises(RuntimeError, match=r"'Forgot', you forgot to call `super"):
        KINDS[kind](Forgot())


@pytest.mark.parametrize("base", (lamina.Model, lamina.Sequential))
@pytest.mark.parametrize("use", ("fit", "layers", "name", "inputs", "optimizer"))
def test_a_model_says_so_at_any_attribute(base, use):
    class Forgot(base):
        def __init__(self):
            self.size = 3

    with pytest.raises(AttributeError, match=r"'Forgot', you forgot to call `super"):
        getattr(Forgot(), use)(None) if use == "fit" else getattr(Forgot(), use)
    assert Forgot().size == 3
    assert not hasattr(Forgot(), "sizes")


def test_an_attribute_that_raises_keeps_its_own_words():
    class Made(lamina.Model):
        @property
        def size(self):
            return self.absent

    with pytest.raises(AttributeError, match="'Made' object has no attribute 'absent'"):
        print(Made().size)
    with pytest.raises(AttributeError, match="has no defined inputs"):
        print(Made().inputs)


def test_an_optimizer_says_so_at_its_first_attribute():
    class Forgot(Optimizer):
        def __init__(self):
            self.power = 2.0

    with pytest.raises(RuntimeError, match=r"super\(\).__init__\(\*\*kwargs\)   # fir"):
        Forgot()


def test_a_metric_owns_what_its_attributes_hold():
    class Pair(Metric):
        def __init__(self):
            super().__init__(name="pair")
            self.means = {"a": lamina.metrics.Mean(), "b": [lamina.metrics.Sum()]}
            self.later = lamina.Variable(1.0, name="later")
            self.count = self.add_weight(name="count")
            self.again = self.means["a"]

    pair = Pair()
    names = [v.name for v in pair.variables]
    assert names == ["later", "count", "total", "count", "total"]
    assert pair.variables[1].path == "pair/count"
    assert not hasattr(pair, "weights") and not hasattr(pair, "trainable")


def test_an_optimizers_variables_come_in_the_order_in_which_they_were_made():
    class Own(Optimizer):
        def __init__(self, **kwargs):
            super().__init__(0.1, **kwargs)
            self.factor = lamina.Variable(2.0, name="factor")

        def build(self, variables):
            super().build(variables)
            self.slots = self.add_optimizer_variables(variables, "slot")
            self.last = lamina.Variable(3.0, name="last")
            self.group = variables

    weight = lamina.Variable(np.ones(2), name="w")
    made = Own(name="own")
    made.build([weight])
    names = [v.name for v in made.variables]
    assert names == ["iteration", "learning_rate", "factor", "w_slot", "last"]
    made.learning_rate = lamina.optimizers.schedules.ExponentialDecay(0.1, 5, 0.9)
    assert [v.name for v in made.variables] == [names[0], *names[2:]]


def test_optimizers_around_others_own_theirs():
    inner = lamina.optimizers.SGD(0.1, momentum=0.9, name="sgd")
    outer = lamina.optimizers.LossScaleOptimizer(inner)
    outer.build([lamina.Variable(1.0)])
    own = len(outer.variables) - len(inner.variables)
    assert outer.variables[own:] == inner.variables and own > 0


@pytest.mark.parametrize(
    "owner",
    [
        lambda: lamina.layers.Dense(2),
        lambda: lamina.metrics.Mean(),
        lambda: lamina.optimizers.Adam(),
    ],
)
def test_variables_are_read_while_another_thread_sets_attributes(owner):
    made, stop, errors = owner(), threading.Event(), []

    def set_and_delete():
        number = 0
        while not stop.is_set():
            setattr(made, f"extra_{number % 50}", 3)
            vars(made).pop(f"extra_{(number + 25) % 50}", None)
            number += 1

    thread = threading.Thread(target=set_and_delete)
    thread.start()
    try:
        for _ in range(2000):
            len(made.variables)
    except RuntimeError as error:
        errors.append(error)
    stop.set()
    thread.join()
    assert errors == []
