"""The report: well-formed, self-contained, escaped, and with every figure."""

import json
import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from drumline.cli import goodput_svg as svg
from drumline.cli.goodput_html import page
from drumline.cli.goodput_view import view_of
from drumline.cli.main import main
from drumline.cli.palette import look
from tests.unit.cli.goodput_sample import ATTEMPTS, job

SVG = "{http://www.w3.org/2000/svg}"


def parsed(**goodput: Any) -> ET.Element:
    """The page as XML: it is written so that it is that too."""
    return ET.fromstring(page(view_of(job(**goodput))))


def test_it_is_well_formed_and_says_what_it_is_of() -> None:
    root = parsed()
    assert root.findtext("head/title") == "research/llama: goodput"
    assert [h.text for h in root.iter("h2")] == [
        "Over time",
        "States",
        "Derived figures",
        "Attempts",
        "Steps",
    ]


def test_it_needs_no_network_and_no_script() -> None:
    text = page(view_of(job()))
    assert not re.search(r"<(script|link|img|iframe)\b|@import|url\(", text)
    assert re.findall(r"https?://[^\"' ]+", text) == ["http://www.w3.org/2000/svg"] * 2


def test_light_and_dark() -> None:
    assert "prefers-color-scheme: dark" in page(view_of(job()))


def test_what_the_object_says_is_escaped() -> None:
    hostile = '"><script>alert(1)</script>'
    manifest = job(hostile, namespace=hostile, timeline=[f"{hostile}:1000:1"], tokensPerSecond=hostile[:24])
    manifest["spec"]["accelerator"]["type"] = hostile
    manifest["status"]["goodput"]["states"] = [{"state": hostile, "ms": 5}]
    manifest["status"]["goodput"]["ratios"] = [{"name": hostile, "value": "x", "source": "<b>"}]
    manifest["status"]["attempts"] = [{**ATTEMPTS[0], "cause": hostile, "pod": hostile, "startedAt": hostile}]
    text = page(view_of(manifest))
    root = ET.fromstring(text)
    assert "<script" not in text
    assert not list(root.iter("script"))
    assert root.findtext("body/h1") == f"{hostile}/{hostile}"


def test_the_timeline_is_drawn_to_scale() -> None:
    drawing = ET.fromstring(svg.timeline(view_of(job())))
    rects = list(drawing.iter(f"{SVG}rect"))
    widths = [float(rect.get("width", "")) for rect in rects]
    # of 14,400,000 ms in 1000 units: 120 s → 8.33, 160 s → 11.11, 7,500 s → 520.83, 6,460 s → 448.61
    assert widths == [8.33, 11.11, 520.83, 11.11, 448.61]
    assert rects[2].get("fill") == look("productive").colour
    assert rects[2].findtext(f"{SVG}title") == "productive, 7,500.000 s from 280.000 s on, attempt 1"
    assert drawing.get("role") == "img"
    assert drawing.get("aria-label") == "What most workers did over 4h 00m, 2 attempts"


def test_attempts_and_hours_are_marked() -> None:
    texts = [t.text for t in ET.fromstring(svg.timeline(view_of(job()))).iter(f"{SVG}text")]
    assert texts == ["attempt 1", "attempt 2", "0:00", "1:00:00", "2:00:00", "3:00:00", "4:00:00"]


def test_labels_of_attempts_never_overlap() -> None:
    timeline = [f"productive:{100_000 if n == 60 else 1000}:{n}" for n in range(1, 61)]
    drawing = ET.fromstring(svg.timeline(view_of(job(timeline=timeline))))
    labels = [t for t in drawing.iter(f"{SVG}text") if (t.text or "").startswith("attempt")]
    places = [float(label.get("x", "")) for label in labels if label.get("anchor") != "end"]
    assert 1 < len(labels) < 60
    assert all(b - a > 60 for a, b in pairwise(places))


@pytest.mark.parametrize("days", [1, 30, 400])
def test_long_jobs_have_few_ticks(days: int) -> None:
    drawing = svg.timeline(view_of(job(timeline=[f"productive:{days * 86_400_000}:1"])))
    assert 3 <= drawing.count('class="tick"') <= 8


def test_a_job_without_a_timeline_has_a_report_too() -> None:
    root = parsed(timeline=[], states=[], provisionalMs=0, elapsedMs=0, ratios=[], step=-1, stepTimes={})
    assert [h.text for h in root.iter("h2")] == ["States", "Attempts"]


def test_lines_of_the_timeline_that_cannot_be_read_are_left_out() -> None:
    view = view_of(job(timeline=["garbage", "productive:x:1", "a:1:b", "productive:5:1"]))
    assert [(s.state, s.ms) for s in view.timeline] == [("productive", 5)]


def test_it_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, target = tmp_path / "job.json", tmp_path / "report.html"
    file.write_text(json.dumps(job()))
    assert main(["goodput", "-f", str(file), "--html", str(target)]) == 0
    assert target.read_text().startswith("<!DOCTYPE html>")
    assert main(["goodput", "-f", str(file), "--html", "-"]) == 0
    assert capsys.readouterr().out == target.read_text()
