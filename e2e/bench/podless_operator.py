"""The operator, whole and as it ships, but for where its requests for pods, Services and EndpointSlices go: to a `Kubelet`.

``python -m e2e.bench.podless_operator FILE run …``. To FILE it writes, every few seconds, the processor time that the
stand-in took of this process, in seconds. With ``DRUMLINE_BENCH_PROFILE`` set to a file's name, what the interpreter was
doing is written there when the operator ends: stacks of the main thread and how often each was met, innermost last.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

from drumline.__main__ import main
from drumline.runtime.http import Client
from e2e.bench.kubelet import Kubelet

TELL_SECONDS = 2.0
SAMPLE_SECONDS = 0.005


def _divert(kubelet: Kubelet, file: Path) -> None:
    """From now on clients of this process ask `kubelet` where it has the answer."""
    plain_request, plain_lines = Client.request, Client.stream_lines
    telling: list[asyncio.Task[None]] = []

    async def request(client: Client, method: str, path: str, **options: Any) -> Any:
        dry = "dryRun" in (options.get("params") or {})
        if dry or not kubelet.kind_of(path):
            return await plain_request(client, method, path, **options)
        if method != "GET":
            client.fence()
        return kubelet.answer(method, path, options.get("body"))

    def stream_lines(
        client: Client, path: str, params: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncGenerator[bytes, None]:
        kind = kubelet.kind_of(path)
        if kind == "pods":
            telling.append(asyncio.create_task(_tell(kubelet, file)))
        return kubelet.watch(kind) if kind else plain_lines(client, path, params, **options)

    Client.request = request  # type: ignore[method-assign,assignment]
    Client.stream_lines = stream_lines  # type: ignore[method-assign,assignment]


async def _tell(kubelet: Kubelet, file: Path) -> None:
    while True:
        _write(file, f"{kubelet.seconds}\n")
        await asyncio.sleep(TELL_SECONDS)


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def _sample(thread: int, met: Counter[str]) -> None:
    """Count the stacks of a thread for ever."""
    while True:
        time.sleep(SAMPLE_SECONDS)
        names: list[str] = []
        frame = sys._current_frames().get(thread)  # noqa: SLF001 - there is no other way
        while frame is not None:
            names.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}")
            frame = frame.f_back
        met[";".join(reversed(names))] += 1


def _main() -> int:
    _divert(Kubelet(), Path(sys.argv[1]))
    profile = os.environ.get("DRUMLINE_BENCH_PROFILE")
    met: Counter[str] = Counter()
    if profile:
        threading.Thread(target=_sample, args=(threading.get_ident(), met), daemon=True).start()
    try:
        return main(sys.argv[2:])
    finally:
        if profile:
            _write(Path(profile), "".join(f"{stack} {n}\n" for stack, n in met.most_common()))


if __name__ == "__main__":
    sys.exit(_main())
