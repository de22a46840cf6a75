"""Reading what servers expose, on real samples."""

from pathlib import Path

from e2e.engines.exposition import families, labelled, values

SAMPLES = Path(__file__).parents[2] / "data" / "engines"


def test_series_of_one_name_are_added() -> None:
    found = values('# TYPE a counter\na{x="1 2"} 1.5\na{x="3"} 2\nb 4\n')
    assert found == {"a": 3.5, "b": 4.0}
    assert families("# HELP a text\n# TYPE a counter\na 1\n") == {"a"}


def test_the_samples_were_taken_under_load() -> None:
    vllm = values((SAMPLES / "vllm-0.32.0.txt").read_text())
    assert vllm["vllm:num_requests_running"] == vllm["vllm:num_requests_waiting"] == 4
    llamacpp = values((SAMPLES / "llamacpp-0.5.0-dev.txt").read_text())
    assert llamacpp["llamacpp:requests_processing"] == llamacpp["llamacpp:requests_deferred"] == 2


def test_series_are_told_apart_by_a_label() -> None:
    text = 'a_total{engine="0",source="x"} 1.0\na_total{source="y",engine="0"} 2.5\nb{source="z"} 3\n'
    assert labelled(text, "a_total", "source") == {"x": 1.0, "y": 2.5}
