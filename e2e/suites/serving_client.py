"""A client that asks again and again, for a pod. Standard library only: its source is the pod's program.

``THREADS`` of it ask ``TARGET`` (host:port) for completions, each on a new connection, never twice for the same
answer, and read every answer as it is streamed. An answer that is not the ``TOKENS`` tokens of ``EXPECTED`` (again
and again, as long as they have to be) is a failure, and so is anything else that goes wrong.

``GET /`` on port 9000 says what happened so far; ``GET /stop`` lets what is under way end, and says so too. It ends
by itself after ``SECONDS``.
"""

import http.client
import http.server
import json
import os
import threading
import time
from collections.abc import Iterator

PORT = 9000
_ANSWER_SECONDS = 60.0


class Client:
    """Threads that ask, and what became of it."""

    def __init__(self) -> None:
        self.target = os.environ["TARGET"]
        self.tokens = int(os.environ["TOKENS"])
        self.expected = os.environ["EXPECTED"]
        self.end = time.monotonic() + float(os.environ["SECONDS"])
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.answered = 0
        self.longest = 0.0
        self.failures: list[str] = []
        self.threads = [threading.Thread(target=self._ask) for _ in range(int(os.environ["THREADS"]))]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Let every thread get its last answer."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(_ANSWER_SECONDS)

    def report(self) -> bytes:
        """What happened so far, as JSON."""
        with self.lock:
            said = {"answered": self.answered, "longest": self.longest, "failures": self.failures}
            return json.dumps({**said, "running": sum(t.is_alive() for t in self.threads)}).encode()

    def _ask(self) -> None:
        while not self.stopping.is_set() and time.monotonic() < self.end:
            began = time.monotonic()
            try:
                self._check("".join(self._stream()))
                why = ""
            except Exception as error:  # noqa: BLE001  (whatever it is, the request has failed)
                why = f"{type(error).__name__}: {error}"
            with self.lock:
                self.longest = max(self.longest, time.monotonic() - began)
                if why:
                    self.failures.append(why[:300])
                else:
                    self.answered += 1
            if why:
                time.sleep(0.1)  # a service that refuses everything must not fill the memory

    def _stream(self) -> Iterator[str]:
        """The parts of one answer; raises when it is not one, or when it ends before it is over."""
        wish = {"model": "tiny", "prompt": "Hello", "max_tokens": self.tokens, "stream": True}
        body = json.dumps({**wish, "temperature": 0, "ignore_eos": True})
        headers = {"Content-Type": "application/json", "Connection": "close"}
        connection = http.client.HTTPConnection(self.target, timeout=_ANSWER_SECONDS)
        try:
            connection.request("POST", "/v1/completions", body, headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise OSError(f"HTTP {answer.status}: {answer.read(200)!r}")
            yield from _parts(answer)
        finally:
            connection.close()

    def _check(self, text: str) -> None:
        wanted = (self.expected * self.tokens)[: self.tokens]
        if text != wanted:
            raise ValueError(f"{len(text)} characters, and they end with {text[-20:]!r}")


def _parts(answer: http.client.HTTPResponse) -> Iterator[str]:
    for line in answer:
        if not line.startswith(b"data: "):
            continue
        said = line.removeprefix(b"data: ").strip()
        if said == b"[DONE]":
            return
        yield json.loads(said)["choices"][0]["text"]
    raise EOFError("the stream ended early")


class _Control(http.server.BaseHTTPRequestHandler):
    client: Client

    def do_GET(self) -> None:
        if self.path == "/stop":
            self.client.stop()
        body = self.client.report()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (as the base class has it)
        """Nobody reads it."""


def main() -> None:
    client = Client()
    _Control.client = client
    client.start()
    http.server.ThreadingHTTPServer(("", PORT), _Control).serve_forever()


if __name__ == "__main__":
    main()
