"""What an API server answers to the kinds of requests that the operator makes, and a run of them against any server.

``python -m e2e.chaos.record FILE`` asks a real one, in an embedded cluster, and writes its answers to FILE. Names
that it makes up (uids, versions, times) are left out, so the model's answers can be compared word for word.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drumline.runtime.errors import ApiError
from drumline.runtime.http import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from drumline.runtime.http_paths import resource_path
from drumline.runtime.kube import connect
from e2e.chaos.history import OPTIONS
from e2e.cluster.embedded import EmbeddedCluster
from e2e.cluster.operator import install_api

Request = Callable[..., Awaitable[Any]]  # as drumline.runtime.http.Client.request
SPACE = "default"
_UID = re.compile(r"\b([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|uid-\d+)\b")
STRANGER = "00000000-0000-0000-0000-000000000000"
_FIELDS = ("phase", "deletionGracePeriodSeconds", "generation")


@dataclass(frozen=True, slots=True)
class Answer:
    """What was asked, and what came of it: the error's status, reason and text, or the facts of the object."""

    what: str
    status: int
    reason: str = ""
    message: str = ""
    kind: str = ""  # of the error's details
    facts: Mapping[str, Any] | None = None


class Interview:
    """Asks one question after another; the object of the last answer is at hand."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.answers: list[Answer] = []

    async def ask(self, what: str, method: str, path: str, **how: Any) -> Any:
        """One request; the object that came back, or None."""
        try:
            found = await self._request(method, path, attempts=1, **how)
        except ApiError as error:
            message = _UID.sub("UID", error.message)
            kind = str(error.details.get("kind", ""))
            self.answers.append(Answer(what, error.status, error.reason, message, kind))
            return None
        self.answers.append(Answer(what, 200, facts=_facts(found)))
        return found


def _facts(found: Any) -> dict[str, Any]:
    metadata, status = found.get("metadata") or {}, found.get("status") or {}
    facts = {"phase": status.get("phase")} if isinstance(status, dict) else {}
    facts |= {name: metadata.get(name) for name in _FIELDS[1:]}
    facts["deleting"] = "deletionTimestamp" in metadata
    conditions = (status.get("conditions") or ()) if isinstance(status, dict) else ()
    facts["ours"] = sorted(c["type"] for c in conditions if "drumline" in c["type"]) or None
    facts["suspend"] = (found.get("spec") or {}).get("suspend")
    return {key: value for key, value in facts.items() if value not in (None, False)}


async def interview(request: Request) -> list[Answer]:
    """Every question; objects of these names must not be there yet."""
    talk = Interview(request)
    await _about_pods(talk)
    await _about_jobs(talk)
    await _about_services(talk)
    return talk.answers


async def _about_pods(talk: Interview) -> None:
    path = resource_path("pods", SPACE)
    one = f"{path}/worker"
    await talk.ask("create a pod", "POST", path, body=pod("worker"))
    made = await talk.ask("read it", "GET", one)
    await talk.ask("create it again", "POST", path, body=pod("worker"))
    await talk.ask("create it for show", "POST", path, body=pod("show"), params={"dryRun": "All"})
    await talk.ask("read what was for show", "GET", f"{path}/show")
    await talk.ask("delete another of its name", "DELETE", one, body=precondition(STRANGER))
    await talk.ask(
        "delete it, which is on no node", "DELETE", one, body=precondition(made["metadata"]["uid"])
    )
    await talk.ask("delete it again", "DELETE", one, body=precondition(made["metadata"]["uid"]))
    made = await talk.ask("create one on a node", "POST", path, body=pod("bound", nodeName="nowhere"))
    one = f"{path}/bound"
    await _about_conditions(talk, made["metadata"]["uid"])
    await talk.ask("delete it, which has its grace", "DELETE", one)
    await talk.ask("read it while it goes", "GET", one)
    await talk.ask("delete it with less grace", "DELETE", one, body={"gracePeriodSeconds": 5})
    await talk.ask("read it with less grace", "GET", one)
    await talk.ask("delete it by force", "DELETE", one, body={"gracePeriodSeconds": 0})
    await talk.ask("read it when it is gone", "GET", one)
    await talk.ask("create one that ends", "POST", path, body=pod("ended", nodeName="nowhere"))
    one, ended = f"{path}/ended", {"status": {"phase": "Failed"}}
    await talk.ask("let it end", "PATCH", f"{one}/status", body=ended, content_type=MERGE_PATCH)
    await talk.ask("delete it, which has ended", "DELETE", one)
    await talk.ask("read it then", "GET", one)


async def _about_conditions(talk: Interview, uid: str) -> None:
    """Of the pod that is on a node: those of other types stay."""
    path, how = resource_path("pods", SPACE, "bound", "status"), {"content_type": STRATEGIC_PATCH}
    for kind in ("drumline.dev/in-service", "drumline.dev/other"):
        body = {"metadata": {"uid": uid}, "status": {"conditions": [{"type": kind, "status": "True"}]}}
        await talk.ask(f"set its condition {kind}", "PATCH", path, body=body, **how)
    stranger = {"metadata": {"uid": STRANGER}, "status": {"conditions": []}}
    await talk.ask("set one of another of its name", "PATCH", path, body=stranger, **how)


async def _about_jobs(talk: Interview) -> None:
    path = resource_path("trainingjobs", SPACE)
    one = f"{path}/job"
    made = await talk.ask("create a job", "POST", path, body=job("job"))
    version = made["metadata"]["resourceVersion"]
    status = f"{one}/status"
    how = {"content_type": JSON_PATCH}
    await talk.ask("write its status", "PATCH", status, body=status_patch(version, "Queued"), **how)
    await talk.ask(
        "write it from what was before", "PATCH", status, body=status_patch(version, "Failed"), **how
    )
    await talk.ask("read the job", "GET", one)
    suspend = [{"op": "add", "path": "/spec/suspend", "value": True}]
    await talk.ask("suspend it", "PATCH", one, body=suspend, **how)
    both = [*suspend, {"op": "add", "path": "/status", "value": {"phase": "Failed"}}]
    await talk.ask("write a status beside the spec", "PATCH", one, body=both, **how)
    await talk.ask("delete another of its name", "DELETE", one, body=precondition(STRANGER))
    await talk.ask("delete the job", "DELETE", one)
    await talk.ask("write the status of none", "PATCH", status, body=status_patch("1", "Failed"), **how)


async def _about_services(talk: Interview) -> None:
    path = resource_path("services", SPACE)
    one = f"{path}/names"
    how = {"content_type": APPLY_PATCH, "params": {"fieldManager": "drumline", "force": "true"}}
    await talk.ask("apply to none by uid", "PATCH", one, body=service(STRANGER), **how)
    made = await talk.ask(
        "create a service", "POST", path, body=service(""), params={"fieldManager": "drumline"}
    )
    await talk.ask("apply to it by uid", "PATCH", one, body=service(made["metadata"]["uid"]), **how)
    await talk.ask("apply to another of its name", "PATCH", one, body=service(STRANGER), **how)
    await talk.ask("delete it", "DELETE", one, body=precondition(made["metadata"]["uid"]))


def pod(name: str, **spec: Any) -> dict[str, Any]:
    """A pod that needs no more than its place."""
    container = {"name": "train", "image": "pause:3.10"}
    body = {
        "containers": [container],
        "terminationGracePeriodSeconds": 20,
        "automountServiceAccountToken": False,
    }
    meta = {"name": name, "namespace": SPACE}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {**body, **spec}}


def job(name: str) -> dict[str, Any]:
    """A TrainingJob that says what it must."""
    template = {"spec": {"containers": [{"name": "train", "image": "pause:3.10"}]}}
    spec = {"accelerator": {"type": "cpu"}, "workersPerSlice": 1, "template": template}
    meta = {"name": name, "namespace": SPACE}
    return {"apiVersion": "drumline.dev/v1alpha1", "kind": "TrainingJob", "metadata": meta, "spec": spec}


def service(uid: str) -> dict[str, Any]:
    """A headless Service, of that uid if there is one."""
    metadata = {"name": "names", "namespace": SPACE} | ({"uid": uid} if uid else {})
    spec = {"clusterIP": "None", "ports": [{"port": 1, "name": "x"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def precondition(uid: str) -> dict[str, Any]:
    """Delete this object, not another of its name."""
    return {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}


def status_patch(version: str, phase: str) -> list[dict[str, Any]]:
    """As the executor writes a status."""
    return [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
        {"op": "add", "path": "/status", "value": {"phase": phase}},
    ]


async def ask_real(cluster: EmbeddedCluster) -> list[Answer]:
    """The answers of a real API server with our kinds installed."""
    async with await connect(str(cluster.kubeconfig)) as client:
        return await interview(client.request)


def lines(answers: list[Answer]) -> str:
    """As they are kept in a file: one answer a line."""
    rows = ",\n".join(json.dumps({k: v for k, v in asdict(a).items() if v}) for a in answers)
    return f"[\n{rows}\n]\n"


async def _main() -> str:
    with EmbeddedCluster(OPTIONS) as cluster:
        await install_api(cluster)
        return lines(await ask_real(cluster))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(asyncio.run(_main()), encoding="utf-8")
