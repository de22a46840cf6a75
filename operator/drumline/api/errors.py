"""What is wrong with a field: the one form in which bad input is reported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class FieldError:
    """A refused field: its path on the wire, and what was given and what is allowed there.

    `path` is written as in the manifest, ``spec.helpers[0].name``; for a ConfigMap of the catalogue it
    begins with the entry's key.
    """

    path: str
    message: str

    def __str__(self) -> str:
        """Path and message: ``spec.accelerator.type: unknown accelerator 'h100'; allowed: …``."""
        return f"{self.path}: {self.message}"
