"""What a scenario cost: seconds, the operator's CPU and memory, and writes by whom."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from e2e.bench.client import RawClient

WRITES = (
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "apply",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
)
_SAMPLE = re.compile(r"^([a-zA-Z_:]+)\{(.*)\}\s+([0-9.eE+-]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Usage:
    """A process at one moment. CPU in seconds, RSS peak in bytes."""

    cpu: float
    rss_peak: int


def usage(pid: int) -> Usage:
    """Read from /proc. Raises FileNotFoundError when the process is gone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    status = Path(f"/proc/{pid}/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    return Usage((int(fields[11]) + int(fields[12])) / ticks, int(peak.group(1)) * 1024 if peak else 0)


async def operator_writes(metrics_url: str) -> int:
    """Write requests of the operator so far, its lease left out."""
    async with aiohttp.ClientSession() as session, session.get(metrics_url) as answer:
        return _writes(await answer.text(), "drumline_api_requests_total")


async def all_writes(client: RawClient) -> int:
    """Write requests that the API server has answered so far, leases left out."""
    return _writes(await client.request("GET", "/metrics"), "apiserver_request_total")


def _writes(text: str, metric: str) -> int:
    total = 0.0
    for name, labels_text, value in _SAMPLE.findall(text):
        labels = dict(_LABEL.findall(labels_text))
        if name == metric and labels.get("verb") in WRITES and labels.get("resource") != "leases":
            total += float(value)
    return round(total)
