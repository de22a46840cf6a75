"""Drumline keeps every accelerator of a Kubernetes cluster in step."""

__version__ = "0.1.0"
