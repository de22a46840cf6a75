"""The documents say what the code does: names that stand in both are compared."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from drumline.api.reasons import Cause, ConditionType
from drumline.core.gang.failures import INFRASTRUCTURE
from drumline.core.training.decide import POLICIES
from drumline.runtime.config import Config

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def section(document: str, heading: str) -> str:
    """The text from that heading to the next of its level."""
    level, text = heading.partition(" ")[0], (DOCS / document).read_text()
    start = text.index(f"{heading}\n")
    end = re.search(rf"^{level} ", text[start + len(heading) :], re.MULTILINE)
    return text[start : start + len(heading) + end.start()] if end else text[start:]


def test_architecture_lists_the_policies_in_their_order() -> None:
    quoted = re.search(
        r"^ *> (leave alone.*?)\n\n", (DOCS / "architecture.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert quoted is not None
    names = [name.strip() for name in quoted[1].replace(">", "").replace("\n", " ").split("→")]
    assert names == [policy.__name__.replace("_", " ") for policy in POLICIES]


def test_the_charts_settings_are_the_operators() -> None:
    values = yaml.safe_load((ROOT / "charts" / "drumline" / "values.yaml").read_text())
    names = {re.sub(r"_(\w)", lambda m: m[1].upper(), field.name) for field in fields(Config)}
    elsewhere = {
        "kubeconfig",
        "namespace",
        "leaseNamespace",
        "leaseName",
        "metricsHost",
        "metricsPort",
        "catalog",
        "catalogConfigMap",
        "reportUrl",
        "launcherImage",
        "progressLogs",
        "reportSocket",
        "ingestHost",
        "ingestPort",
        "ingestService",
        "revision",
        "gateway",
        "taintBadNodes",
    }
    assert set(values["settings"]) == names - elsewhere


def test_troubleshooting_says_which_causes_spend_the_budget() -> None:
    row = re.search(r"^\| (Appl.*?) \| (.*?) \|$", section("troubleshooting.md", "## Causes"), re.MULTILINE)
    assert row is not None
    counted, free = (set(cell.split(", ")) for cell in row.groups())
    assert free == {str(c) for c in INFRASTRUCTURE}
    assert counted == {str(c) for c in Cause} - free - {"GangTimeout"}


def test_troubleshooting_explains_every_condition() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    assert rows == [str(c) for c in ConditionType]


@pytest.mark.parametrize("document", ["README.md", "docs/operations.md", "docs/progress.md"])
def test_yaml_in_documents_is_yaml(document: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    assert blocks
    assert all(yaml.safe_load(block) for block in blocks)
