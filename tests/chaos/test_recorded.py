"""What the model of the API server imitates is what a real one says today."""

import json
from pathlib import Path

from e2e.chaos import record
from e2e.cluster.embedded import ClusterOptions, EmbeddedCluster
from e2e.cluster.operator import install_api

RECORDED = Path(__file__).parent / "recorded" / "answers.json"


async def test_a_real_api_server_answers_as_was_recorded() -> None:
    with EmbeddedCluster(ClusterOptions(with_kwok=False)) as cluster:
        await install_api(cluster)
        answers = await record.ask_real(cluster)
    again = f"python -m e2e.chaos.record {RECORDED.relative_to(Path.cwd())}"
    assert json.loads(record.lines(answers)) == json.loads(RECORDED.read_text()), again
