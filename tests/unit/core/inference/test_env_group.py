"""What the pods of a group know of themselves and of each other."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.engines import preset
from drumline.api.environment import MAX_BYTES, TPU, is_reserved_in_service
from drumline.api.inference_model import Engine
from tests.unit.core.inference.rendered import H100, MODEL, env, prepared, role, spec, template

LEADER = "chat-decode-3-0.chat-peers.ns.svc.cluster.local"
V5P = {"type": "tpu-v5p", "topology": "2x2x2"}
PREFERENCES = {"HF_HOME", "HF_HUB_OFFLINE"}


def test_one_pod() -> None:
    assert env(spec(role("decode"))) == {
        "DRUMLINE_SERVICE": "chat",
        "DRUMLINE_SERVICE_NAMESPACE": "ns",
        "DRUMLINE_SERVICE_UID": "uid-1",
        "DRUMLINE_ROLE": "decode",
        "DRUMLINE_GROUP": "3",
        "DRUMLINE_GROUP_SIZE": "1",
        "DRUMLINE_WORKER": "0",
        "DRUMLINE_ATTEMPT": "2",
        "DRUMLINE_REVISION": "chat-0123456789",
        "DRUMLINE_LEADER_ADDRESS": LEADER,
        "DRUMLINE_PORT": "8000",
        "LWS_LEADER_ADDRESS": LEADER,
        "LWS_GROUP_SIZE": "1",
        "LWS_WORKER_INDEX": "0",
    }


def test_a_pod_of_several_finds_the_others() -> None:
    found = env(spec(role("decode", groupSize=4)), worker=3)
    assert {key: found[key] for key in found if not key.startswith("DRUMLINE_")} == {
        "LWS_LEADER_ADDRESS": LEADER,
        "LWS_GROUP_SIZE": "4",
        "LWS_WORKER_INDEX": "3",
        "MASTER_ADDR": LEADER,
        "MASTER_PORT": "29500",
        "NNODES": "4",
        "NODE_RANK": "3",
        "WORLD_SIZE": "4",
        "RANK": "3",
        "RAY_ADDRESS": f"{LEADER}:6379",
    }


@pytest.mark.parametrize(
    ("name", "there", "absent"),
    [
        ("vllm", {"NODE_RANK", "RAY_ADDRESS"}, {"RANK", "WORLD_SIZE"}),
        ("sglang", {"NODE_RANK", "MASTER_ADDR"}, {"RANK", "RAY_ADDRESS"}),
        ("llamacpp", set(), {"MASTER_ADDR", "RAY_ADDRESS"}),
    ],
)
def test_by_what_the_engine_needs(name: str, there: set[str], absent: set[str]) -> None:
    found = set(env(spec(role(groupSize=2), engine=name, model=MODEL)))
    assert there <= found
    assert not absent & found


def test_other_roles_are_found_at_the_same_revision() -> None:
    raw = spec(role("prefill", port=8100), role("decode"), role("draft-it", port=9000))
    assert {k: v for k, v in env(raw, "decode").items() if "PEERS" in k} == {
        "DRUMLINE_PEERS_PREFILL": "chat-prefill-0123456789.ns.svc.cluster.local:8100",
        "DRUMLINE_PEERS_DRAFT_IT": "chat-draft-it-0123456789.ns.svc.cluster.local:9000",
    }


class TestTpu:
    def test_a_slice_of_two_hosts(self) -> None:
        raw = spec(role("serve", accelerator=V5P))
        assert prepared(raw).size == 2
        assert {k: v for k, v in env(raw, worker=1).items() if k.startswith("TPU_")} == {
            "TPU_NAME": "chat-serve-3",
            "TPU_PROCESS_ADDRESSES": "chat-serve-3-0.chat-peers:8476,chat-serve-3-1.chat-peers:8476",
            "TPU_PROCESS_PORT": "8476",
            "TPU_WORKER_HOSTNAMES": "chat-serve-3-0.chat-peers,chat-serve-3-1.chat-peers",
            "TPU_WORKER_ID": "1",
        }

    def test_a_slice_of_one_host_meets_nobody(self) -> None:
        raw = spec(role("serve", accelerator={"type": "tpu-v6e", "topology": "2x2"}))
        found = {k: v for k, v in env(raw).items() if k.startswith("TPU_")}
        assert found == {
            "TPU_NAME": "chat-serve-3",
            "TPU_WORKER_HOSTNAMES": "localhost",
            "TPU_WORKER_ID": "0",
        }

    def test_a_variant_on_tpu_has_it_too(self) -> None:
        raw = spec(role(accelerator=H100, variants=[{"accelerator": V5P}]))
        group = prepared(raw, variant=1)
        names = {e["name"] for e in group.pod(1, None)["spec"]["containers"][0]["env"]}
        assert group.size == 2
        assert set(TPU) - {n for n in TPU if n.startswith("MEGASCALE")} <= names

    def test_the_longest_list_starts_a_program(self) -> None:
        long = spec(role("r" * 20, accelerator={"type": "tpu-v5p", "topology": "16x16x16"}))
        found = prepared(long)
        assert found.size == 1024
        value = found.facts.hosts[-1]
        assert found.size * (len(value) + len(":8476,")) < MAX_BYTES


@pytest.mark.parametrize("name", [e.value for e in Engine])
@pytest.mark.parametrize("size", [1, 2])
def test_what_is_set_is_reserved(name: str, size: int) -> None:
    raw = spec(
        role(groupSize=size),
        engine=name,
        model=MODEL,
        kvTransfer={"connector": "NixlConnector", "port": 1},
        speculative={"method": "ngram", "disableAboveRunning": 2},
    )
    given_by_preset = {variable.name for variable in preset(Engine(name)).variables}
    ours = set(env(raw)) - given_by_preset - PREFERENCES
    assert all(is_reserved_in_service(n, tpu=False, grouped=size > 1) for n in ours)


def test_what_is_not_set_is_the_users() -> None:
    assert not is_reserved_in_service("RAY_ADDRESS", tpu=False, grouped=False)
    assert not is_reserved_in_service("TPU_NAME", tpu=False, grouped=True)
    assert is_reserved_in_service("TPU_NAME", tpu=True, grouped=False)
    assert not is_reserved_in_service("HF_HOME", tpu=True, grouped=True)


NAMES = st.sampled_from(
    [
        "DRUMLINE_WORKER",
        "LWS_GROUP_SIZE",
        "MASTER_ADDR",
        "RANK",
        "HF_HUB_OFFLINE",
        "VLLM_NIXL_SIDE_CHANNEL_PORT",
        "X",
    ]
)
OWN = st.lists(
    st.builds(lambda n, v: {"name": n, "value": v}, NAMES, st.text(max_size=5)), unique_by=lambda e: e["name"]
)


@given(OWN, OWN, st.sampled_from(["vllm", "custom"]), st.integers(0, 1))
def test_a_users_variable_is_never_overwritten(
    first: list[dict[str, Any]], second: list[dict[str, Any]], name: str, worker: int
) -> None:
    made = template(env=first)
    made["spec"]["containers"].append({"name": "sidecar", "env": second})
    raw = spec(
        role(template=made, groupSize=2),
        engine=name,
        model=MODEL,
        kvTransfer={"connector": "NixlConnector", "port": 5600},
    )
    containers = prepared(raw).pod(worker, None)["spec"]["containers"]
    for own, container in zip((first, second), containers, strict=True):
        names = [e["name"] for e in container["env"]]
        assert container["env"][len(names) - len(own) :] == own, "last and untouched, so that $(VAR) expands"
        assert len(set(names)) == len(names)
