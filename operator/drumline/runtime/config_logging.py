"""Logs: one JSON object a line, each with the job it is about."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import orjson

_job: ContextVar[str] = ContextVar("job", default="")

TEXT_FORMAT: Final = "%(asctime)s %(levelname)-7s %(name)s %(job)s%(message)s"


@contextmanager
def about(namespace: str, name: str) -> Iterator[None]:
    """Whatever is logged inside is about this job."""
    token = _job.set(f"{namespace}/{name}")
    try:
        yield
    finally:
        _job.reset(token)


class JsonFormatter(logging.Formatter):
    """time, level, logger, job, message, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if job := _job.get():
            entry["job"] = job
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str).decode()


class TextFormatter(logging.Formatter):
    """For a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback where there is one."""
        job = _job.get()
        record.job = f"{job}: " if job else ""
        return super().format(record)


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """Send every log to `stream` (standard error), as `form` says: json or text."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(TEXT_FORMAT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("kopf", "aiohttp.access", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
