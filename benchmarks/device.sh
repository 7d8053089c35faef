#!/bin/sh
# What a machine with an accelerator says, in less than eight minutes.
#
# usage: benchmarks/device.sh [--seconds 450] [--only WORKLOAD ...] [--layers NUMBER]
#
# It needs an installation for the device: `pip install "lamina[test]" "jax[cuda12]"`,
# and compares with Keras and PyTorch where they are installed. PY names another Python.
cd "$(dirname "$0")/.." || exit 1
PYTHONPATH="src:benchmarks:." exec "${PY:-.venv/bin/python}" benchmarks/device.py "$@"
