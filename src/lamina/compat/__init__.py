"""Programs and packages written for Keras, run by Lamina in one process.

    python -m lamina train.py --its --arguments
    python -m lamina -m pytest tests/

    python -m lamina check train.py  # what of it is missing here, or differs

    import lamina
    lamina.install()  # in a notebook, before `import keras`

From then on `keras`, `tf_keras` and `tensorflow.keras` are Lamina, for packages and for
worker processes as well. Nothing else of the library knows of this room.
"""

from lamina.compat.aliases import install as install
from lamina.compat.runner import run as run
