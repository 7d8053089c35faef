"""What TensorFlow's Keras has to prepare images, texts and sequences.

Programs that run with `python -m lamina` find it under its old names, such as
`tensorflow.keras.preprocessing.text`. In new ones, layers and `lamina.utils` do this.
"""

from lamina._imports import lazy as _lazy

__getattr__, __dir__, __all__ = _lazy(__name__)
