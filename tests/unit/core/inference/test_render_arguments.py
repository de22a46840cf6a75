"""Which containers are given arguments, which of them, and that what the user said is never said again."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.engine_words import engine_options
from drumline.api.engines import preset
from drumline.api.inference_model import Engine
from tests.unit.core.inference.rendered import H100, MODEL, args, engine, role, spec, template

ENGINES = ["vllm", "sglang", "jetstream", "triton", "llamacpp", "custom"]
LEADER = "chat-serve-3-0.chat-peers.ns.svc.cluster.local"


def made(name: str, worker: int = 0, container: dict[str, Any] | None = None, **changes: Any) -> list[str]:
    """Arguments of a single-role service; `changes` are of the role, or of the spec if it has such a field."""
    of_spec = {k: changes.pop(k) for k in ("model", "speculative", "kvTransfer") if k in changes}
    raw = spec(
        role(template=template(**(container or {})), **changes), engine=name, **{"model": MODEL, **of_spec}
    )
    return args(raw, worker=worker)


def json_of(words: list[str], flag: str) -> Any:
    [found] = [word for word in words if word.startswith(f"{flag}=")]
    return json.loads(found.partition("=")[2])


class TestWhoIsGivenArguments:
    @pytest.mark.parametrize(
        ("name", "container", "options"),
        [
            ("vllm", {}, []),
            ("vllm", {"args": ["m", "--x"]}, ["m", "--x"]),
            ("vllm", {"args": ["serve", "m"]}, ["m"]),
            ("vllm", {"command": ["vllm", "serve"], "args": ["m"]}, ["m"]),
            ("vllm", {"command": ["/opt/bin/vllm", "serve", "m"]}, ["m"]),
            (
                "vllm",
                {"command": ["python3", "-u", "-m", "vllm.entrypoints.openai.api_server", "--x"]},
                ["--x"],
            ),
            ("sglang", {}, []),
            ("sglang", {"args": ["python3", "-m", "sglang.launch_server", "--x"]}, ["--x"]),
            ("llamacpp", {"command": ["/app/llama-server"], "args": ["-m", "x"]}, ["-m", "x"]),
            ("triton", {"args": ["tritonserver", "--x"]}, ["--x"]),
            ("vllm", {"command": ["sh", "-c", "vllm serve m"]}, None),
            ("vllm", {"command": ["/wrapper"], "args": ["--x"]}, None),
            ("vllm", {"command": ["python3", "-m", "mine", "vllm"]}, None),
            ("vllm", {"command": ["python3"]}, None),
            ("sglang", {"args": ["--x"]}, None),
            ("jetstream", {"args": ["--x"]}, None),
            ("custom", {}, None),
            ("custom", {"command": ["vllm", "serve"]}, None),
        ],
    )
    def test_what_follows_the_program(
        self, name: str, container: dict[str, Any], options: list[str] | None
    ) -> None:
        assert engine_options(container, preset(Engine(name))) == options

    @pytest.mark.parametrize("name", ENGINES)
    def test_an_unknown_command_stays_as_it_is(self, name: str) -> None:
        container = {"command": ["bash", "-c", "exec server $MODEL"], "args": ["a b", "$(date)"]}
        found = engine(spec(role(template=template(**container)), engine=name, model=MODEL))
        assert {key: found[key] for key in container} == container

    def test_an_image_that_starts_nothing_is_given_a_command(self) -> None:
        found = engine(spec(engine="sglang", model=MODEL))
        assert found["command"] == ["python3", "-m", "sglang.launch_server"]
        assert found["args"][0] == "--model-path=/weights/llama"

    def test_an_image_that_starts_its_engine_is_given_none(self) -> None:
        assert "command" not in engine(spec(engine="vllm", model=MODEL))


class TestWhatTheUserSaid:
    @pytest.mark.parametrize(
        "own",
        [["other"], ["--model", "other"], ["--model=other"], ["serve", "other", "--x"]],
    )
    def test_the_model_is_not_said_twice(self, own: list[str]) -> None:
        found = made("vllm", container={"args": own})
        assert found[: len(own)] == own
        assert "--model=/weights/llama" not in found
        assert "--served-model-name=llama" in found

    def test_underscores_are_dashes(self) -> None:
        found = made("vllm", container={"args": ["--served_model_name=mine"]})
        assert not [word for word in found if word.startswith("--served-model-name")]

    def test_a_variable_may_have_said_it(self) -> None:
        found = made("llamacpp", container={"env": [{"name": "LLAMA_ARG_HOST", "value": "127.0.0.1"}]})
        assert "--host" not in found
        assert "--metrics" in found

    def test_a_choice_of_parallelism_stands_whole(self) -> None:
        found = made("vllm", container={"args": ["m", "-dp", "8"]}, accelerator=H100)
        assert not [word for word in found if "parallel-size" in word]

    def test_a_group_run_by_ray_is_the_users(self) -> None:
        own = ["m", "--distributed-executor-backend=ray"]
        found = made("vllm", 1, container={"args": own}, accelerator=H100, groupSize=2)
        assert not [word for word in found if word.startswith(("--nnodes", "--headless", "--pipeline"))]


class TestVllm:
    def test_one_pod(self) -> None:
        assert made("vllm") == [
            "--model=/weights/llama",
            "--served-model-name=llama",
            "--port=8000",
            "--shutdown-timeout=100",
        ]

    def test_several_hosts(self) -> None:
        grouped = {"accelerator": H100, "groupSize": 2}
        shared = [
            "--tensor-parallel-size=8",
            "--pipeline-parallel-size=2",
            "--distributed-executor-backend=mp",
            "--nnodes=2",
            "--node-rank=$(DRUMLINE_WORKER)",
            f"--master-addr={LEADER}",
            "--master-port=29500",
        ]
        assert made("vllm", 0, **grouped)[4:] == shared
        assert made("vllm", 1, **grouped)[3:] == [*shared, "--headless"]

    def test_adapters_stand_with_the_leader(self) -> None:
        adapters = [{"name": "a", "source": "/l/a,b=c"}, {"name": "b", "source": "hub/b"}]
        found = made("vllm", 0, model={**MODEL, "adapters": adapters}, groupSize=2)
        at = found.index("--lora-modules")
        assert [json.loads(word) for word in found[at + 1 : at + 3]] == [
            {"name": "a", "path": "/l/a,b=c"},
            {"name": "b", "path": "hub/b"},
        ]
        worker = made("vllm", 1, model={**MODEL, "adapters": adapters}, groupSize=2)
        assert ("--enable-lora" in worker, "--lora-modules" in worker) == (True, False)

    def test_a_draft_model_that_stops_under_load(self) -> None:
        speculative = {"draftModel": {"name": "d", "source": "/d"}, "tokens": 4, "disableAboveRunning": 8}
        assert json_of(made("vllm", speculative=speculative), "--speculative-config") == {
            "method": "draft_model",
            "model": "/d",
            "num_speculative_tokens": 4,
            "num_speculative_tokens_per_batch_size": [[1, 8, 4], [9, 9, 0]],
        }

    def test_ngram(self) -> None:
        found = made("vllm", speculative={"method": "ngram", "tokens": 3})
        assert json_of(found, "--speculative-config") == {"method": "ngram", "num_speculative_tokens": 3}

    def test_speculation_that_is_off_is_not_said(self) -> None:
        off = made("vllm", speculative={"method": "ngram", "enabled": False})
        assert off == made("vllm")

    @pytest.mark.parametrize(
        ("name", "expected"), [("prefill", "kv_producer"), ("decode", "kv_consumer"), ("serve", "kv_both")]
    )
    def test_kv_transfer_by_role(self, name: str, expected: str) -> None:
        transfer = {"connector": "LMCacheConnectorV1", "parameters": {"discard": "false", "path": "/x"}}
        raw = spec(role(name), engine="vllm", model=MODEL, kvTransfer=transfer)
        assert json_of(args(raw), "--kv-transfer-config") == {
            "kv_connector": "LMCacheConnectorV1",
            "kv_role": expected,
            "kv_connector_extra_config": {"discard": False, "path": "/x"},
        }

    def test_a_parameter_may_be_a_key_of_the_transfer_itself(self) -> None:
        transfer = {
            "connector": "NixlConnector",
            "port": 5600,
            "parameters": {"kv_role": "kv_both", "kv_buffer_device": "cpu"},
        }
        assert json_of(made("vllm", kvTransfer=transfer), "--kv-transfer-config") == {
            "kv_connector": "NixlConnector",
            "kv_role": "kv_both",
            "kv_port": 5600,
            "kv_buffer_device": "cpu",
        }


class TestOthers:
    def test_sglang_of_several_hosts(self) -> None:
        found = made("sglang", 1, accelerator=H100, groupSize=2)
        assert "--tp-size=16" in found
        assert found[-3:] == [
            "--nnodes=2",
            "--node-rank=$(DRUMLINE_WORKER)",
            f"--dist-init-addr={LEADER}:29500",
        ]

    def test_sglang_prefill(self) -> None:
        transfer = {"connector": "nixl", "port": 8998}
        found = args(spec(role("prefill"), engine="sglang", model=MODEL, kvTransfer=transfer))
        assert found[-3:] == [
            "--disaggregation-mode=prefill",
            "--disaggregation-transfer-backend=nixl",
            "--disaggregation-bootstrap-port=8998",
        ]

    def test_sglang_draft(self) -> None:
        found = made("sglang", speculative={"draftModel": {"name": "d"}, "tokens": 4})
        assert "--speculative-num-steps=4" in found
        assert "--speculative-num-draft-tokens=5" in found

    def test_sglang_adapters(self) -> None:
        found = made("sglang", model={**MODEL, "adapters": [{"name": "a", "source": "/l/a"}]})
        assert found[-2:] == ["--lora-paths", "a=/l/a"]

    def test_llamacpp(self) -> None:
        found = made("llamacpp", speculative={"draftModel": {"name": "d", "source": "/d.gguf"}, "tokens": 4})
        assert found == [
            *("--model", "/weights/llama", "--alias", "llama", "--host", "0.0.0.0", "--port", "8080"),
            *("--metrics", "--spec-type", "draft-simple"),
            *("--spec-draft-model", "/d.gguf", "--spec-draft-n-max", "4"),
        ]

    def test_triton(self) -> None:
        found = made("triton")
        assert found == ["--model-repository=/weights/llama", "--http-port=8000", "--exit-timeout-secs=100"]


TEXT = st.text(min_size=1, max_size=40)
OWN = st.lists(
    st.sampled_from(
        [
            "--model=x",
            "--port",
            "1",
            "--nnodes=3",
            "-tp",
            "--lora-modules",
            "a=b",
            "--host",
            "-m",
            "--x y",
            "m",
        ]
    ),
    max_size=4,
)
PARAMETERS = st.dictionaries(st.sampled_from(["a", "b", "kv_role"]), TEXT, max_size=3)


@given(st.sampled_from(ENGINES), OWN, TEXT, PARAMETERS, st.integers(0, 1))
def test_arguments_are_given_once_and_whole(
    name: str, own: list[str], source: str, parameters: dict[str, str], worker: int
) -> None:
    changes: dict[str, Any] = {
        "accelerator": H100,
        "groupSize": 2,
        "model": {"name": "m", "source": source, "adapters": [{"name": "a", "source": source}]},
        "speculative": {"draftModel": {"name": "d", "source": source}},
        "kvTransfer": {"connector": "C", "parameters": parameters},
    }
    once = made(name, worker, {"args": own} if own else {}, **changes)
    assert once[: len(own)] == own, "the user's come first, as they are"
    again = made(name, worker, {"args": once} if once else {}, **changes)
    assert again == once, "what is there is not given again"
    configs = [word.partition("=")[2] for word in once if word.startswith(("--speculative-c", "--kv-t"))]
    assert all(isinstance(json.loads(text), dict) for text in configs), "whatever the user wrote, it is JSON"
