"""Benchmarks: the operator against a raw client, on one control plane, in one run."""
