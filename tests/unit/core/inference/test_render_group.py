"""The pods of a group: who they are, what holds them together, what the profile changes."""

from typing import Any

import pytest

from drumline.api.meta import IN_SERVICE
from drumline.core.inference.observation import Settings
from drumline.core.inference.render import metrics_endpoint, port_of
from tests.unit.core.inference import services
from tests.unit.core.inference.rendered import (
    H100,
    MODEL,
    REVISION,
    args,
    engine,
    env,
    prepared,
    role,
    spec,
    template,
)

LEADER = template(command=["lead"])


def tolerations(raw: dict[str, Any]) -> dict[str, Any]:
    return {t["key"]: t.get("tolerationSeconds") for t in prepared(raw).pod(0, None)["spec"]["tolerations"]}


class TestIdentity:
    def test_name_host_and_labels(self) -> None:
        group = prepared(spec(role("decode", groupSize=2), queue="research"))
        pod = group.pod(1, "n1")
        assert (group.size, group.name_of(1), group.hostname_of(1)) == (
            2,
            "chat-decode-2-3-1",
            "chat-decode-3-1",
        )
        assert pod["metadata"]["name"] == "chat-decode-2-3-1"
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("chat-decode-3-1", "chat-peers")
        assert pod["metadata"]["labels"] == {
            "app.kubernetes.io/name": "inferenceservice",
            "app.kubernetes.io/instance": "chat",
            "app.kubernetes.io/component": "decode",
            "app.kubernetes.io/managed-by": "drumline",
            "drumline.dev/service": "chat",
            "drumline.dev/service-uid": "uid-1",
            "drumline.dev/role": "decode",
            "drumline.dev/group": "3",
            "drumline.dev/worker": "1",
            "drumline.dev/attempt": "2",
            "drumline.dev/revision": REVISION,
            "drumline.dev/queue": "research",
        }

    def test_the_service_owns_the_pod(self) -> None:
        [owner] = prepared(spec()).pod(0, None)["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("InferenceService", "uid-1", True)

    @pytest.mark.parametrize("worker", [-1, 1])
    def test_beyond_the_group_there_is_nobody(self, worker: int) -> None:
        with pytest.raises(IndexError, match="chat-serve-2-3-0"):
            prepared(spec()).pod(worker, None)

    def test_a_role_that_is_not_there_is_an_error(self) -> None:
        with pytest.raises(KeyError, match="draft"):
            prepared(spec(), "draft")


class TestGang:
    def test_only_the_leader_waits_for_its_gate(self) -> None:
        group = prepared(spec(role(groupSize=2)))
        assert group.pod(0, None)["spec"]["readinessGates"] == [{"conditionType": IN_SERVICE}]
        assert "readinessGates" not in group.pod(1, None)["spec"]

    def test_the_leader_may_have_a_template_of_its_own(self) -> None:
        raw = spec(role(groupSize=2, leaderTemplate=LEADER, template=template(command=["work"])))
        assert (engine(raw)["command"], engine(raw, worker=1)["command"]) == (["lead"], ["work"])

    @pytest.mark.parametrize("node", [None, ""])
    def test_without_a_node_the_scheduler_chooses(self, node: str | None) -> None:
        assert "affinity" not in prepared(spec()).pod(0, node)["spec"]

    def test_a_node_pins(self) -> None:
        required = prepared(spec()).pod(0, "n1")["spec"]["affinity"]["nodeAffinity"]
        [terms] = (r["nodeSelectorTerms"] for r in required.values())
        assert terms[0]["matchFields"][0]["values"] == ["n1"]

    def test_a_standard_pod_is_left_to_the_operator(self) -> None:
        pod = prepared(spec(), settings=Settings(node_loss_seconds=45)).pod(0, None)["spec"]
        assert pod["restartPolicy"] == "Never"
        assert {t["tolerationSeconds"] for t in pod["tolerations"]} == {45}

    def test_an_edge_pod_is_left_to_its_kubelet_and_its_node(self) -> None:
        raw = spec(profile="edge")
        assert prepared(raw).pod(0, "")["spec"]["restartPolicy"] == "Always"
        assert tolerations(raw) == {
            "node.kubernetes.io/not-ready": None,
            "node.kubernetes.io/unreachable": None,
        }

    def test_nothing_has_to_be_there_first(self) -> None:
        tpu = {"type": "tpu-v5p", "topology": "4x4x4"}
        assert prepared(spec(role(accelerator=tpu))).shared() == ()


class TestAccelerator:
    def test_chips_selector_and_toleration(self) -> None:
        pod = prepared(spec(role(accelerator={**H100, "chipsPerWorker": 4}))).pod(0, None)["spec"]
        assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "4"}
        assert pod["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}
        assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"

    def test_a_variant_computes_on_something_else(self) -> None:
        raw = spec(
            role(accelerator=H100, variants=[{"accelerator": {"type": "nvidia-l4", "chipsPerWorker": 1}}])
        )
        pod = prepared(raw, variant=1).pod(0, None)["spec"]
        assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "1"}
        assert pod["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-l4"}
        with pytest.raises(IndexError):
            prepared(raw, variant=2)

    def test_a_users_own_limit_stands(self) -> None:
        own = {"limits": {"nvidia.com/gpu": 2}}
        raw = spec(role(accelerator=H100, template=template(resources=own)))
        assert engine(raw)["resources"] == own

    def test_cpu_adds_nothing(self) -> None:
        pod = prepared(spec()).pod(0, None)["spec"]
        assert "nodeSelector" not in pod
        assert "resources" not in pod["containers"][0]


class TestRenderHash:
    def test_is_the_same_for_the_same(self) -> None:
        assert prepared(spec()).render_hash == prepared(spec()).render_hash

    def test_sees_the_leader_and_the_workers(self) -> None:
        plain = spec(role(groupSize=2))
        hashes = {
            prepared(plain).render_hash,
            prepared(spec(role(groupSize=2, leaderTemplate=LEADER))).render_hash,
            prepared(spec(role(groupSize=2, leaderTemplate=template(), template=LEADER))).render_hash,
            prepared(plain, settings=Settings(node_loss_seconds=1)).render_hash,
        }
        assert len(hashes) == 4


class TestPort:
    @pytest.mark.parametrize(
        ("engine_name", "changes", "expected"),
        [
            ("vllm", {"port": 9000}, 9000),
            ("vllm", {}, 8000),
            ("vllm", {"template": template(args=["m", "--port", "9001"])}, 9001),
            ("vllm", {"template": template(args=["--port=9002"])}, 9002),
            ("vllm", {"template": template(args=["--port=$(PORT)"])}, 8000),
            ("vllm", {"template": template(command=["sh", "-c", "vllm serve --port 9003"])}, 8000),
            ("vllm", {"leaderTemplate": template(args=["--port=9004"])}, 9004),
            (
                "llamacpp",
                {"template": template(env=[{"name": "LLAMA_ARG_PORT", "value": "9005"}])},
                9005,
            ),
            ("sglang", {}, 30000),
            ("custom", {"template": template(ports=[{"containerPort": 5000}])}, 5000),
            ("custom", {}, 8000),
        ],
    )
    def test_who_says_the_port(self, engine_name: str, changes: dict[str, Any], expected: int) -> None:
        raw = spec(role(**changes), engine=engine_name, model=MODEL)
        assert port_of(services.parsed(raw), "serve") == expected
        assert env(raw)["DRUMLINE_PORT"] == str(expected)

    def test_where_the_metrics_are(self) -> None:
        vllm = services.parsed(spec(role(port=9000), engine="vllm", model=MODEL))
        triton = services.parsed(spec(role(port=9000), engine="triton", model=MODEL))
        port, path, metrics = metrics_endpoint(vllm, "serve") or (0, "", None)
        assert (port, path) == (9000, "/metrics")
        assert metrics is not None
        assert metrics.waiting[0].name == "vllm:num_requests_waiting"
        assert (metrics_endpoint(triton, "serve") or (0,))[0] == 8002

    def test_another_port_of_the_users_is_not_said_twice(self) -> None:
        raw = spec(role(template=template(args=["--port=9002"])), engine="vllm", model=MODEL)
        assert [a for a in args(raw) if "port" in a] == ["--port=9002"]
        assert engine(raw)["readinessProbe"]["httpGet"]["port"] == 9002
