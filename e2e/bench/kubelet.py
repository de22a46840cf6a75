"""What stands in for pods where only admission is measured: pods, Services and EndpointSlices in memory.

A `Kubelet` answers requests for these three kinds as the API server would, as far as the operator asks: lists,
watches, creates, applies, deletes. A pod that is created is bound to the node that its affinity names, Running and
Ready at once; it ends well after as many milliseconds as annotation `RUN_MS` says, counted from there. Dry runs are not
its business: they go to the API server, so that a template is judged by that.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from drumline.runtime.errors import AlreadyExists, NotFound

KINDS: Final = frozenset({"pods", "services", "endpointslices"})
RUN_MS: Final = "bench.drumline.dev/run-ms"
BOOKMARK_SECONDS: Final = 30.0

Object = dict[str, Any]


class Kubelet:
    """The objects, and who watches them. `seconds` is the processor time that it took of its process so far."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._objects: dict[str, dict[tuple[str, str], Object]] = {kind: {} for kind in KINDS}
        self._watchers: dict[str, list[asyncio.Queue[bytes]]] = {kind: [] for kind in KINDS}
        self._version = 1

    @staticmethod
    def kind_of(path: str) -> str:
        """Which of its kinds a path is about; "" = none, and the request is the API server's."""
        parts = path.partition("?")[0].strip("/").split("/")
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        if len(rest) > 2 and rest[0] == "namespaces":
            rest = rest[2:]
        return rest[0] if rest and rest[0] in KINDS else ""

    def answer(self, method: str, path: str, body: Any) -> Any:
        """What the API server would answer. Raises AlreadyExists, NotFound."""
        begun = time.thread_time()
        try:
            return self._answer(self.kind_of(path), method, path, body)
        finally:
            self.seconds += time.thread_time() - begun

    async def watch(self, kind: str) -> AsyncGenerator[bytes, None]:
        """Events from now on: a list and its watch have no moment between them."""
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._watchers[kind].append(queue)
        try:
            while True:
                try:
                    yield await asyncio.wait_for(queue.get(), BOOKMARK_SECONDS)
                except TimeoutError:
                    metadata = {"resourceVersion": str(self._version)}
                    yield orjson.dumps({"type": "BOOKMARK", "object": {"metadata": metadata}})
        finally:
            self._watchers[kind].remove(queue)

    def _answer(self, kind: str, method: str, path: str, body: Any) -> Any:
        namespace, name = _named(path, kind)
        objects = self._objects[kind]
        if method == "GET" and not name:
            return {"metadata": {"resourceVersion": str(self._version)}, "items": list(objects.values())}
        if method == "POST":
            return self._create(
                kind, namespace, orjson.loads(body if isinstance(body, bytes) else orjson.dumps(body))
            )
        key = namespace, name
        if key not in objects:
            raise NotFound(f'{kind} "{name}" not found', status=404, reason="NotFound")
        if method == "DELETE":
            self._tell(kind, "DELETED", objects.pop(key))
        elif method == "PATCH":
            changed = {**body, "metadata": {**objects[key]["metadata"], **body.get("metadata", {})}}
            self._tell(kind, "MODIFIED", changed)
            objects[key] = {"metadata": changed["metadata"]}
        return objects.get(key, {})

    def _create(self, kind: str, namespace: str, made: Object) -> Object:
        key = namespace, made["metadata"]["name"]
        if key in self._objects[kind]:
            raise AlreadyExists(f'{kind} "{key[1]}" already exists', status=409, reason="AlreadyExists")
        made["metadata"] |= {"uid": str(uuid.uuid4()), "namespace": namespace, "creationTimestamp": _stamp()}
        if kind != "pods":
            self._tell(kind, "ADDED", made)
            self._objects[kind][key] = {"metadata": made["metadata"]}  # nobody asks for more
            return made
        _run(made)
        self._objects[kind][key] = made
        self._tell(kind, "ADDED", made)
        seconds = int(made["metadata"].get("annotations", {}).get(RUN_MS, "0")) / 1000
        asyncio.get_running_loop().call_later(seconds, self._end, key, made["metadata"]["uid"])
        return made

    def _end(self, key: tuple[str, str], uid: str) -> None:
        pod = self._objects["pods"].get(key)
        if pod is None or pod["metadata"]["uid"] != uid:
            return
        begun = time.thread_time()
        running = pod["status"]["containerStatuses"][0]["state"]["running"]
        ended = {
            "exitCode": 0,
            "reason": "Completed",
            "startedAt": running["startedAt"],
            "finishedAt": _stamp(),
        }
        conditions = [
            c | {"status": "False"} if c["type"] in _UNTIL_END else c for c in pod["status"]["conditions"]
        ]
        pod["status"] |= {
            "phase": "Succeeded",
            "conditions": conditions,
            "containerStatuses": [_container(pod, {"terminated": ended}, ready=False)],
        }
        self._tell("pods", "MODIFIED", pod)
        self._objects["pods"][key] = {"metadata": pod["metadata"]}
        self.seconds += time.thread_time() - begun

    def _tell(self, kind: str, event: str, what: Object) -> None:
        self._version += 1
        what["metadata"]["resourceVersion"] = str(self._version)
        line = orjson.dumps({"type": event, "object": what})
        for queue in self._watchers[kind]:
            queue.put_nowait(line)


_UNTIL_END: Final = ("Ready", "ContainersReady")


def _named(path: str, kind: str) -> tuple[str, str]:
    """Namespace and name of a path, each "" when it has none."""
    before, _, after = path.partition("?")[0].rpartition(f"/{kind}")
    namespace = before.rpartition("/namespaces/")[2] if "/namespaces/" in before else ""
    return namespace, after.strip("/").partition("/")[0]


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: TID251 - stands in for another program


def _run(pod: Object) -> None:
    """Bound, and up."""
    stamp = _stamp()
    pod["spec"]["nodeName"] = _pinned_to(pod["spec"])
    kinds = ("PodScheduled", "Initialized", *_UNTIL_END)
    pod["status"] = {
        "phase": "Running",
        "startTime": stamp,
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": "10.0.0.1"}],
        "conditions": [{"type": k, "status": "True", "lastTransitionTime": stamp} for k in kinds],
        "containerStatuses": [_container(pod, {"running": {"startedAt": stamp}}, ready=True)],
    }


def _container(pod: Object, state: Mapping[str, Any], *, ready: bool) -> Object:
    name = pod["spec"]["containers"][0]["name"]
    return {"name": name, "ready": ready, "restartCount": 0, "image": "", "imageID": "", "state": state}


def _pinned_to(spec: Mapping[str, Any]) -> str:
    """The node that the pod's affinity names. KeyError when it names none: then nobody has placed it."""
    node = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    fields = node["nodeSelectorTerms"][0]["matchFields"]
    return str(next(f["values"][0] for f in fields if f["key"] == "metadata.name"))
