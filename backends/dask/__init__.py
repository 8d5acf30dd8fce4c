"""Dask under test: arrays in chunks, on which nothing is computed before it is asked for."""
