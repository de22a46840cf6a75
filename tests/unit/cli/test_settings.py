"""What the commands can know of the operator's settings."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

import pytest
import yaml

from drumline.api.catalog import Catalog
from drumline.cli import cluster
from drumline.cli.settings import Settings, raw, read_settings, settings_of
from drumline.cli.topology_file import add_aging, add_option
from drumline.core.gang.power import Budget
from drumline.core.gang.topology import Topology
from tests.unit.cli.test_queue import WANTED

ACCESS = cluster.Access("", None)
NPU = {"kind": "gpu", "resource": "example.com/npu", "chipsPerHost": 8, "watts": 90}


def maps(
    name: str = "drumline", budgets: Any = (), catalog: Any = None, **settings: Any
) -> list[dict[str, Any]]:
    """The chart's two ConfigMaps."""
    text = yaml.safe_dump({"catalogConfigMap": f"{name}-catalog", **settings})
    data = {"catalog.yaml": yaml.safe_dump(catalog or {}), "power.yaml": yaml.safe_dump(list(budgets))}
    return [
        {"metadata": {"namespace": "system", "name": name}, "data": {"config.yaml": text}},
        {"metadata": {"namespace": "system", "name": f"{name}-catalog"}, "data": data},
    ]


def test_the_settings_of_the_one_operator() -> None:
    budgets = [{"level": "rack", "domain": "r1", "watts": 9000}]
    levels = [{"name": "hall", "levels": [{"name": "rack", "label": "example.com/rack"}]}]
    found = settings_of(maps(budgets=budgets, catalog={"npu": NPU}, aging=3600, topology=levels))
    assert (found.aging, found.source, found.doubt) == (3600.0, "system/drumline", "")
    assert found.topology.level_names()[0] == "rack"
    assert found.power.budgets == (Budget("rack", 9000.0, "r1"),)
    assert (found.catalog["npu"].watts, *(r.watts for r in found.power.ratings if r.type == "npu")) == (
        90,
        90,
    )
    assert raw(found) == {"agingSeconds": 3600.0, "from": "system/drumline", "doubt": None}


def test_defaults_hold_where_nothing_is_said() -> None:
    found = settings_of(maps())
    assert (found.aging, found.topology, found.power.budgets) == (86_400.0, Topology(), ())
    assert {**found.catalog} == {**Catalog.default()}


@pytest.mark.parametrize(
    ("documents", "doubt"),
    [
        ([], "are not known: there is no ConfigMap with them"),
        ([*maps("a"), *maps("b")], "there are several operators (system/a, system/b)"),
        (maps()[:1], "the catalogue is not known: there is no ConfigMap system/drumline-catalog"),
        (maps(catalog={"npu": {"kind": "x"}}), "can't be read: ConfigMap system/drumline-catalog: "),
        (maps(budgets=[{"level": "moon", "watts": 1}]), "given 'moon'; allowed: "),
        (maps(aging="soon"), "can't be read: ConfigMap system/drumline: could not convert"),
        (maps(topology=[{"preset": "galaxy"}]), "ConfigMap system/drumline: topology[0]"),
    ],
)
def test_what_cannot_be_told_is_said(documents: list[dict[str, Any]], doubt: str) -> None:
    found = settings_of(documents)
    assert doubt in found.doubt
    assert (found.aging, found.power.budgets) == (86_400.0, ())


def test_a_user_who_may_not_read_them_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise cluster.RefusedError("configmaps is forbidden")

    monkeypatch.setattr(cluster, "list_each", refuse)
    assert read_settings(ACCESS).doubt == "the operator's settings can't be read: configmaps is forbidden"


def test_they_are_found_by_the_charts_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        cluster, "list_each", lambda _, resources: asked.append(resources) or {"configmaps": maps(aging=5)}
    )
    assert read_settings(ACCESS).aging == 5
    assert asked == [{"configmaps": "app.kubernetes.io/name=drumline,app.kubernetes.io/component=operator"}]
    assert "configmaps" not in WANTED, "whoever may not list them sees the rest all the same"


def test_options_go_before() -> None:
    flat = Topology(())
    found = Settings(aging=5.0).given(aging=0.0, topology=flat)
    assert (found.aging, found.topology) == (0.0, flat)
    assert Settings(aging=5.0).given() == Settings(aging=5.0)


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "soon"])
def test_patience_is_a_number_of_seconds(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = ArgumentParser()
    add_aging(parser)
    add_option(parser)
    assert parser.parse_args(["--aging", "60"]).aging == 60.0
    assert parser.parse_args([]).aging is None
    with pytest.raises(SystemExit):
        parser.parse_args([f"--aging={text}"])
    assert f"given '{text}'; allowed: seconds, 0 or more" in capsys.readouterr().err
