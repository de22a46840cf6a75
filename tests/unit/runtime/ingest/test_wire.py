"""Frames survive the socket, and what is no frame is an error."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from drumline.api.orders import OrderKind, Orders
from drumline.api.report import Receipt
from drumline.runtime.ingest import wire
from drumline.runtime.ingest.verdicts import (
    Accepted,
    Forbidden,
    Heard,
    MusterVerdict,
    NotLeader,
    Reporter,
    Stale,
    Told,
    Unavailable,
    Verdict,
)


def through(data: bytes) -> tuple[bytes, bytes]:
    (found,) = wire.Frames().feed(data)
    return found


@pytest.mark.parametrize("piece", [1, 3, 7, 100])
def test_frames_come_in_any_pieces(piece: int) -> None:
    sent = [(wire.REPORT, b"first"), (wire.COUNTS, b""), (wire.VERDICT, b"x" * 50)]
    data = b"".join(wire.frame(*each) for each in sent)
    frames = wire.Frames()
    got = [frame for at in range(0, len(data), piece) for frame in frames.feed(data[at : at + piece])]
    assert got == sent


def test_a_report_arrives_as_sent() -> None:
    reporter = Reporter("ns", "pod-é", "uid")
    kind, payload = through(wire.report_frame(2**32 - 1, reporter, b'{"x": 1}', 2**40))
    assert kind == wire.REPORT
    assert wire.read_report(payload) == (2**32 - 1, reporter, b'{"x": 1}', 2**40)


@pytest.mark.parametrize(
    "verdict",
    [
        Accepted(Receipt(durable_ms=7, interval_seconds=2.5), 9),
        Stale(),
        Forbidden("no", gone=True),
        NotLeader(3.0),
        Unavailable("why", 1.0),
    ],
)
def test_a_verdict_arrives_as_sent(verdict: Verdict) -> None:
    kind, payload = through(wire.verdict_frame(5, verdict))
    assert kind == wire.VERDICT
    assert wire.read_verdict(payload) == (5, verdict)


def test_counts_arrive_as_sent() -> None:
    kind, payload = through(wire.counts_frame({"accepted": 3}))
    assert (kind, wire.read_counts(payload)) == (wire.COUNTS, {"accepted": 3})


@pytest.mark.parametrize("data", [b"\0\0\0\0", b"\xff\xff\xff\xff", (wire.MAX_FRAME + 1).to_bytes(4, "big")])
def test_a_length_without_sense_is_an_error(data: bytes) -> None:
    with pytest.raises(wire.WireError):
        through(data + b"R")


@pytest.mark.parametrize("payload", [b"", *(bytes(12) + rest for rest in (b"\0\2[]", b"\0\1{", b"\xff\xff"))])
def test_a_report_without_sense_is_an_error(payload: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.read_report(payload)


@pytest.mark.parametrize("payload", [b"", b"\0\0\0\1{}", b'\0\0\0\1{"as":"accepted"}', b'\0\0\0\1{"as":"?"}'])
def test_a_verdict_without_sense_is_an_error(payload: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.read_verdict(payload)


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"other":1}', b'{"accepted":"x"}'])
def test_counts_without_sense_are_an_error(payload: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.read_counts(payload)


def test_what_is_too_long_is_not_sent() -> None:
    with pytest.raises(wire.WireError):
        wire.frame(wire.REPORT, b"x" * wire.MAX_FRAME)


def test_a_muster_arrives_as_sent() -> None:
    reporter = Reporter("ns", "pod-é", "uid")
    kind, payload = through(wire.muster_frame(2**32 - 1, reporter, b'{"x": 1}'))
    assert kind == wire.MUSTER
    assert wire.read_muster(payload) == (2**32 - 1, reporter, b'{"x": 1}')


@pytest.mark.parametrize(
    "verdict", [Heard(), Stale(), Forbidden("no", gone=True), NotLeader(3.0), Unavailable("why", 1.0)]
)
def test_what_is_said_of_a_muster_arrives_as_sent(verdict: MusterVerdict) -> None:
    kind, payload = through(wire.hearing_frame(5, verdict))
    assert kind == wire.HEARING
    assert wire.read_hearing(payload) == (5, verdict)


def test_orders_arrive_as_sent() -> None:
    orders = Orders(epoch=2, go=False, number=3, kind=OrderKind.STACKS)
    kind, payload = through(wire.orders_frame(Told("job", 4, orders)))
    assert kind == wire.ORDERS
    assert wire.read_orders(payload) == ("job", 4, False, orders.digest, orders.to_json())
    _, payload = through(wire.orders_frame(Told("job", 4, None, over=True)))
    assert wire.read_orders(payload) == ("job", 4, True, "", None)


@pytest.mark.parametrize(
    ("read", "payload"),
    [
        (wire.read_muster, b"abc"),
        (wire.read_muster, b"\0\0\0\0\0\1{}"),
        (wire.read_hearing, b"\0\0"),
        (wire.read_hearing, b"\0\0\0\0{}"),
        (wire.read_hearing, b'\0\0\0\0{"as":"accepted","receipt":{},"held":0}'),
        (wire.read_orders, b"{"),
        (wire.read_orders, b"[1]"),
    ],
)
def test_what_is_no_frame_of_orders(read: Callable[[bytes], object], payload: bytes) -> None:
    with pytest.raises(wire.WireError):
        read(payload)
