"""A fence that is asked at the very last moment: by the socket, just before it sends.

A process may be stopped anywhere: between asking "may I write?" and writing, too, and go on half a minute
later. Asking before a request leaves that gap open for as long as preparing, encrypting and sending it
takes; on a busy machine a stop hits it once in ten times. Asked by the socket it is a microsecond.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from drumline.runtime.errors import LeaseLost

Fence = Callable[[], None]  # raises LeaseLost, or does not return


def no_fence() -> None:
    """A fence that lets everything through."""


class FencedSocket(socket.socket):
    """A socket that sends nothing once the fence is closed: the connection then counts as broken."""

    fence: Fence = staticmethod(no_fence)

    def send(self, *arguments: Any) -> int:
        """As socket.send; raises ConnectionAbortedError behind a closed fence."""
        self._ask()
        return super().send(*arguments)

    def sendmsg(self, *arguments: Any) -> int:
        """As socket.sendmsg; raises ConnectionAbortedError behind a closed fence."""
        self._ask()
        return super().sendmsg(*arguments)

    def _ask(self) -> None:
        try:
            self.fence()
        except LeaseLost as error:
            raise ConnectionAbortedError(str(error)) from error


def fenced_sockets(fence: Fence) -> Callable[[Any], socket.socket]:
    """A socket factory for aiohttp's connector."""

    def factory(address: Any) -> socket.socket:
        family, kind, protocol, *_ = address
        made = FencedSocket(family, kind, protocol)
        made.fence = fence
        return made

    return factory
