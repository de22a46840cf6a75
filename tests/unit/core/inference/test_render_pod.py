"""What a template is given: probes, port, shutdown, weights; and that the user's own word on each stands."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.inference.rendered import MODEL, engine, prepared, role, spec, template

SHARED = {"name": "drumline-shm", "emptyDir": {"medium": "Memory"}}


def vllm(model: dict[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    return spec(role(template=template(**container)), engine="vllm", model=model or MODEL)


def cached(**changes: Any) -> dict[str, Any]:
    return {"name": "llama", "cache": {"claimName": "weights", **changes}}


class TestProbes:
    def test_the_leader_is_asked_where_the_engine_answers(self) -> None:
        found = engine(vllm())
        assert found["startupProbe"] == {
            "httpGet": {"path": "/health", "port": 8000},
            "periodSeconds": 5,
            "timeoutSeconds": 5,
            "failureThreshold": 720,
        }
        assert found["readinessProbe"]["periodSeconds"] == 2
        assert found["livenessProbe"]["httpGet"] == {"path": "/health", "port": 8000}

    def test_readiness_may_have_a_path_of_its_own(self) -> None:
        found = engine(spec(engine="triton", model=MODEL))
        assert found["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
        assert found["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"

    def test_an_engine_without_http_is_asked_by_tcp(self) -> None:
        found = engine(spec(engine="jetstream", model=MODEL))
        assert found["readinessProbe"]["tcpSocket"] == {"port": 9000}
        assert "livenessProbe" not in found

    def test_a_users_probe_stands_and_the_others_are_ours(self) -> None:
        own = {"exec": {"command": ["true"]}}
        found = engine(vllm(readinessProbe=own))
        assert found["readinessProbe"] == own
        assert "startupProbe" in found

    def test_workers_and_custom_programs_have_none(self) -> None:
        grouped = spec(role(groupSize=2), engine="vllm", model=MODEL)
        for container in (engine(grouped, worker=1), engine(spec())):
            assert not [key for key in container if key.endswith("Probe")]


class TestPort:
    def test_the_leader_has_its_port_under_our_name(self) -> None:
        assert engine(vllm())["ports"] == [{"name": "drumline", "containerPort": 8000, "protocol": "TCP"}]
        assert "ports" not in engine(spec(role(groupSize=2)), worker=1)

    def test_a_users_port_without_a_name_takes_ours(self) -> None:
        assert engine(vllm(ports=[{"containerPort": 8000}]))["ports"] == [
            {"name": "drumline", "containerPort": 8000}
        ]

    def test_a_users_port_with_a_name_keeps_it(self) -> None:
        ports = engine(vllm(ports=[{"name": "http", "containerPort": 8000}]))["ports"]
        assert [p["name"] for p in ports] == ["http", "drumline"]

    def test_a_port_of_ours_by_the_users_hand_stands(self) -> None:
        own = [{"name": "drumline", "containerPort": 7000}]
        assert engine(vllm(ports=own))["ports"] == own

    def test_on_the_hosts_network_a_port_stands_once(self) -> None:
        raw = vllm(ports=[{"name": "http", "containerPort": 8000}])
        raw["roles"][0]["template"]["spec"]["hostNetwork"] = True
        assert engine(raw)["ports"] == [{"name": "drumline", "containerPort": 8000}]


class TestShutdown:
    def test_the_leader_sleeps_before_it_is_told_to_end(self) -> None:
        grouped = spec(role(groupSize=2), engine="vllm", model=MODEL)
        assert engine(grouped)["lifecycle"] == {"preStop": {"sleep": {"seconds": 10}}}
        assert "lifecycle" not in engine(grouped, worker=1)
        assert prepared(grouped).pod(1, None)["spec"]["terminationGracePeriodSeconds"] == 120

    def test_a_users_hook_and_grace_stand(self) -> None:
        hook = {"preStop": {"exec": {"command": ["bye"]}}, "postStart": {"exec": {"command": ["hi"]}}}
        raw = vllm(lifecycle=hook)
        raw["roles"][0]["template"]["spec"]["terminationGracePeriodSeconds"] = 7
        assert engine(raw)["lifecycle"] == hook
        assert prepared(raw).pod(0, None)["spec"]["terminationGracePeriodSeconds"] == 7

    def test_a_users_other_hook_stays(self) -> None:
        hook = {"postStart": {"exec": {"command": ["hi"]}}}
        assert engine(vllm(lifecycle=hook))["lifecycle"] == {**hook, "preStop": {"sleep": {"seconds": 10}}}


class TestWeights:
    def test_the_cache_is_mounted_read_only(self) -> None:
        raw = vllm(model=cached(subPath="llama-3", mountPath="/m"))
        pod = prepared(raw).pod(0, None)["spec"]
        assert pod["volumes"] == [
            {
                "name": "drumline-model",
                "persistentVolumeClaim": {"claimName": "weights", "readOnly": True},
            },
            SHARED,
        ]
        assert engine(raw)["volumeMounts"][0] == {
            "name": "drumline-model",
            "mountPath": "/m",
            "readOnly": True,
            "subPath": "llama-3",
        }

    def test_a_writable_cache(self) -> None:
        pod = prepared(vllm(model=cached(readOnly=False))).pod(0, None)["spec"]
        assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "weights"}

    def test_a_users_mount_at_that_path_stands(self) -> None:
        own = [{"name": "mine", "mountPath": "/models"}]
        assert engine(vllm(model=cached(), volumeMounts=own))["volumeMounts"][:-1] == own

    def test_the_secret_comes_first_so_that_the_users_word_wins(self) -> None:
        own = {"configMapRef": {"name": "mine"}}
        raw = vllm(model={**MODEL, "secretRef": {"name": "hf-token"}}, envFrom=[own])
        assert engine(raw)["envFrom"] == [{"secretRef": {"name": "hf-token"}}, own]


def test_links_to_services_are_off_unless_the_user_wants_them() -> None:
    assert prepared(vllm()).pod(0, None)["spec"]["enableServiceLinks"] is False
    raw = vllm()
    raw["roles"][0]["template"]["spec"]["enableServiceLinks"] = True
    assert prepared(raw).pod(0, None)["spec"]["enableServiceLinks"] is True


def test_sidecars_are_the_users_affair() -> None:
    sidecar = {"name": "proxy", "image": "example.org/proxy:1", "args": ["--port", "1"]}
    raw = vllm()
    raw["roles"][0]["template"]["spec"]["containers"].append(sidecar)
    found = prepared(raw).pod(0, None)["spec"]["containers"][1]
    assert {key: value for key, value in found.items() if key != "env"} == sidecar


def test_nothing_that_restricted_pod_security_refuses_is_added() -> None:
    secure = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    pod = prepared(vllm(model=cached(), securityContext=secure)).pod(0, None)["spec"]
    assert [c["securityContext"] for c in pod["containers"]] == [secure]
    assert "initContainers" not in pod
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all({"persistentVolumeClaim", "emptyDir"} & set(volume) for volume in pod["volumes"])
    assert all("hostPort" not in port for port in pod["containers"][0]["ports"])


PLAIN = st.fixed_dictionaries(
    {},
    optional={
        "lifecycle": st.just({"postStart": {"exec": {"command": ["x"]}}}),
        "readinessProbe": st.just({"exec": {"command": ["x"]}}),
        "ports": st.just([{"name": "x", "containerPort": 1}]),
        "volumeMounts": st.just([{"name": "x", "mountPath": "/x"}]),
        "envFrom": st.just([{"secretRef": {"name": "x"}}]),
        "workingDir": st.just("/x"),
        "env": st.lists(
            st.builds(
                lambda n, v: {"name": n, "value": v}, st.sampled_from(["A", "PATH", "HF_HOME"]), st.text()
            ),
            unique_by=lambda e: e["name"],
        ),
    },
)


@given(
    PLAIN, st.sampled_from(["vllm", "sglang", "jetstream", "triton", "llamacpp", "custom"]), st.integers(0, 1)
)
def test_what_the_user_wrote_is_still_there(container: dict[str, Any], name: str, worker: int) -> None:
    raw = spec(role(template=template(**container), groupSize=2), engine=name, model=cached())
    before = copy.deepcopy(raw)
    found = engine(raw, worker=worker)
    assert raw == before, "the template is not to be changed"
    for key, value in container.items():
        if isinstance(value, list):
            assert [item for item in found[key] if item in value] == value
        elif key == "lifecycle":
            assert found[key].items() >= value.items()
        else:
            assert found[key] == value
    own = {e["name"]: e["value"] for e in container.get("env", ())}
    everything = [(e["name"], e.get("value")) for e in found["env"]]
    assert {name: value for name, value in everything if name in own} == own
    assert len({name for name, _ in everything}) == len(everything), "each variable stands once"


class TestSharedMemory:
    def test_an_engine_of_several_processes_gets_more_than_a_container_has(self) -> None:
        for worker in (0, 1):
            pod = prepared(spec(role(groupSize=2), engine="vllm", model=MODEL)).pod(worker, None)
            assert SHARED in pod["spec"]["volumes"]
            mounts = pod["spec"]["containers"][0]["volumeMounts"]
            assert {"name": "drumline-shm", "mountPath": "/dev/shm"} in mounts

    def test_a_users_own_stands(self) -> None:
        own = [{"name": "mine", "mountPath": "/dev/shm/"}]
        found = prepared(vllm(volumeMounts=own)).pod(0, None)["spec"]
        assert found["containers"][0]["volumeMounts"] == own
        assert SHARED not in found.get("volumes", [])

    def test_one_process_needs_none(self) -> None:
        for name in ("llamacpp", "custom"):
            found = prepared(spec(engine=name, model=MODEL)).pod(0, None)["spec"]
            assert SHARED not in found.get("volumes", [])
