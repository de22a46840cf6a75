"""Reports over TLS with tokens that a real API server issues and reviews."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from drumline.api.report import MAX_REPORT_BYTES, Report
from drumline.core.gang.types import Pod
from drumline.runtime.http_paths import resource_path
from drumline.runtime.kube import connect
from e2e.cluster.provider import Cluster
from tests.integration.admission import install
from tests.integration.ingest import IngestLab, ingest_lab

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module", autouse=True)
def _crd(cluster: Cluster) -> None:
    install(cluster)


@pytest.fixture
async def lab(cluster: Cluster, namespace: str, tmp_path: Path) -> AsyncIterator[IngestLab]:
    # one for each test: what one has refused must not count against another
    async with (
        await connect(str(cluster.kubeconfig)) as client,
        ingest_lab(cluster, client, namespace, tmp_path) as lab,
    ):
        yield lab


@pytest.fixture
async def worker(lab: IngestLab) -> tuple[str, Pod, str]:
    """(job uid, pod, its token) of a job `llama`."""
    uid = await lab.job("llama")
    pod = await lab.pod("llama", uid)
    return uid, pod, await lab.token(pod)


Worker = tuple[str, Pod, str]


async def counted(lab: IngestLab, outcome: str, least: int = 1) -> None:
    """Until the operator has heard of so many."""
    for _ in range(50):
        if lab.desk.counts[outcome] >= least:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(lab.desk.counts)


async def test_a_pods_own_report_is_taken_whole(lab: IngestLab, worker: Worker) -> None:
    uid, _, token = worker
    sent = lab.report("llama", uid, commits=[{"step": 3, "atMs": 950}])
    answer = await lab.send(token, sent)
    assert (answer.status, answer.body["durableMs"]) == (200, 1000), answer
    assert lab.desk.taken == [Report.model_validate(sent)]
    again = await lab.send(token, {**sent, "sequence": 2, "sentMs": 2000})
    assert (again.status, again.body["durableMs"]) == (200, 2000)
    await counted(lab, "accepted", 2)


async def test_tokens_that_prove_nothing_are_refused(lab: IngestLab, worker: Worker) -> None:
    uid, pod, good = worker
    head, _, tail = good.split(".")
    tokens = {
        "": "bearer",
        "garbage": "service account",
        f"{head}.e30.{tail}": "audience",
        good[:-8] + "AAAAAAAA": "not valid",
        await lab.token(pod, "another"): "audience",
        await lab.token(None): "not bound to a pod",
    }
    for token, complaint in tokens.items():
        answer = await lab.send(token, lab.report("llama", uid))
        assert answer.status == 401, (complaint, answer)
        assert complaint in answer.body["error"]
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert lab.desk.taken == []


async def test_a_token_of_a_pod_that_has_gone_is_refused(lab: IngestLab, worker: Worker) -> None:
    uid, pod, token = worker
    assert (await lab.send(token, lab.report("llama", uid))).status == 200
    path = resource_path("pods", pod.namespace, pod.name)
    await lab.client.request("DELETE", path, params={"gracePeriodSeconds": 0})
    del lab.desk.pods[pod.namespace, pod.name]
    gone = await lab.send(token, lab.report("llama", uid))
    assert (gone.status, "no pod" in gone.body["error"]) == (403, True), gone
    # the operator's word made the ingest forget the token: now the API server refuses it
    for _ in range(100):  # which remembers tokens for some seconds itself
        answer = await lab.send(token, lab.report("llama", uid))
        if answer.status == 401:
            break
        assert answer.status in (403, 429), answer
        await asyncio.sleep(0.5)
    assert answer.status == 401, answer


async def test_a_pod_speaks_for_its_own_job_only(lab: IngestLab, worker: Worker) -> None:
    uid, _, token = worker
    other = await lab.job("other")
    await lab.pod("other", other)
    answer = await lab.send(token, lab.report("other", other))
    assert (answer.status, "not of job" in answer.body["error"]) == (403, True), answer
    assert (await lab.send(token, lab.report("llama", uid))).status == 200
    answer = await lab.send(token, lab.report("other", other))
    assert (answer.status, "of another job" in answer.body["error"]) == (403, True), answer
    elsewhere = lab.report("llama", uid)
    elsewhere["job"]["namespace"] = "default"
    assert (await lab.send(token, elsewhere)).status == 403
    await counted(lab, "forbidden", 3)
    assert len(lab.desk.taken) == 1


async def test_an_attempt_that_is_over_is_told_so(lab: IngestLab, worker: Worker) -> None:
    uid, _, token = worker
    assert (await lab.send(token, lab.report("llama", uid, attempt=2))).status == 403, "not its attempt"
    second = await lab.token(await lab.pod("llama", uid, attempt=2))
    assert (await lab.send(second, lab.report("llama", uid, attempt=1))).status == 409
    lab.desk.attempts[uid] = 2
    assert (await lab.send(token, lab.report("llama", uid))).status == 409
    assert (await lab.send(second, lab.report("llama", uid, attempt=2))).status == 200
    await counted(lab, "stale", 2)


async def test_what_is_no_report_is_refused_by_field(lab: IngestLab, worker: Worker) -> None:
    uid, _, token = worker
    good = lab.report("llama", uid)
    step = good["spans"][0]
    cases = {
        b"{": "JSON",
        b"[]": "object",
        b'{"version": 1}': "job: Field required (and 2 more)",
    }
    for body, complaint in cases.items():
        answer = await lab.send(token, body)
        assert (answer.status, complaint in answer.body["error"]) == (400, True), answer
    for change, path in (
        ({"spans": [step, {**step, "durationMs": -1}]}, "spans.1.durationMs: "),
        ({"job": {**good["job"], "uid": ""}}, "job.uid: "),
        ({"version": 9}, "version: "),
    ):
        answer = await lab.send(token, {**good, **change})
        assert (answer.status, answer.body["error"].startswith(path)) == (400, True), answer
    await counted(lab, "invalid", 6)
    assert lab.desk.taken == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused(lab: IngestLab, worker: Worker, chunked: bool) -> None:
    token = worker[2]
    size = MAX_REPORT_BYTES + 1
    answer = await lab.send(token, b" " * size, chunked=chunked or None)
    assert answer.status == 413
    assert str(MAX_REPORT_BYTES) in answer.body["error"]


async def test_slow_clients_are_cut_off(lab: IngestLab, worker: Worker) -> None:
    began = time.monotonic()
    body = f"POST /v1/report HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {worker[2]}\r\n"
    starts = {
        "body": f"{body}Content-Length: 1000\r\n\r\n{{".encode(),
        "headers": b"POST /v1/report HTTP/1.1\r\nHost: x\r\n",
        "nothing": b"",
    }
    heard = await asyncio.gather(*(slowly(lab, start) for start in starts.values()), slowly(lab, None))
    assert 4 < time.monotonic() - began < 40  # a busy machine's
    answers = dict(zip((*starts, "no TLS"), heard, strict=True))
    assert answers["body"].startswith(b"HTTP/1.1 408 ")
    assert {answers[name] for name in ("headers", "nothing", "no TLS")} == {b""}
    uid = worker[0]
    assert (await lab.send(worker[2], lab.report("llama", uid))).status == 200


async def slowly(lab: IngestLab, start: bytes | None) -> bytes:
    """Say that much and no more (None: not even TLS); what is heard until the other side hangs up."""
    tls = lab.tls if start is not None else None
    name = lab.host if start is not None else None
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.port, ssl=tls, server_hostname=name)
    writer.write(start or b"")
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_a_replica_that_does_not_lead_says_so(lab: IngestLab, worker: Worker) -> None:
    uid, _, token = worker
    lab.desk.leads = False
    answer = await lab.send(token, lab.report("llama", uid))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2"), answer
    assert answer.headers["Connection"] == "close"
    lab.desk.leads = True
    assert (await lab.send(token, lab.report("llama", uid))).status == 200
    await counted(lab, "not_leader")


async def test_an_operator_that_is_away_is_waited_for(lab: IngestLab, worker: Worker) -> None:
    uid, _, token = worker
    assert (await lab.send(token, lab.report("llama", uid))).status == 200
    await lab.bus.stop()
    away = await lab.send(token, lab.report("llama", uid))
    assert (away.status, "Retry-After" in away.headers) == (503, True), away
    await lab.bus.start()
    for _ in range(50):
        if (answer := await lab.send(token, lab.report("llama", uid))).status == 200:
            break
        await asyncio.sleep(0.2)
    assert answer.status == 200
    await counted(lab, "unavailable")


async def test_one_pods_flood_is_held_back(lab: IngestLab, worker: Worker) -> None:
    uid, _, token = worker
    quiet = await lab.job("quiet")
    calm = await lab.token(await lab.pod("quiet", quiet))
    sends = (lab.send(token, lab.report("llama", uid)) for _ in range(40))
    flood = [answer.status for answer in await asyncio.gather(*sends)]
    assert set(flood) == {200, 429}
    assert (await lab.send(calm, lab.report("quiet", quiet))).status == 200
    limited = await lab.send(token, lab.report("llama", uid))
    if limited.status == 429:
        assert int(limited.headers["Retry-After"]) >= 1
    await counted(lab, "limited")


async def test_only_the_published_authority_vouches_for_it(lab: IngestLab) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(lab.url("/healthz"))
    plain = ssl.create_default_context()
    plain.load_verify_locations(cadata=lab.cluster.ca.decode())
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection("127.0.0.1", lab.port, ssl=plain, server_hostname=lab.host)
