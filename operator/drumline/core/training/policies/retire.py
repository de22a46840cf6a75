"""Pods of attempts that are over go, all at once, and what their backend has of them; no new attempt's names wait."""

from __future__ import annotations

from drumline.core.training.backing import retired
from drumline.core.training.view import View, deletions


def retire(view: View) -> View:
    """Delete every pod that is not of the running attempt."""
    keep = view.status.attempt if view.live else None
    old = [p for p in view.obs.pods.values() if p.member is None or p.member.attempt != keep]
    return retired(view.act(*deletions(old)), keep)
