"""How many of the library's functions run for what is done most often."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

import lamina
from lamina.training.drive import CompiledStep

FOLDER = str(pathlib.Path(lamina.__file__).parent)

# In a process of its own: what others of a run have imported may cost calls as well.
RUN = """
import json, pathlib, sys, tempfile
import jax.numpy as jnp, numpy as np, lamina

folder = str(pathlib.Path(lamina.__file__).parent)

def calls(run, within=folder):
    count = 0
    def profile(frame, event, _):
        nonlocal count
        count += event == "call" and frame.f_code.co_filename.startswith(within)
    sys.setprofile(profile)
    run()
    sys.setprofile(None)
    return count

layer = lamina.layers.Dense(4)
here, there = np.ones((2, 3), "float32"), jnp.ones((2, 3))
layer(here)
model = lamina.Sequential([lamina.Input((3,)), layer, lamina.layers.Dense(2)])
path = tempfile.mkdtemp() + "/model.keras"
model.save(path)
load = lamina.saving.load_model
config = lamina.layers.serialize(lamina.layers.Dense(4, activation="relu"))
config = json.loads(json.dumps(config))
make = lambda: lamina.layers.deserialize(config)
found = [calls(make, ""), calls(make, "")]  # all functions, the first time and later
for run in (lambda: layer(here), lambda: layer(there), lambda: load(path)):
    run()
    found.append(calls(run))
print(json.dumps(found))
"""


def test_what_is_done_often_takes_few_calls():
    path = os.pathsep.join([str(pathlib.Path(FOLDER).parent), *filter(None, sys.path)])
    command, environment = (
        [sys.executable, "-c", RUN],
        {**os.environ, "PYTHONPATH": path},
    )
    run = subprocess.run(command, env=environment, capture_output=True, check=True)
    first, later, here, there, load = json.loads(run.stdout)
    assert 0 < first <= 140
    assert 0 < later <= 130
    assert 0 < here <= 45
    assert 0 < there <= 45
    assert 0 < load < 2000


class Call:
    """A call of a function of the library, with the rows that it takes and gives."""

    def __init__(self, code):
        self.code, self.inside, self.given, self.gave = code, [], [], []

    def moves(self, counts, within=False):
        """Return the calls in and under this one that hand on what the step gets.

        These are the step; constructors, which keep it; what calls one of these; and
        what returns or yields it, with all that hands on rows within that. What only
        looks at it is none of them.
        """
        gave = [one for one in self.gave if within or any(map(counts, one))]
        given = bool(self.given) if within else any(map(counts, self.given))
        found = [c.moves(counts, within or bool(gave)) for c in self.inside]
        ends = given and (self.code is STEP or self.code.co_name == "__init__")
        leads = ends or any(leads for leads, _ in found)
        if not (leads or gave):
            return False, []
        mine = [self.code] * (given + len(gave))
        return leads, mine + [code for _, some in found for code in some]


STEP = CompiledStep.__call__.__code__


def walk(model, x, **settings):
    """Return the functions that hand `x`, or what is cut of it, to the first step.

    One entry for each time that a function is given it, and gives it back.
    """
    root = Call(None)
    stack, generators, reached = [root], {}, []

    def rows(value):
        if isinstance(value, (list, tuple, dict)):
            parts = value.values() if isinstance(value, dict) else value
            return [a for part in parts for a in rows(part)]
        is_array = isinstance(value, (np.ndarray, jax.Array))
        return [value] if is_array and value.shape[-1:] == x.shape[-1:] else []

    def profile(frame, event, result):
        code = frame.f_code
        if reached or not code.co_filename.startswith(FOLDER):
            return
        if event == "call":
            call = generators.get(frame)  # one that goes on
            if call is None:
                call = Call(code)
                values = [frame.f_locals.get(name) for name in code.co_varnames]
                call.given = [a for value in values for a in rows(value)]
                stack[-1].inside.append(call)
                if code.co_flags & 0x20:
                    generators[frame] = call
            stack.append(call)
            if code is STEP and not frame.f_locals["trace"]:
                reached.extend(call.given)
        elif event == "return":
            call = stack.pop()
            call.gave += [found] if (found := rows(result)) else []

    sys.setprofile(profile)
    try:
        model.fit(x, x[:, :2], verbose=0, **settings)
    finally:
        sys.setprofile(None)
    arrived = {*map(id, reached)}
    return root.moves(lambda a: a.shape == x.shape or id(a) in arrived)[1]


@pytest.mark.parametrize("singly", [False, True])
def test_data_have_a_short_way_to_the_step(singly):
    x = np.ones((64, 11), "float32")
    model = lamina.Sequential([lamina.Input((11,)), lamina.layers.Dense(2)])
    model.compile("sgd", "mse")
    listener = lamina.callbacks.LambdaCallback(on_train_batch_end=lambda *_: None)
    callbacks = [listener] if singly else []
    for _ in range(2):  # a first time, and as it is later
        way = walk(model, x, batch_size=4, callbacks=callbacks)
        assert [way[1].co_name, way[-1]] == ["fit", STEP]
        assert len({code.co_filename for code in way}) <= 6
        assert len(way) <= 18
