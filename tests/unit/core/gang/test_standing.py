"""What a refusal's message says is done for the gang, read as it was written."""

from __future__ import annotations

import pytest

from drumline.core.gang.standing import Standing, kept_nodes, kept_quota, standing_of, waits_for


@pytest.mark.parametrize(
    ("message", "standing"),
    [
        (waits_for("needs 8; 0 free", 1), Standing.SERVED_FIRST),
        (waits_for("needs 8; 0 free", 12), Standing.SERVED_FIRST),
        (waits_for("needs 8; 0 free", 0), Standing.KEPT),
        (kept_nodes("needs 8; 0 free", 3), Standing.KEPT),
        (kept_quota("needs 8; 0 free"), Standing.KEPT),
        ("needs 8; 0 free", None),
        ("", None),
        (waits_for("x", 1) + ", says a template", None),
    ],
)
def test_what_is_done_for_a_gang(message: str, standing: Standing | None) -> None:
    assert standing_of(message) is standing


def test_the_words() -> None:
    assert waits_for("x", 1) == "x; waits for 1 that is to leave"
    assert waits_for("x", 2) == "x; waits for 2 that are to leave"
    assert waits_for("x", 0) == "x; waits for those that are to leave"
