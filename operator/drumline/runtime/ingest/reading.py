"""A report's body: what of it is news to the operator, checked.

A report repeats every span until it is on record, though the operator holds it long before: of thirty spans one or
two are news. The operator says up to when it holds a reporter's spans (`Accepted.held_ms`); those that end before,
at the beginning of the list, are dropped before anything is checked, which is dearer than to read them. Whatever
goes wrong on this short way, the body is read again as a whole: that finds the error and names the field.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import ValidationError

from drumline.api.report import MAX_SPANS, Report

MOST_REPORTERS: Final = 50_000
_CLOCK: Final = ("attempt", "epoch", "origin", "slice", "worker", "source")  # one reporter, one clock


class NotAReportError(Exception):
    """What is wrong, with the first field that is."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A report without the spans that end before `since`, ms of its reporter's clock."""

    report: Report
    source: Hashable
    since: int

    def raw(self) -> bytes:
        """As JSON."""
        return self.report.model_dump_json(by_alias=True, exclude_defaults=True).encode()


class Reader:
    """Reads reports, and remembers what the operator holds of each reporter."""

    def __init__(self) -> None:
        self._held: OrderedDict[Hashable, int] = OrderedDict()

    def read(self, body: bytes, pod: str) -> Reading:
        """The report in `body`, which the pod of uid `pod` sent. Raises NotAReportError."""
        try:
            return self._news(orjson.loads(body), pod)
        except (ValueError, TypeError, LookupError, AttributeError):
            return self._whole(body, pod)

    def hold(self, reading: Reading, held_ms: int) -> None:
        """What ends before `held_ms` need not come again."""
        self._held[reading.source] = held_ms
        self._held.move_to_end(reading.source)
        if len(self._held) > MOST_REPORTERS:
            self._held.popitem(last=False)

    def forget(self, reading: Reading) -> None:
        """The operator did not take it: the next one is whole."""
        self._held.pop(reading.source, None)

    def _news(self, document: Any, pod: str) -> Reading:
        source = (pod, *map(document.get, _CLOCK))
        since = self._held.get(source, 0)
        spans = document.get("spans", ())
        if since and len(spans) <= MAX_SPANS:
            known = 0
            for span in spans:
                if span["startMs"] + span["durationMs"] >= since:
                    break
                known += 1
            document["spans"] = spans[known:]
        return Reading(Report.model_validate(document), source, since)

    def _whole(self, body: bytes, pod: str) -> Reading:
        try:
            report = Report.model_validate_json(body)
        except ValidationError as error:
            raise NotAReportError(first_error(error)) from error
        return Reading(report, (pod, *(getattr(report, name) for name in _CLOCK)), 0)


def first_error(error: ValidationError) -> str:
    """The first field that is wrong, and what is wrong with it."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in found["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {found['msg']}{more}" if where else f"{found['msg']}{more}"
