"""What an API server can do is asked until it has answered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from drumline.core.training.progress_render import RESTART_WHEN_KILLED
from drumline.runtime.errors import Forbidden, Unavailable
from drumline.runtime.versions import told_abilities


class Server:
    """Answers what it is given, in turn; the last for ever."""

    def __init__(self, version: list[Any], probe: list[Any]) -> None:
        self._answers = {"GET": version, "POST": probe}

    async def request(self, method: str, *_: Any, **__: Any) -> Any:
        answers = self._answers[method]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


OLD, NEW = ({"major": "1", "minor": minor} for minor in ("34+", "35"))
KEEPS = {"spec": {"containers": [dict(RESTART_WHEN_KILLED)]}}
DROPS = {"spec": {"containers": [{"name": "probe"}]}}
GONE, REFUSED = Unavailable("no connection"), Forbidden("no")


@pytest.mark.parametrize(
    ("version", "probe", "at_once", "at_last"),
    [
        ([NEW], [KEEPS], {"image_volumes": True, "container_restarts": True}, {}),
        ([OLD], [DROPS], {"image_volumes": False, "container_restarts": False}, {}),
        ([REFUSED], [REFUSED], {"image_volumes": True, "container_restarts": False}, {}),
        ([NEW], [GONE, GONE, KEEPS], {"image_volumes": True}, {"container_restarts": True}),
        (
            [GONE, OLD],
            [GONE, REFUSED],
            {},
            {"image_volumes": False, "container_restarts": False},
        ),
    ],
)
async def test_what_is_told(version: Any, probe: Any, at_once: Any, at_last: Any) -> None:
    told: dict[str, bool] = {}
    server: Any = Server(list(version), list(probe))
    tasks = await told_abilities(server, "default", told.update, pause=0.0)
    assert told == at_once
    async with asyncio.timeout(60):
        await asyncio.gather(*tasks)
    assert told == {**at_once, **at_last}
