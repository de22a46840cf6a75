"""What a real Prometheus has, against what the documents, the dashboards and the rules promise."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections.abc import Collection, Mapping
from typing import Any

from e2e.cluster import build
from e2e.cluster.prometheus import ROOT, Prometheus

DASHBOARDS = {
    path.stem.removeprefix("drumline-"): path
    for path in (ROOT / "charts" / "drumline" / "dashboards").glob("*.json")
}
DOCUMENTED = re.compile(r"^\| `(drumline_\w+)` \| (\w+) \|", re.MULTILINE)
SERVING = "drumline_serving_"
SECONDS = 200  # a status with an account is written every 30 seconds; two of them make a rate


def missing_metrics(prometheus: Prometheus, *, serving: bool) -> set[str]:
    """Documented metrics that it has not seen: those of InferenceServices, or all others."""
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    found = prometheus.names()
    suffix = {"histogram": "_bucket", "counter": "", "gauge": ""}
    wanted = ((n, kind) for n, kind in DOCUMENTED.findall(text) if n.startswith(SERVING) is serving)
    return {name for name, kind in wanted if name + suffix[kind] not in found}


def silent_panels(
    prometheus: Prometheus, dashboards: Collection[str], variables: Mapping[str, str]
) -> set[str]:
    """Panels of which some query returns nothing."""
    silent = set()
    for name in dashboards:
        for panel in json.loads(DASHBOARDS[name].read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                query = target["expr"]
                for variable, value in variables.items():
                    query = query.replace(f"${variable}", value)
                if not prometheus.query(query):
                    silent.add(f"{name}/{panel['title']}: {query}")
    return silent


def unhealthy(prometheus: Prometheus) -> list[tuple[str, Any]]:
    """Rules that could not be evaluated."""
    return [
        (r["name"], r.get("lastError")) for r in prometheus.rules() if r["health"] not in ("ok", "unknown")
    ]


def lint(metrics: str) -> subprocess.CompletedProcess[str]:
    """promtool's judgement."""
    command = [str(build.binary("promtool")), "check", "metrics"]
    return subprocess.run(command, input=metrics, capture_output=True, text=True, check=False)


async def until_empty(what: Any, *arguments: Any, **named: Any) -> None:
    """Until `what` returns nothing; AssertionError with what is left."""
    deadline = time.monotonic() + SECONDS
    while left := await asyncio.to_thread(what, *arguments, **named):
        assert time.monotonic() < deadline, f"after {SECONDS} s: {sorted(left)}"
        await asyncio.sleep(2)
