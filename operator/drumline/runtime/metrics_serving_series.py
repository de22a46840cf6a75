"""The series of InferenceServices: those from their status, kept for a while, and those of what engines say now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from typing import Final

from drumline.core.inference.signals import Signals
from drumline.runtime.metrics_kept import Kept, Subject
from drumline.runtime.metrics_serving import OF_SERVICES, rows_of
from drumline.runtime.metrics_serving_live import LIVE, live_rows
from drumline.runtime.metrics_text import Family
from drumline.runtime.service_records import ServiceRecord

MAX_SERVICES: Final = 1000  # with series of their own


class ServiceSeries:
    """The series of all services. `signals_of` gives what is known of a uid, `now` Unix seconds."""

    def __init__(
        self,
        services: Callable[[], Collection[ServiceRecord]],
        signals_of: Callable[[str], Signals],
        now: Callable[[], float],
        most: int = MAX_SERVICES,
    ) -> None:
        self._kept = Kept(Subject(families=OF_SERVICES, records=services, rows=rows_of), now, most)
        self._signals_of = signals_of

    def lines(self) -> Iterator[str]:
        """Every family with its samples."""
        self._kept.look()
        yield from self._kept.lines()
        if not self._kept.summed:
            yield from self._live()

    def _live(self) -> Iterator[str]:
        lines: dict[Family, list[str]] = defaultdict(list)
        for key, known in self._kept.known.items():
            if known.gone_at is None:
                for family, labels, value in live_rows(self._signals_of(known.record.meta.uid)):
                    lines[family].append(family.line((*key, *labels), value))
        for family in LIVE:
            yield family.head
            yield from lines[family]
