"""One completion by two vLLM servers: one reads the prompt, the other, given its KV cache, says what follows.

This is what a router does for every request: it asks the prefilling server for one token and for parameters by
which its KV cache is found, and passes those on to the decoding server, which fetches the cache by itself.
"""

import json
import urllib.request
from typing import Any

_ASK = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}


def complete(prefill: str, decode: str, prompt: str, tokens: int) -> str:
    """The text of a completion; ``prefill`` and ``decode`` are URLs; raises ``OSError`` when one refuses."""
    first = _post(prefill, prompt, max_tokens=1, kv_transfer_params=_ASK)
    answer = _post(decode, prompt, max_tokens=tokens, kv_transfer_params=first["kv_transfer_params"])
    return str(answer["choices"][0]["text"])


def _post(url: str, prompt: str, **parameters: Any) -> dict[str, Any]:
    wish = {"model": "tiny", "prompt": prompt, "temperature": 0, "ignore_eos": True, **parameters}
    body, head = json.dumps(wish).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/completions", body, head)
    with urllib.request.urlopen(request, timeout=120) as answer:
        found: dict[str, Any] = json.load(answer)
    return found
