"""An operator's part towards launchers: hears musters, holds polls, and answers when its orders change.

A thread and plain sockets, so that launchers run as processes beside it. It reads a next request while one is held,
as the ingest does.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from drumline.api.orders import Muster, Orders
from drumline.api.report import Receipt, Report

WAIT_SECONDS = 60.0  # of a machine that is busy


class Desk:
    """Answers polls. `hold`: seconds; `status` other than 200 refuses all."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.musters: list[Muster] = []
        self.reports: list[Report] = []
        self.orders: Orders | None = None
        self.status = 200
        self.hold = 30.0
        self.connections = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def order(self, **fields: Any) -> None:
        with self.changed:
            self.orders = Orders(**fields)
            self.changed.notify_all()

    def refuse(self, status: int) -> None:
        with self.changed:
            self.status = status
            self.changed.notify_all()

    def until(self, holds: Callable[[Muster], bool]) -> Muster:
        """The last muster, once it is as wanted."""
        deadline = time.monotonic() + WAIT_SECONDS
        with self.changed:
            while not (self.musters and holds(self.musters[-1])):
                left = deadline - time.monotonic()
                assert left > 0, self.musters
                self.changed.wait(left)
            return self.musters[-1]

    def reported(self, epoch: int, holds: Callable[[list[Report]], bool]) -> list[Report]:
        """What was reported of an epoch, once it is as wanted."""
        with self.changed:
            self.changed.wait_for(lambda: holds(self._of(epoch)), WAIT_SECONDS)
            found = self._of(epoch)
        assert holds(found), found
        return found

    def _of(self, epoch: int) -> list[Report]:
        return [report for report in self.reports if report.epoch == epoch]

    def reaches(self, state: str, epoch: int = 0) -> Muster:
        return self.until(lambda m: (m.state.value, m.epoch) == (state, epoch))

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        requests: list[Muster | None] = []
        threading.Thread(target=self._read, args=(link, requests), daemon=True).start()
        while True:
            with self.changed:
                while not requests:
                    self.changed.wait()
                muster = requests[0]
                if muster is None:
                    return
                self._hold(muster, requests)
                del requests[0]
                answer = self._answer()
            try:
                link.sendall(answer)
            except OSError:
                return

    def _hold(self, muster: Muster, requests: list[Muster | None]) -> None:
        until = time.monotonic() + self.hold
        while self.status == 200 and len(requests) == 1 and time.monotonic() < until:
            if self.orders is not None and self.orders.digest != muster.digest:
                return
            self.changed.wait(until - time.monotonic())

    def _answer(self) -> bytes:
        told: dict[str, Any] = {"digest": ""}
        if self.orders is not None:
            told = {"digest": self.orders.digest, **self.orders.to_json()}
        return _response(self.status, told if self.status == 200 else {"error": "no"})

    def _read(self, link: socket.socket, requests: list[Muster | None]) -> None:
        stream = link.makefile("rb")
        while True:
            try:
                length, path = 0, stream.readline().split()[1:2]
                while (line := stream.readline().strip()) != b"":
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                body = stream.read(length)
                if path == [b"/v1/report"]:
                    with self.changed:
                        self.reports.append(Report.model_validate_json(body))
                        self.changed.notify_all()
                    link.sendall(_response(200, Receipt(durable_ms=0, interval_seconds=0.5).to_json()))
                    continue
                found = Muster.model_validate_json(body) if path == [b"/v1/orders"] else None
            except (OSError, ValueError):
                found = None
            with self.changed:
                requests.append(found)
                if found is not None:
                    self.musters.append(found)
                self.changed.notify_all()
            if found is None:
                return


def _response(status: int, document: Any) -> bytes:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status} X\r\nRetry-After: 0\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@contextmanager
def desk() -> Iterator[Desk]:
    made = Desk()
    try:
        yield made
    finally:
        made.close()
