"""Our own writes, remembered until the watch shows them.

A cache lags behind what was just written; deciding on it again would repeat the write. So each create and
delete of a watched object is expected before it is sent, and met when the watch shows it; a status write
is expected by its resource version. While some of an owner's expectations are open, its cache is stale.

What came and went while the watch had a gap is never shown. So a list that is at least as new as a creation meets
it, whatever the list holds. What is still never seen expires.

While the cache is to be listed anew it shows nobody's latest writes, an earlier leader's among them: then something is
pending for every owner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from drumline.core.gang.types import Pod

Token = tuple[str, ...]

TTL: Final = 300.0  # seconds


def creation(resource: str, namespace: str, name: str) -> Token:
    """The object will be seen."""
    return ("create", resource, namespace, name)


def deletion(uid: str) -> Token:
    """The object will be seen to go, or to be gone."""
    return ("delete", uid)


class Expectations:
    """Open expectations by owner uid. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float], ttl: float = TTL) -> None:
        self._clock = clock
        self._ttl = ttl
        self.blind: Callable[[], bool] = lambda: False  # whether the cache is to be listed anew
        self._open: dict[str, dict[Token, float]] = {}  # owner → token → expiry, oldest first
        self._owners: dict[Token, str] = {}
        self._made: dict[Token, str] = {}  # open creations that the server has carried out → version
        self._versions: dict[str, tuple[str, float]] = {}  # owner → version, expiry

    def expect(self, owner: str, token: Token) -> None:
        """Before the write is sent."""
        self.met(token)
        self._open.setdefault(owner, {})[token] = self._clock() + self._ttl
        self._owners[token] = owner

    def made(self, token: Token, version: str) -> None:
        """The server says that what was to be created is there, at this resource version."""
        if token in self._owners:
            self._made[token] = version

    def listed(self, version: str) -> None:
        """The cache shows a list of this resource version: what was created before is in it, or gone again."""
        for token in [token for token, made in self._made.items() if _at_least(version, made)]:
            self.met(token)

    def met(self, token: Token) -> None:
        """The watch showed it, or the write was not carried out. Unknown tokens are ignored."""
        owner = self._owners.pop(token, None)
        if owner is None:
            return
        self._made.pop(token, None)
        tokens = self._open[owner]
        del tokens[token]
        if not tokens:
            del self._open[owner]

    def pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """Meet what a change in the pods' reflector shows."""
        pod = new or old
        if pod is None:
            return
        self.met(creation("pods", pod.namespace, pod.name))
        if new is None or new.deleting:
            self.met(deletion(pod.uid))

    def expect_version(self, owner: str, version: str) -> None:
        """After a status write that gave the owner this resource version."""
        self._versions[owner] = (version, self._clock() + self._ttl)

    def pending(self, owner: str) -> int:
        """How many creates and deletes of this owner the cache does not show yet, as far as is known."""
        tokens = self._open.get(owner, {})
        now = self._clock()
        for token in [token for token, expiry in tokens.items() if expiry <= now]:
            self.met(token)
        return len(tokens) + self.blind()

    def behind(self, owner: str, version: str) -> bool:
        """Whether the cached owner, at `version`, is older than our last status write."""
        written, expiry = self._versions.get(owner, ("", 0.0))
        if expiry <= self._clock() or _at_least(version, written):
            self._versions.pop(owner, None)
            return False
        return True

    def forget(self, owner: str) -> None:
        """The owner is gone."""
        self._versions.pop(owner, None)
        for token in list(self._open.get(owner, ())):
            self.met(token)


def _at_least(version: str, written: str) -> bool:
    """Compare resource versions, which are numbers since Kubernetes says so; others can only be equal."""
    if version.isdecimal() and written.isdecimal():
        return int(version) >= int(written)
    return version == written
