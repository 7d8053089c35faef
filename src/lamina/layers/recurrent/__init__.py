"""Layers that run over time: cells, what drives them, and two wrappers."""
