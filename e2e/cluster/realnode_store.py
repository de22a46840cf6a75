"""containerd's image store, reached through ``ctr``."""

import contextlib
import io
import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.images import Image, write_archive

_NAMESPACE = "k8s.io"


@dataclass(frozen=True)
class ImageStore:
    """The images of one containerd: ``ctr`` is the client program, ``root`` containerd's own directory."""

    ctr: Path
    socket: Path
    root: Path
    snapshotter: str

    def serves(self) -> bool:
        """Whether containerd answers."""
        done = subprocess.run(self._command("version"), capture_output=True, check=False)
        return done.returncode == 0

    def load(self, *images: Image) -> None:
        """Import the images that are not there yet, streaming them from the layers in the cache."""
        known = self._known()
        missing = [image for image in images if known.get(image.name) != image.identity]
        if not missing:
            return
        command = self._command("images", "import", f"--snapshotter={self.snapshotter}", "-")
        with (
            tempfile.TemporaryFile() as output,
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output) as process,
        ):
            with process.stdin or contextlib.nullcontext(io.BytesIO()) as stream:
                write_archive(missing, stream)
            if process.wait() != 0:
                output.seek(0)
                said = output.read().decode(errors="replace")
                raise RuntimeError(
                    f"`{' '.join(command)}` failed with exit code {process.returncode}:\n{said}"
                )
        known.update({image.name: image.identity for image in missing})
        self._record.write_text(json.dumps(known, indent=2))

    def kill(self, container: str) -> None:
        """End a running container's first process, and with it the container, without warning."""
        self._output("tasks", "kill", "--signal=SIGKILL", container)

    def clear_containers(self) -> None:
        """Forget containers that an earlier node left when it was killed; their processes are long gone."""
        left = self._output("containers", "list", "--quiet").split()
        if left:
            self._output("containers", "delete", *left)

    def _known(self) -> dict[str, str]:
        present = set(self._output("images", "list", "--quiet").split())
        recorded = json.loads(self._record.read_text()) if self._record.exists() else {}
        return {name: identity for name, identity in recorded.items() if f"docker.io/{name}" in present}

    @property
    def _record(self) -> Path:
        """Which build of an image each name stands for."""
        return self.root / "imported.json"

    def _output(self, *arguments: str) -> str:
        # On its error output ctr repeats the host's deprecations at every call.
        return subprocess.run(self._command(*arguments), check=True, capture_output=True, text=True).stdout

    def _command(self, *arguments: str) -> list[str]:
        return [str(self.ctr), f"--address={self.socket}", f"--namespace={_NAMESPACE}", *arguments]
