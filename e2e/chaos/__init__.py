"""Faults by the seed, against a real control plane and against a model of one; see docs/operations.md."""
