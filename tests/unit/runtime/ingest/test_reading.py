"""What of a report's body is read, and what is said of one that is none."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from drumline.api.report import MAX_SPANS, Report
from drumline.runtime.ingest import reading as reading_module
from drumline.runtime.ingest.reading import NotAReportError, Reader

JOB = {"namespace": "ns", "name": "llama", "uid": "job"}


def step(number: int) -> dict[str, Any]:
    return {"kind": "step", "startMs": 10 * number, "durationMs": 10, "step": number}


def body(**fields: Any) -> bytes:
    return orjson.dumps({"version": 1, "job": JOB, "attempt": 1, "sentMs": 99, **fields})


def steps(reader: Reader, data: bytes, pod: str = "pod") -> list[int]:
    return [span.step for span in reader.read(data, pod).report.spans]


def test_only_what_ends_before_is_dropped_and_only_of_that_reporter() -> None:
    reader, spans = Reader(), [step(i) for i in range(5)]
    first = reader.read(body(spans=spans), "pod")
    assert (len(first.report.spans), first.since) == (5, 0)
    reader.hold(first, 30)
    again = reader.read(body(spans=spans, unknown=1), "pod")
    assert again.since == 30
    assert Report.model_validate_json(again.raw()) == Report.model_validate_json(body(spans=spans[2:]))
    assert b"unknown" not in again.raw()
    whole = [0, 1, 2, 3, 4]
    assert steps(reader, body(spans=spans), "another") == whole
    for other in (
        {"origin": "x"},
        {"attempt": 2},
        {"epoch": 1},
        {"worker": 1},
        {"slice": 1},
        {"source": "log"},
    ):
        assert steps(reader, body(spans=spans, **other)) == whole
    reader.forget(again)
    assert steps(reader, body(spans=spans)) == whole


def test_later_spans_stay_even_if_they_are_out_of_order() -> None:
    reader = Reader()
    reader.hold(reader.read(body(), "pod"), 30)
    assert steps(reader, body(spans=[step(0), step(4), step(1)])) == [4, 1]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"spans": None}, "spans: "),
        ({"spans": "x"}, "spans: "),
        ({"spans": {"0": step(0)}}, "spans: "),
        ({"spans": [step(0), 5]}, "spans.1: "),
        ({"spans": [step(0), {**step(1), "startMs": "x"}]}, "spans.1.startMs: "),
        ({"spans": [step(0), step(1), step(2), {**step(5), "kind": "nap"}]}, "spans.3.kind: "),
        ({"spans": [step(0)] * (MAX_SPANS + 1)}, "spans: "),
        ({"attempt": [1]}, "attempt: "),
        ({"origin": {}}, "origin: "),
    ],
)
def test_an_error_has_its_place_in_what_was_sent(fields: dict[str, Any], complaint: str) -> None:
    for held in (0, 20):
        reader = Reader()
        reader.hold(reader.read(body(), "pod"), held)
        with pytest.raises(NotAReportError, match=f"^{complaint}"):
            reader.read(body(**fields), "pod")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"1", b"\xff", b'"x"', b"[" * 5000])
def test_what_is_no_object(data: bytes) -> None:
    with pytest.raises(NotAReportError):
        Reader().read(data, "pod")


def test_names_of_fields_as_in_python_are_read_too_but_whole() -> None:
    spans = [{"kind": "step", "start_ms": 10 * i, "duration_ms": 10, "step": i} for i in range(5)]
    reader = Reader()
    reader.hold(reader.read(body(), "pod"), 30)
    found = reader.read(body(spans=spans), "pod")
    assert (len(found.report.spans), found.since) == (5, 0)
    assert found.source != reader.read(body(spans=spans, origin="x"), "pod").source


def test_reporters_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_module, "MOST_REPORTERS", 2)
    reader = Reader()
    for pod in ("a", "b", "c"):
        reader.hold(reader.read(body(), pod), 30)
    assert [reader.read(body(), pod).since for pod in ("a", "b", "c")] == [0, 30, 30]
