"""How many of the library's functions run for what is done most often."""

import json
import os
import pathlib
import subprocess
import sys

import lamina

# In a process of its own: what others of a run have imported may cost calls as well.
RUN = """
import json, pathlib, sys, tempfile
import jax.numpy as jnp, numpy as np, lamina

folder = str(pathlib.Path(lamina.__file__).parent)

def calls(run):
    run()
    count = 0
    def profile(frame, event, _):
        nonlocal count
        count += event == "call" and frame.f_code.co_filename.startswith(folder)
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
runs = lambda: layer(here), lambda: layer(there), lambda: load(path)
print(json.dumps([calls(run) for run in runs]))
"""


def test_what_is_done_often_takes_few_calls():
    source = str(pathlib.Path(lamina.__file__).parents[1])
    path = os.pathsep.join([source, *filter(None, sys.path)])
    command, environment = (
        [sys.executable, "-c", RUN],
        {**os.environ, "PYTHONPATH": path},
    )
    run = subprocess.run(command, env=environment, capture_output=True, check=True)
    numpy, jax, load = json.loads(run.stdout)
    assert 0 < numpy <= 45
    assert 0 < jax <= 45
    assert 0 < load < 2000
