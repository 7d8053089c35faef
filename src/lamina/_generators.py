"""The lock of Python's and NumPy's global generators.

It is held while they are not as everybody should see them: items of a data set may be
made in the background, each with seeds of its own, while a snapshot is taken.
"""

import threading

lock = threading.RLock()
