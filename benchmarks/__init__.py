"""Benchmarks: how fast the engine is beside its peers and beside the limit of the machine.

`python -m benchmarks --help` says how to run them, README.md how they measure.
"""
