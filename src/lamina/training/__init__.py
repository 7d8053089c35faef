"""Training: what `compile` was given, the step, the loop, progress, callbacks."""
