"""The dashboards: importable JSON, every panel described, queries over metrics that are documented."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
DASHBOARDS = sorted((ROOT / "charts" / "drumline" / "dashboards").glob("*.json"))
RULES = (ROOT / "charts" / "drumline" / "rules" / "drumline.yaml").read_text(encoding="utf-8")


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def expressions(board: dict[str, Any]) -> list[str]:
    return [t["expr"] for p in board["panels"] for t in p.get("targets", ())]


def test_there_are_four() -> None:
    assert [p.stem for p in DASHBOARDS] == [
        "drumline-capacity",
        "drumline-fleet",
        "drumline-inference",
        "drumline-job",
    ]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.stem)
def test_it_imports_anywhere(path: Path) -> None:
    board = load(path)
    assert board["uid"] == path.stem
    assert board.get("id") is None
    assert 39 <= board["schemaVersion"] <= 41
    assert board["templating"]["list"][0]["type"] == "datasource"
    assert all(p["datasource"]["uid"] == "${datasource}" for p in board["panels"])


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.stem)
def test_every_panel_says_what_it_shows(path: Path) -> None:
    panels = load(path)["panels"]
    assert len({p["title"] for p in panels}) == len(panels)
    for panel in panels:
        assert panel["title"], panel
        assert panel["description"], panel["title"]
        assert panel["targets"], panel["title"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.stem)
def test_recorded_series_that_it_reads_are_recorded(path: Path) -> None:
    recorded = set(re.findall(r"record: (\S+)", RULES))
    read = {name for e in expressions(load(path)) for name in re.findall(r"[a-z_]+:drumline\w*:\w+", e)}
    assert read <= recorded
