"""A manifest that is rendered when it is looked at."""

from __future__ import annotations

from typing import Any

from drumline.core.gang.lazy import Lazy, rendered


def test_it_is_what_it_renders_and_renders_nothing_before() -> None:
    calls: list[int] = []

    def pod() -> dict[str, Any]:
        calls.append(1)
        return {"kind": "Pod", "metadata": {"name": "a"}}

    lazy = Lazy(pod)
    assert calls == []
    assert lazy["metadata"]["name"] == "a"
    assert lazy == {"kind": "Pod", "metadata": {"name": "a"}}
    assert len(lazy) == 2
    del calls[:]
    assert rendered(lazy) == pod()
    assert len(calls) == 2


def test_another_manifest_is_itself() -> None:
    plain = {"kind": "Pod"}
    assert rendered(plain) is plain
