"""What a program is told of model, speculation and KV transfer, and what each role makes of them."""

from typing import Any

import pytest

from drumline.core.inference.env_engine import kv_parameters, speculates
from tests.unit.core.inference import services
from tests.unit.core.inference.rendered import MODEL, args, env, role, spec

DRAFT = {"draftModel": {"name": "tiny"}, "tokens": 4}
ROLES = (role("prefill"), role("decode"))


def told(raw: dict[str, Any], name: str = "") -> dict[str, Any]:
    words = ("MODEL", "SPECULATIVE", "DRAFT", "KV")
    found = env(raw, name)
    return {k: v for k, v in found.items() if k.startswith(tuple(f"DRUMLINE_{w}" for w in words))}


class TestModel:
    @pytest.mark.parametrize(
        ("model", "source"),
        [
            ({"name": "org/llama"}, "org/llama"),
            ({"name": "org/llama", "source": "/w"}, "/w"),
            ({"name": "llama", "cache": {"claimName": "c"}}, "/models/llama"),
            ({"name": "llama", "cache": {"claimName": "c", "mountPath": "/m/"}}, "/m/llama"),
            ({"name": "llama", "source": "org/x", "cache": {"claimName": "c"}}, "org/x"),
        ],
    )
    def test_where_it_is(self, model: dict[str, Any], source: str) -> None:
        assert told(spec(model=model)) == {
            "DRUMLINE_MODEL": model["name"],
            "DRUMLINE_MODEL_SOURCE": source,
        }

    @pytest.mark.parametrize(
        ("model", "hints"),
        [
            (MODEL, {"HF_HUB_OFFLINE": "1"}),
            ({**MODEL, "adapters": [{"name": "a", "source": "hub/a"}]}, {}),
            ({"name": "org/llama"}, {}),
            ({"name": "m", "source": "org/m", "cache": {"claimName": "c"}}, {}),
            (
                {"name": "m", "source": "org/m", "cache": {"claimName": "c", "readOnly": False}},
                {"HF_HOME": "/models"},
            ),
        ],
    )
    def test_hints_only_where_they_do_no_harm(self, model: dict[str, Any], hints: dict[str, str]) -> None:
        assert {k: v for k, v in env(spec(model=model)).items() if k.startswith("HF_")} == hints

    def test_a_draft_from_the_hub_is_fetched(self) -> None:
        assert "HF_HUB_OFFLINE" not in env(spec(model=MODEL, speculative=DRAFT))


class TestSpeculation:
    def test_what_a_wrapper_finds(self) -> None:
        raw = spec(model=MODEL, speculative={**DRAFT, "disableAboveRunning": 8})
        assert told(raw) == {
            "DRUMLINE_MODEL": "llama",
            "DRUMLINE_MODEL_SOURCE": "/weights/llama",
            "DRUMLINE_SPECULATIVE_METHOD": "draftModel",
            "DRUMLINE_SPECULATIVE_TOKENS": "4",
            "DRUMLINE_SPECULATIVE_LIMIT": "8",
            "DRUMLINE_DRAFT_MODEL": "tiny",
            "DRUMLINE_DRAFT_SOURCE": "tiny",
        }

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, ["decode"]),
            ({"roles": ["prefill"]}, ["prefill"]),
            ({"roles": ["prefill", "decode"]}, ["prefill", "decode"]),
            ({"enabled": False}, []),
            ({"draftRole": "decode", "roles": ["prefill", "decode"]}, ["prefill"]),
        ],
    )
    def test_which_roles_speculate(self, changes: dict[str, Any], expected: list[str]) -> None:
        parsed = services.parsed(spec(*ROLES, model=MODEL, speculative={**DRAFT, **changes}))
        assert [r.name for r in parsed.roles if speculates(parsed, r.name)] == expected

    def test_a_draft_in_a_role_of_its_own(self) -> None:
        raw = spec(
            role("serve"),
            role("draft", port=9000),
            model={**MODEL, "adapters": [{"name": "a", "source": "/a"}]},
            speculative={"draftModel": {"name": "tiny", "source": "/d"}, "draftRole": "draft"},
        )
        assert (
            env(raw, "serve")["DRUMLINE_DRAFT_ADDRESS"] == "chat-draft-0123456789.ns.svc.cluster.local:9000"
        )
        assert told(raw, "draft") == {"DRUMLINE_MODEL": "tiny", "DRUMLINE_MODEL_SOURCE": "/d"}

    def test_the_drafts_own_role_serves_the_draft(self) -> None:
        raw = spec(
            role("serve"),
            role("draft"),
            engine="vllm",
            model={**MODEL, "adapters": [{"name": "a", "source": "/a"}]},
            speculative={"draftModel": {"name": "tiny", "source": "/d"}, "draftRole": "draft"},
        )
        assert args(raw, "draft")[:2] == ["--model=/d", "--served-model-name=tiny"]
        assert "--enable-lora" not in args(raw, "draft")
        assert not [word for word in args(raw, "serve") if word.startswith("--speculative")]


class TestKvTransfer:
    def test_what_a_wrapper_finds(self) -> None:
        transfer = {"connector": "NixlConnector", "port": 5600}
        raw = spec(*ROLES, engine="vllm", model=MODEL, kvTransfer=transfer)
        found = env(raw, "prefill")
        assert found["DRUMLINE_KV_ROLE"] == "kv_producer"
        assert (found["DRUMLINE_KV_CONNECTOR"], found["DRUMLINE_KV_PORT"]) == ("NixlConnector", "5600")
        assert found["VLLM_NIXL_SIDE_CHANNEL_HOST"] == {"fieldRef": {"fieldPath": "status.podIP"}}
        assert found["VLLM_NIXL_SIDE_CHANNEL_PORT"] == "5600"

    def test_a_variable_without_its_value_is_left_out(self) -> None:
        raw = spec(engine="vllm", model=MODEL, kvTransfer={"connector": "NixlConnector"})
        assert "VLLM_NIXL_SIDE_CHANNEL_PORT" not in env(raw)

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("5", 5),
            ("1e9", 1e9),
            ("true", True),
            ('{"a": [1]}', {"a": [1]}),
            ("tcp://x", "tcp://x"),
            ("NaN", "NaN"),
            ("1e999", "1e999"),
            ("[" * 1024, "[" * 1024),
            ("", ""),
        ],
    )
    def test_parameters_are_json_where_they_read_as_json(self, text: str, value: Any) -> None:
        parsed = services.parsed(spec(kvTransfer={"connector": "c", "parameters": {"k": text}}))
        assert kv_parameters(parsed.kv_transfer) == {"k": value}
