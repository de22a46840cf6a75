"""One process of the command, with what stands around it: environment, output, reports, stacks.

Each epoch has all of this for itself. Its reporter is a new one, whose clock begins anew; its environment names the
epoch, and a rendezvous of its own for torch, so that no process ever meets one of another epoch.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from drumline.worker import ending as endings
from drumline.worker import family, marker, stacks
from drumline.worker.ending import Ending
from drumline.worker.guard import say
from drumline.worker.identity import identity
from drumline.worker.launcher_child import QUIT, Child, Folder, terminal
from drumline.worker.observer import Observer, observer
from drumline.worker.output import Pump

if TYPE_CHECKING:
    from drumline.worker.adapter_kubeflow import Endpoint

OUTPUT_SECONDS: Final = 2.0  # for output that descendants still write after the command has ended
READER_SECONDS: Final = 20.0  # for what the command wrote and our reader has not taken
BRIEF_SECONDS: Final = 0.5  # for either, when another process is to follow
EPOCH: Final = "DRUMLINE_EPOCH"
RENDEZVOUS: Final = "PET_RDZV_ID"


class Epoch:
    """The process of one epoch. `again`: another one ran here before."""

    def __init__(self, child: Child, number: int, *, again: bool) -> None:
        self.number = number
        self._child = child
        self._again = again
        self._folder = Folder()
        self._environ: Mapping[str, str] = os.environ
        self._seen: Observer | None = None
        self._pumps: list[Pump] = []
        self._endpoint: Endpoint | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._tidying: threading.Thread | None = None

    def start(self, command: Sequence[str], archive: str) -> None:
        """Start the command. Raises OSError when that cannot be."""
        environ = self._folder.environment(environment(os.environ, self.number), archive)
        self._environ = environ
        if self._again:
            endings.clear(_termination_log())
        self._seen = _observed(environ)
        environ.update(self._kubeflow(environ))
        descriptors = self._pipes()
        try:
            self._process = _spawned(command, environ, descriptors)
        finally:
            for descriptor in descriptors.values():
                os.close(descriptor)
        self._child.sent.clear()
        self._child.pid = self._process.pid
        for pump in self._pumps:
            pump.start()
        if self._seen is not None:
            self._seen.start()

    def discard(self) -> None:
        """It could not be started."""
        self._folder.remove()

    def ended(self, status: int) -> Ending:
        """How it ended, by waitpid's status."""
        ending = endings.of_status(status, self._child.sent)
        if self._process is not None:
            self._process.returncode = ending.code  # nobody waits for it a second time
        return ending

    def finish(self, ending: Ending) -> None:
        """Nothing follows: pass on the last of its output, and say how it ended."""
        text = self._words(ending, OUTPUT_SECONDS, READER_SECONDS)
        self._report(text)
        self._folder.remove()

    def clear(self, ending: Ending, *, told: bool) -> str:
        """Another may follow: end what it left behind; how it ended, in words.

        Its last report goes on its way meanwhile; `told`: with these words.
        """
        mark = self._environ.get(marker.VARIABLE, "")
        if not family.sweep(mark, self._child.bury):
            say("some processes of the command do not end")
        text = self._words(ending, BRIEF_SECONDS, BRIEF_SECONDS)
        self._tidying = threading.Thread(target=self._tidy, args=(text if told else "",), daemon=True)
        self._tidying.start()
        return text

    def _tidy(self, text: str) -> None:
        self._report(text)
        if self._endpoint is not None:
            self._endpoint.close()
        self._folder.remove()

    def settle(self) -> None:
        """Nothing followed after all: wait for who reads us, and for the last report."""
        for pump in self._pumps:
            pump.finish(0.0, READER_SECONDS)
        if self._tidying is not None:
            self._tidying.join(READER_SECONDS)

    def stacks(self, most: int | None = None) -> str:
        """Of all its Python processes; "" when none answers."""
        if self._folder.stacks is None or self._child.pid <= 0:
            return ""
        return stacks.collect(self._folder.stacks, self._child.pid, most=most)

    def _words(self, ending: Ending, output: float, reader: float) -> str:
        share = output / max(len(self._pumps), 1)
        for pump in self._pumps:
            pump.finish(share, reader)
        text = endings.message(ending, list(self._seen.last) if self._seen is not None else [])
        if ending.failed:
            endings.write(text, _termination_log())
        return text

    def _report(self, text: str) -> None:
        if self._seen is not None:
            self._seen.finish()
            if self._seen.reporter is not None:
                self._seen.reporter.close(text)

    def _pipes(self) -> dict[str, int]:
        descriptors: dict[str, int] = {}
        if self._seen is None:
            return descriptors
        for name, target in (("stdout", 1), ("stderr", 2)):
            if not terminal(target):
                source, descriptors[name] = os.pipe()
                self._pumps.append(Pump(source, target, self._seen.line))
        return descriptors

    def _kubeflow(self, environ: Mapping[str, str]) -> Mapping[str, str]:
        wanted = environ.get("DRUMLINE_KUBEFLOW") == "1" and "KUBEFLOW_TRAINER_SERVER_URL" not in environ
        if not wanted or self._seen is None or self._seen.reporter is None or self._folder.path is None:
            return {}
        try:
            # of no use to most, and an HTTP server takes its time to load
            from drumline.worker.adapter_kubeflow import Endpoint  # noqa: PLC0415

            who = identity(environ)
            self._endpoint = Endpoint(self._folder.path, self._seen.step)
            return self._endpoint.environment(who.namespace, who.name)
        except Exception as error:  # noqa: BLE001 -- the command runs without it
            say(f"no endpoint for Kubeflow's pushes: {error}")
            return {}


def environment(environ: Mapping[str, str], number: int) -> dict[str, str]:
    """The environment of that epoch's process; that of the first is as it came."""
    made = dict(environ)
    if number:
        made[EPOCH] = str(number)
        if RENDEZVOUS in made:
            made[RENDEZVOUS] += f"-{number}"
    return made


def _spawned(
    command: Sequence[str], environ: Mapping[str, str], descriptors: Mapping[str, int]
) -> subprocess.Popen[bytes]:
    output, errors = descriptors.get("stdout"), descriptors.get("stderr")
    signal.pthread_sigmask(signal.SIG_UNBLOCK, QUIT)  # the command inherits what is blocked
    try:
        return subprocess.Popen(list(command), env=environ, close_fds=False, stdout=output, stderr=errors)
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, QUIT)


def _termination_log() -> str:
    return os.environ.get("DRUMLINE_TERMINATION_LOG", endings.TERMINATION_LOG)


def _observed(environ: Mapping[str, str]) -> Observer | None:
    try:
        return observer(identity(environ), environ)
    except Exception as error:  # noqa: BLE001 -- the command runs without it
        say(f"progress is not reported: {type(error).__name__}: {error}")
        return None
