"""The alerts and recording rules, judged by Prometheus' own promtool."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster import build

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts" / "drumline" / "rules" / "drumline.yaml"
TESTS = ROOT / "tests" / "rules"


def spec() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["spec"]
    return found


def rules(kind: str) -> list[dict[str, Any]]:
    return [rule for group in spec()["groups"] for rule in group["rules"] if kind in rule]


def promtool(*arguments: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(build.binary("promtool")), *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def rule_file(tmp_path: Path) -> Path:
    """What promtool reads: the groups, without the wrapping of the resource."""
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(spec()), encoding="utf-8")
    return path


def test_rules_are_well_formed(rule_file: Path) -> None:
    output = promtool("check", "rules", "--lint=all", "--lint-fatal", str(rule_file))
    assert f"SUCCESS: {len(rules('alert')) + len(rules('record'))} rules found" in output


@pytest.mark.parametrize("name", sorted(path.stem for path in TESTS.glob("*.yaml")))
def test_rules_say_what_they_should(rule_file: Path, name: str) -> None:
    (rule_file.parent / "tests.yaml").write_text((TESTS / f"{name}.yaml").read_text(encoding="utf-8"))
    assert "SUCCESS" in promtool("test", "rules", "tests.yaml", cwd=rule_file.parent)


def test_every_alert_is_tested_firing_quiet_and_without_series() -> None:
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in TESTS.glob("alerts*.yaml")]
    tests = {test["name"] for file in files for test in file["tests"]}
    wanted = {
        f"{rule['alert']} {how}"
        for rule in rules("alert")
        for how in ("fires", "stays quiet", "without series")
    }
    assert tests == wanted


def test_every_recording_rule_is_tested() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in TESTS.glob("recording*.yaml"))
    assert [rule["record"] for rule in rules("record") if rule["record"] not in text] == []


def test_every_alert_has_a_runbook() -> None:
    for rule in rules("alert"):
        page = ROOT / rule["annotations"]["runbook_url"]
        assert page.name == f"{rule['alert']}.md"
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {rule['alert']}\n")
        for heading in ("## Meaning", "## Diagnosis", "## Mitigation"):
            assert heading in text, f"{page.name}: {heading}"
