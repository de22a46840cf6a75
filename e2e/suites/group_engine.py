"""An engine of several pods and several roles, small but real: its source is the program of a pod.

Standard library only. What a pod is, and where the others are, it knows from the environment that the operator gave
it, and it refuses to run (exit code 3, with what is wrong) when the variables contradict each other.

- Worker 0 of a group, the leader, waits until every other worker has called it under ``LWS_LEADER_ADDRESS``. Each
  token of an answer is made by all of them: a worker adds its own number to what it is asked.
- The leader of ``decode`` asks a group of ``prefill`` for the beginning of every answer, at the address in
  ``DRUMLINE_PEERS_PREFILL``, and fails the request (HTTP 500) when that is not of its own revision.
- It answers ``/v1/completions``, streamed or not; ``/health`` is 503 until the group is complete and, for decode,
  prefill answers; ``/metrics`` has vLLM's names.
"""

import http.client
import http.server
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO, Any

CALL_SECONDS = 60.0
TOKEN_SECONDS = 0.01
QUEUED_SECONDS = 0.3  # a request is in the queue for so long before prefill is asked
_BOUNDS = (0.5, 1.0, 5.0)
_ENV = os.environ


def wrong() -> list[str]:
    """What contradicts itself in the environment."""
    size, worker = int(_ENV["LWS_GROUP_SIZE"]), int(_ENV["LWS_WORKER_INDEX"])
    host = f"{_ENV['DRUMLINE_SERVICE']}-{_ENV['DRUMLINE_ROLE']}-{_ENV['DRUMLINE_GROUP']}"
    equal = {
        "the leader's address": (_ENV["LWS_LEADER_ADDRESS"], _ENV["DRUMLINE_LEADER_ADDRESS"]),
        "the leader's host": (_ENV["LWS_LEADER_ADDRESS"].partition(".")[0], f"{host}-0"),
        "the group's size": (str(size), _ENV["DRUMLINE_GROUP_SIZE"]),
        "the worker's number": (str(worker), _ENV["DRUMLINE_WORKER"]),
        "the host's name": (socket.gethostname(), f"{host}-{worker}"),
    }
    if size > 1:
        equal["torch's address"] = (_ENV["MASTER_ADDR"], _ENV["LWS_LEADER_ADDRESS"])
        equal["torch's nodes"] = (_ENV["NNODES"], str(size))
        equal["torch's node"] = (_ENV["NODE_RANK"], str(worker))
        equal["the processes"] = (f"{_ENV['RANK']}/{_ENV['WORLD_SIZE']}", f"{worker}/{size}")
        equal["Ray's head"] = (_ENV["RAY_ADDRESS"].partition(":")[0], _ENV["LWS_LEADER_ADDRESS"])
    return [f"{what}: {a!r} is not {b!r}" for what, (a, b) in equal.items() if a != b]


def work() -> None:
    """A worker's life: find the leader, say who it is, and add its number to whatever it is asked."""
    address = (_ENV["LWS_LEADER_ADDRESS"], int(_ENV["MASTER_PORT"]))
    with _called(address) as connection, connection.makefile("rw") as stream:
        _tell(stream, {"worker": int(_ENV["LWS_WORKER_INDEX"]), "revision": _ENV["DRUMLINE_REVISION"]})
        for line in stream:
            _tell(stream, {"sum": json.loads(line)["sum"] + int(_ENV["LWS_WORKER_INDEX"])})
    sys.exit("the leader has hung up")


def _called(address: tuple[str, int]) -> socket.socket:
    deadline = time.monotonic() + CALL_SECONDS
    while True:
        try:
            found = socket.create_connection(address, timeout=5)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
            continue
        found.settimeout(None)
        return found


def _tell(stream: IO[str], what: dict[str, Any]) -> None:
    stream.write(json.dumps(what) + "\n")
    stream.flush()


class Group:
    """What the leader knows: its workers, its peers, what it has done."""

    def __init__(self) -> None:
        self.size = int(_ENV["LWS_GROUP_SIZE"])
        self.peer = _ENV.get("DRUMLINE_PEERS_PREFILL", "")
        self.workers: dict[int, IO[str]] = {}
        self.turn = threading.Lock()  # the workers hear one question at a time
        self.lock = threading.Lock()
        self.counters = {"running": 0, "stop": 0, "error": 0, "prompt": 0, "generation": 0}
        self.first = [0] * (len(_BOUNDS) + 1)

    def gather(self) -> None:
        """Let workers in, as long as the group lives."""
        if self.size == 1:
            return
        with socket.create_server(("", int(_ENV["MASTER_PORT"]))) as server:
            while True:
                connection, _ = server.accept()
                stream = connection.makefile("rw")
                said = json.loads(stream.readline())
                if said["revision"] != _ENV["DRUMLINE_REVISION"]:
                    sys.exit(f"a worker of revision {said['revision']} called")
                self.workers[said["worker"]] = stream

    def able(self) -> bool:
        """Whether all workers are there and, where it needs one, a prefill group answers that is of its revision."""
        if len(self.workers) + 1 < self.size:
            return False
        try:
            return not self.peer or self.ask_peer()["revision"] == _ENV["DRUMLINE_REVISION"]
        except OSError:
            return False

    def ask_peer(self) -> dict[str, Any]:
        """What a prefill group makes of a prompt; ``OSError`` when none answers."""
        connection = http.client.HTTPConnection(self.peer, timeout=5)
        try:
            connection.request("GET", "/prefill")
            found: dict[str, Any] = json.load(connection.getresponse())
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()
        return found

    def tokens(self, count: int) -> Iterator[str]:
        """An answer, token by token: each is 1 and the numbers of all workers."""
        if self.peer:
            time.sleep(QUEUED_SECONDS)
            found = self.ask_peer()
            if found["revision"] != _ENV["DRUMLINE_REVISION"]:
                raise ValueError(f"prefill is of {found['revision']}, not {_ENV['DRUMLINE_REVISION']}")
        for _ in range(count):
            time.sleep(TOKEN_SECONDS)
            yield str(self._sum())

    def _sum(self) -> int:
        total = 1
        with self.turn:
            for stream in self.workers.values():
                _tell(stream, {"sum": total})
                total = json.loads(stream.readline())["sum"]
        return total

    def count(self, **by: int) -> None:
        with self.lock:
            for name, amount in by.items():
                self.counters[name] += amount

    def began(self, seconds: float) -> None:
        """A first token came after so many seconds."""
        with self.lock:
            self.first[sum(seconds > bound for bound in _BOUNDS)] += 1

    def exposition(self) -> str:
        """What it has done, under vLLM's names."""
        known, total, buckets = self.counters, 0, []
        for bound, count in zip((*_BOUNDS, "+Inf"), self.first, strict=True):
            total += count
            buckets.append(f'vllm:time_to_first_token_seconds_bucket{{le="{bound}"}} {total}')
        lines = [
            "vllm:num_requests_waiting 0",
            f"vllm:num_requests_running {known['running']}",
            f"vllm:prompt_tokens_total {known['prompt']}",
            f"vllm:generation_tokens_total {known['generation']}",
            f'vllm:request_success_total{{finished_reason="length"}} {known["stop"]}',
            f'vllm:request_success_total{{finished_reason="error"}} {known["error"]}',
            *buckets,
            f"vllm:time_to_first_token_seconds_count {total}",
        ]
        return "\n".join([*lines, ""])


class Handler(http.server.BaseHTTPRequestHandler):
    """What the leader answers."""

    group: Group

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._say(200, self.group.exposition().encode())
        elif self.path == "/prefill":
            self._say(200, json.dumps({"revision": _ENV["DRUMLINE_REVISION"]}).encode())
        else:
            self._say(200 if self.group.able() else 503, b"")

    def do_POST(self) -> None:
        wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.group.count(running=1, prompt=len(wish["prompt"]))
        try:
            self._answer(wish, time.monotonic())
            self.group.count(stop=1, generation=wish["max_tokens"])
        except (OSError, ValueError) as error:
            self.group.count(error=1)
            self._say(500, str(error).encode())
        finally:
            self.group.count(running=-1)

    def _answer(self, wish: dict[str, Any], began: float) -> None:
        tokens = self.group.tokens(wish["max_tokens"])
        first = next(tokens)
        self.group.began(time.monotonic() - began)
        if not wish.get("stream"):
            self._say(200, json.dumps(_choice(first + "".join(tokens))).encode())
            return
        self.send_response(200)
        self.end_headers()
        for token in (first, *tokens):
            self.wfile.write(f"data: {json.dumps(_choice(token))}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (as the base class has it)
        """Nobody reads it."""


def _choice(text: str) -> dict[str, Any]:
    return {"choices": [{"text": text}]}


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if problems := wrong():
        print(*problems, sep="\n", file=sys.stderr)
        sys.exit(3)
    if _ENV["LWS_WORKER_INDEX"] != "0":
        work()
    Handler.group = Group()
    threading.Thread(target=Handler.group.gather, daemon=True).start()
    http.server.ThreadingHTTPServer(("", int(_ENV["DRUMLINE_PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main()
