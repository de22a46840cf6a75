"""A real Prometheus that scrapes what it is told to, for tests of metrics, rules and dashboards."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from e2e.cluster import build, ports
from e2e.cluster.process import Process

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts" / "drumline" / "rules" / "drumline.yaml"


class Prometheus:
    """One server in `directory` that scrapes `targets` (host:port) every `seconds`; ends with the block.

    It evaluates the chart's recording rules and alerts as often as it scrapes.
    """

    def __init__(self, directory: Path, targets: Sequence[str], seconds: int = 1) -> None:
        self._directory = directory
        self._targets = list(targets)
        self._seconds = seconds
        self._port = ports.reserve()
        self.url = f"http://127.0.0.1:{self._port.number}"
        self._process: Process | None = None

    def __enter__(self) -> Self:
        self._write()
        argv = [
            str(build.binary("prometheus")),
            f"--config.file={self._directory / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port.number}",
        ]
        self._process = Process("prometheus", argv, self._directory / "prometheus.log")
        self._process.start()
        self._process.wait_ready(lambda: self._get("/-/ready") is not None)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.stop()
        self._port.release()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Samples of an instant query. Raises ValueError with Prometheus' word on a bad expression."""
        path = "/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        answer = json.loads(self._get(path) or b"{}")
        if answer.get("status") != "success":
            raise ValueError(f"{expression}: {answer.get('error', 'no answer')}")
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its health and last error."""
        answer = json.loads(self._get("/api/v1/rules") or b"{}")
        return [rule for group in answer["data"]["groups"] for rule in group["rules"]]

    def names(self) -> set[str]:
        """Names of all series that it has."""
        answer = json.loads(self._get("/api/v1/label/__name__/values") or b"{}")
        return set(answer["data"])

    def _write(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        every = f"{self._seconds}s"
        groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["spec"]["groups"]
        rules = {"groups": [{**group, "interval": every} for group in groups]}
        (self._directory / "rules.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
        config = {
            "global": {"scrape_interval": every, "evaluation_interval": every, "scrape_timeout": every},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "drumline", "static_configs": [{"targets": self._targets}]}],
        }
        # The target's own labels named job win over the scrape's.
        config["scrape_configs"][0]["honor_labels"] = True  # type: ignore[index]
        (self._directory / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def _get(self, path: str) -> bytes | None:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                body: bytes = answer.read()
                return body
        except urllib.error.HTTPError as error:
            return error.read()
        except OSError:
            return None
