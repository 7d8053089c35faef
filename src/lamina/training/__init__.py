"""Compiling, fitting, evaluating and predicting, on named batches."""

from lamina.callbacks import snapshot as snapshot  # what `fit(resume=)` stores
