"""Benchmarks: how fast the engine is beside its peers and beside the machine's roofline.

`python -m benchmarks --help` says how to run them, README.md how they measure.
"""
