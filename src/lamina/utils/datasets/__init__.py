"""Data sets made of folders of files and of arrays.

Nothing here imports JAX at its top: worker processes read files with it.
"""
