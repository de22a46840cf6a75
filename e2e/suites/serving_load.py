"""Load on a service from a pod of its own, and what it says of its answers."""

import inspect
import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from e2e.demo_site import Site
from e2e.suites import serving_client
from e2e.suites.kubectl import until
from e2e.suites.pods import python_pod

SECONDS = 300  # so that a forgotten one ends by itself
_STOP_SECONDS = 90.0


@dataclass(frozen=True)
class Report:
    """What a client has seen: answers that were right, what failed, the longest answer in seconds."""

    answered: int
    longest: float
    failures: tuple[str, ...]
    running: int


@dataclass(frozen=True)
class Load:
    """A client in a pod."""

    url: str

    def report(self) -> Report:
        """What it has seen so far."""
        return self._get("/", 10)

    def stop(self) -> Report:
        """Let it end what is under way; all it has seen."""
        return self._get("/stop", _STOP_SECONDS)

    def answers(self, more: int, seconds: float = 60) -> None:
        """Wait until so many more answers have come."""
        goal = self.report().answered + more
        until(lambda: self.report().answered >= goal, f"{more} more answers", seconds)

    def _get(self, path: str, seconds: float) -> Report:
        with urllib.request.urlopen(self.url + path, timeout=seconds) as answer:
            found = json.load(answer)
        return Report(found["answered"], found["longest"], tuple(found["failures"]), found["running"])


@contextmanager
def load(
    site: Site,
    target: str,
    *,
    threads: int,
    tokens: int,
    expected: str = "klmno",
    seconds: int = SECONDS,
) -> Iterator[Load]:
    """A pod that asks ``target`` with so many threads until the block ends."""
    name = f"client-of-{target}"
    given = {"TARGET": f"{target}:80", "THREADS": threads, "TOKENS": tokens, "EXPECTED": expected}
    env = {key: str(value) for key, value in {**given, "SECONDS": seconds}.items()}
    code = inspect.getsource(serving_client)
    limits = {"resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "128Mi"}}}
    site.kubectl.apply(python_pod(name, code, env, container=limits))
    try:
        address = site.kubectl.wait_pod(name, "Running")["status"]["podIP"]
        client = Load(f"http://{address}:{serving_client.PORT}")
        until(lambda: _listens(client), "the client to listen", 30)
        yield client
    finally:
        site.kubectl.delete("pod", name)


def _listens(client: Load) -> bool:
    try:
        client.report()
    except OSError:
        return False
    return True
