"""Two vLLM pods share the work of a completion: the KV cache goes from one to the other."""

from typing import Any

from e2e.demo_site import Site
from e2e.engines import disaggregated, vllm
from e2e.engines.exposition import labelled
from e2e.engines.pods import engine_pod, is_ready, metrics
from e2e.suites.kubectl import until

ROLES = {"prefill": "kv_producer", "decode": "kv_consumer"}
PROMPT = "The quick brown fox jumps over the lazy dog. " * 12  # several blocks of the KV cache
SOURCE = "vllm:prompt_tokens_by_source_total"
_READY_SECONDS = 600


def test_decode_computes_nothing_of_the_prompt(site: Site) -> None:
    site.node.store.load(vllm.image())
    site.kubectl.apply(*(_pod(name) for name in ROLES))
    until(
        lambda: all(is_ready(site.kubectl.get("pod", name)) for name in ROLES), "both servers", _READY_SECONDS
    )
    prefill, decode = (_url(site, name) for name in ROLES)

    assert disaggregated.complete(prefill, decode, PROMPT, 30) == '!"#$ ' * 6

    assert labelled(metrics(prefill), SOURCE, "source")["local_compute"] == len(PROMPT)
    assert labelled(metrics(decode), SOURCE, "source") == {
        "local_compute": 0,
        "local_cache_hit": 0,
        "external_kv_transfer": len(PROMPT),
    }
    for name in ROLES:
        site.kubectl.delete("pod", name)


def _pod(name: str) -> dict[str, Any]:
    arguments = vllm.arguments(*vllm.with_transfer(ROLES[name]))
    made = engine_pod(name, vllm.IMAGE, arguments, vllm.trees(), vllm.PORT)
    # Where the other server asks for what a transfer needs.
    address = {"fieldRef": {"fieldPath": "status.podIP"}}
    made["spec"]["containers"][0]["env"] = [
        {"name": "VLLM_NIXL_SIDE_CHANNEL_HOST", "valueFrom": address},
        {"name": "VLLM_NIXL_SIDE_CHANNEL_PORT", "value": str(vllm.TRANSFER_PORT)},
    ]
    return made


def _url(site: Site, name: str) -> str:
    return f"http://{site.kubectl.get('pod', name)['status']['podIP']}:{vllm.PORT}"
