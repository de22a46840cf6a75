"""The operator's own objects: pod security, settings, and what values switch on and off."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import yaml

from drumline.api.catalog import Catalog
from drumline.api.meta import WORKER_PRIORITY_CLASS
from drumline.api.report import REPORT_PATH
from drumline.cli import settings as plugin
from drumline.runtime import config
from tests.unit.charts.conftest import NAMESPACE, Manifest, Render, every, one


def pod_of(manifests: list[Manifest]) -> Manifest:
    found: Manifest = one(manifests, "Deployment")["spec"]["template"]
    return found


def settings_of(manifests: list[Manifest]) -> Manifest:
    data = one(manifests, "ConfigMap", "drumline")["data"]
    found: Manifest = yaml.safe_load(data["config.yaml"])
    return found


def load(manifests: list[Manifest], folder: Any) -> config.Config:
    for name, text in one(manifests, "ConfigMap", "drumline")["data"].items():
        (folder / name).write_text(text)
    return config.load(["--config", str(folder / "config.yaml")], {})


def test_the_commands_of_the_plugin_find_the_settings(render: Render) -> None:
    budgets = [{"level": "block", "watts": 120000}]
    values = {"settings": {"aging": 60}, "powerBudgets": budgets, "catalog": {"nvidia-l4": {"watts": 80}}}
    labels = dict(pair.split("=") for pair in plugin.SELECTOR.split(","))
    maps = [
        m for m in every(render(values), "ConfigMap") if labels.items() <= m["metadata"]["labels"].items()
    ]
    found = plugin.settings_of(maps)
    assert (found.doubt, found.source, found.aging) == ("", f"{NAMESPACE}/drumline", 60.0)
    assert [(b.level, b.watts) for b in found.power.budgets] == [("block", 120_000.0)]
    assert found.catalog["nvidia-l4"].watts == 80


def test_the_pod_meets_the_restricted_level(default: list[Manifest]) -> None:
    spec = pod_of(default)["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    for container in spec["containers"] + spec.get("initContainers", []):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert all("hostPort" not in port for port in container["ports"])
    assert {k for v in spec["volumes"] for k in v if k != "name"} <= {"configMap", "emptyDir"}


def test_probes_and_metrics_share_the_named_port(default: list[Manifest]) -> None:
    container = pod_of(default)["spec"]["containers"][0]
    assert container["ports"] == [{"name": "metrics", "containerPort": 8080}]
    for probe, path in (
        ("livenessProbe", "/healthz"),
        ("readinessProbe", "/readyz"),
        ("startupProbe", "/healthz"),
    ):
        assert container[probe]["httpGet"] == {"path": path, "port": "metrics"}
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    service = one(default, "Service", "drumline-metrics")
    assert service["spec"]["ports"][0]["targetPort"] == "metrics"


def test_the_ingest_is_a_container_beside_the_operator(render: Render, tmp_path: Any) -> None:
    manifests = render({"ingest": {"port": 9443}})
    operator, ingest = pod_of(manifests)["spec"]["containers"]
    assert ingest["image"] == operator["image"]
    assert ingest["args"][0] == "ingest"
    assert ingest["ports"] == [{"name": "reports", "containerPort": 9443}]
    for probe in ("livenessProbe", "startupProbe"):
        assert ingest[probe]["httpGet"] == {"path": "/healthz", "port": "reports", "scheme": "HTTPS"}
    loaded = load(manifests, tmp_path)
    (port,) = one(manifests, "Service", loaded.ingest_service)["spec"]["ports"]
    assert (port["port"], port["targetPort"], loaded.ingest_port) == (9443, "reports", 9443)
    folder = loaded.report_socket.rpartition("/")[0]
    shared = {"name": "reports", "mountPath": folder}
    assert shared in operator["volumeMounts"]
    assert shared in ingest["volumeMounts"]
    assert loaded.report_url == f"https://{loaded.ingest_service}.{NAMESPACE}.svc:9443{REPORT_PATH}"


def test_without_the_ingest_nothing_of_it_is_there(render: Render, tmp_path: Any) -> None:
    manifests = render({"ingest": {"enabled": False}, "networkPolicy": {"enabled": True}})
    assert [c["name"] for c in pod_of(manifests)["spec"]["containers"]] == ["operator"]
    assert not [m for m in manifests if "ingest" in m["metadata"]["name"]]
    loaded = load(manifests, tmp_path)
    assert (loaded.report_socket, loaded.report_url) == ("", "")
    assert len(one(manifests, "NetworkPolicy")["spec"]["ingress"]) == 1


def test_the_secret_comes_empty(default: list[Manifest], tmp_path: Any) -> None:
    secret = one(default, "Secret")
    assert secret["metadata"]["name"] == load(default, tmp_path).ingest_service
    assert not secret.keys() & {"data", "stringData"}


def test_no_service_of_the_namespace_sets_the_operators_environment(default: list[Manifest]) -> None:
    # the chart's own Service would otherwise give it DRUMLINE_METRICS_PORT, with a URL in it
    assert pod_of(default)["spec"]["enableServiceLinks"] is False


def test_selectors_match_the_pod(default: list[Manifest]) -> None:
    labels = pod_of(default)["metadata"]["labels"].items()
    selector = one(default, "Deployment")["spec"]["selector"]["matchLabels"]
    assert selector.items() <= labels
    assert [s["spec"]["selector"] for s in every(default, "Service")] == [selector, selector]
    assert not [k for k in selector if "version" in k or "chart" in k]


def test_the_operator_reads_the_settings_of_the_chart(default: list[Manifest], tmp_path: Any) -> None:
    loaded = load(default, tmp_path)
    ours = {"namespace", "lease_namespace", "lease_name", "metrics_port", "kubeconfig", "catalog_config_map"}
    ours |= {"report_socket", "report_url", "launcher_image", "topology"}
    assert loaded.hierarchies == config.Config().hierarchies
    for field in fields(config.Config):
        if field.name not in ours:
            assert getattr(loaded, field.name) == field.default, field.name
    assert loaded.lease_namespace == NAMESPACE
    assert loaded.lease_name == "drumline"


def test_settings_reach_the_operator(render: Render, tmp_path: Any) -> None:
    values = {
        "namespace": "team-a",
        "metrics": {"port": 9000},
        "settings": {"discovery": "Endpoints", "headWait": 1.5, "writeQps": 1000000, "writeBurst": 100000},
    }
    loaded = load(render(values), tmp_path)
    assert (loaded.namespace, loaded.metrics_port, loaded.discovery) == ("team-a", 9000, "Endpoints")
    assert (loaded.head_wait, loaded.write_qps, loaded.write_burst) == (1.5, 1e6, 100000)


def test_changed_settings_roll_the_pods(render: Render, default: list[Manifest]) -> None:
    changed = render({"settings": {"headWait": 10}})
    hashes = [pod_of(m)["metadata"]["annotations"]["drumline.dev/config-hash"] for m in (default, changed)]
    assert hashes[0] != hashes[1]


def test_a_catalogue_keeps_its_large_numbers(render: Render, tmp_path: Any) -> None:
    chip = {
        "kind": "gpu",
        "resource": "a.b/c",
        "chipsPerHost": 8,
        "hbmBytes": 80_000_000_000,
        "peakFlops": {"bf16": 989e12},
    }
    manifests = render({"catalog": {"my-chip": chip}})
    name = load(manifests, tmp_path).catalog_config_map
    read = yaml.safe_load(one(manifests, "ConfigMap", name)["data"]["catalog.yaml"])
    assert read == {"my-chip": chip}
    assert Catalog.default().merged(read)["my-chip"].hbm_bytes == 80_000_000_000


def test_a_changed_catalogue_rolls_nothing(render: Render, default: list[Manifest]) -> None:
    changed = render({"catalog": {"my-chip": {"kind": "gpu", "chipsPerHost": 8}}})
    assert one(changed, "Deployment") == one(default, "Deployment")


def test_the_catalogue_may_be_watched_by_its_name_only(default: list[Manifest], tmp_path: Any) -> None:
    watch, say = one(default, "Role", "drumline-catalog")["rules"]
    assert watch["resourceNames"] == [load(default, tmp_path).catalog_config_map]
    assert (watch["resources"], watch["verbs"]) == (["configmaps"], ["get", "list", "watch"])
    assert (say["resources"], say["verbs"]) == (["events"], ["create"])


def test_workers_never_preempt(default: list[Manifest]) -> None:
    found = one(default, "PriorityClass", WORKER_PRIORITY_CLASS)
    assert found["preemptionPolicy"] == "Never"
    assert found["globalDefault"] is False


@pytest.mark.parametrize(
    ("values", "kind", "count"),
    [
        ({"priorityClass": {"create": False}}, "PriorityClass", 0),
        ({"priorityClass": {"value": 1_000_000}}, "PriorityClass", 1),
        ({"flowSchema": {"enabled": False}}, "FlowSchema", 0),
        ({}, "Service", 2),
        ({"metrics": {"service": False}}, "Service", 1),
        ({"metrics": {"service": False}, "ingest": {"enabled": False}}, "Service", 0),
        ({"ingest": {"enabled": False}}, "Secret", 0),
        ({}, "PodMonitor", 0),
        ({"metrics": {"podMonitor": {"enabled": True}}}, "PodMonitor", 1),
        ({}, "NetworkPolicy", 0),
        ({"networkPolicy": {"enabled": True}}, "NetworkPolicy", 1),
        ({}, "PodDisruptionBudget", 0),
        ({"replicas": 2}, "PodDisruptionBudget", 1),
    ],
)
def test_values_switch_objects(render: Render, values: dict[str, Any], kind: str, count: int) -> None:
    assert len(every(render(values), kind)) == count


def test_large_integers_stay_integers(render: Render) -> None:
    found = one(render({"priorityClass": {"value": 1_000_000}}), "PriorityClass")
    assert found["value"] == 1_000_000


def test_lease_requests_have_their_own_flow(default: list[Manifest]) -> None:
    spec = one(default, "FlowSchema")["spec"]
    assert spec["priorityLevelConfiguration"] == {"name": "leader-election"}
    (rule,) = spec["rules"]
    account = one(default, "ServiceAccount")["metadata"]["name"]
    assert rule["subjects"][0]["serviceAccount"] == {"name": account, "namespace": NAMESPACE}
    assert rule["resourceRules"][0]["resources"] == ["leases"]


def test_a_network_policy_lets_only_metrics_and_reports_in(render: Render) -> None:
    peer, jobs = ({"namespaceSelector": {"matchLabels": {"name": name}}} for name in ("monitoring", "jobs"))
    values = {"enabled": True, "metricsFrom": [peer], "reportsFrom": [jobs]}
    spec = one(render({"networkPolicy": values}), "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    assert spec["ingress"] == [
        {"ports": [{"port": "metrics"}], "from": [peer]},
        {"ports": [{"port": "reports"}], "from": [jobs]},
    ]
    open_ = {"networkPolicy": {"enabled": True, "egress": [{"ports": [{"port": 443}]}]}}
    spec = one(render(open_), "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == [{"ports": [{"port": 443}]}]


def test_the_crds_come_with_the_chart(render: Render) -> None:
    names = {m["metadata"]["name"] for m in every(render(crds=True), "CustomResourceDefinition")}
    assert "trainingjobs.drumline.dev" in names


def test_a_digest_replaces_the_tag(render: Render) -> None:
    digest = "sha256:" + "0" * 64
    container = pod_of(render({"image": {"digest": digest, "tag": "x"}}))["spec"]["containers"][0]
    assert container["image"] == f"drumline/operator@{digest}"
