"""What libtpu is told, apart from any kind of gang."""

from drumline.core.gang import tpu


def test_hosts_of_a_slice() -> None:
    lists = {e["name"]: e["value"] for e in tpu.inline_lists(["a.s", "b.s"])}
    assert lists == {"TPU_WORKER_HOSTNAMES": "a.s,b.s", "TPU_PROCESS_ADDRESSES": "a.s:8476,b.s:8476"}
    assert tpu.process_port(2) == [("TPU_PROCESS_PORT", 8476)]
    assert dict(tpu.identity("chat-0", 1)) == {"TPU_WORKER_ID": 1, "TPU_NAME": "chat-0"}


def test_one_host_meets_nobody() -> None:
    assert [(e["name"], e["value"]) for e in tpu.inline_lists(["a.s"])] == [
        ("TPU_WORKER_HOSTNAMES", "localhost")
    ]
    assert tpu.process_port(1) == []
