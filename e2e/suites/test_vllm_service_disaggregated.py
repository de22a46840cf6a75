"""Prefill and decode by vLLM as two roles of an InferenceService: one reads the prompt, the other answers it."""

from e2e.demo_site import Site
from e2e.engines import disaggregated
from e2e.engines.exposition import labelled
from e2e.suites.inference import Manifest, Served, adds_up, running
from e2e.suites.vllm_services import READY_SECONDS, engine_metrics, load_vllm, vllm_role, vllm_service

PROMPT = "The quick brown fox jumps over the lazy dog. " * 12  # several blocks of the KV cache
TOKENS = 30
SOURCE = "vllm:prompt_tokens_by_source_total"
TRANSFER = {"connector": "NixlConnector", "port": 5600, "parameters": {"kv_buffer_device": "cpu"}}


def test_what_one_role_has_read_the_other_answers(site: Site) -> None:
    load_vllm(site)
    service = vllm_service("split", vllm_role("prefill"), vllm_role("decode"), kvTransfer=TRANSFER)
    with running(site, service) as split:
        split.ready(READY_SECONDS)
        site.say("prefill and decode are in service")
        assert disaggregated.complete(_url(split, "prefill"), split.url, PROMPT, TOKENS) == '!"#$ ' * 6

        (prefill,), (decode,) = (engine_metrics(split, role) for role in ("prefill", "decode"))
        assert labelled(prefill, SOURCE, "source")["local_compute"] == len(PROMPT)
        found = labelled(decode, SOURCE, "source")
        site.say(f"where decode had its prompt from: {found}")
        assert found["external_kv_transfer"] == len(PROMPT)
        assert found["local_compute"] == found["local_cache_hit"] == 0

        done = split.until(_is_counted, "both roles' tokens in the account", 60)["status"]["serving"]
        assert adds_up(done)


def _is_counted(document: Manifest) -> bool:
    roles = {entry["role"]: entry for entry in document["status"].get("serving", {}).get("roles", ())}
    counted = {name: (entry["promptTokens"], entry["generationTokens"]) for name, entry in roles.items()}
    return counted == {"prefill": (len(PROMPT), 1), "decode": (len(PROMPT), TOKENS)}


def _url(split: Served, role: str) -> str:
    found = split.kubectl.get("service", f"{split.name}-{role}")
    return f"http://{found['spec']['clusterIP']}"
