"""Training: what `compile` was told, the step, the loop, progress, callbacks."""
