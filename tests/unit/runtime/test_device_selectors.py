"""CEL selectors on devices: what Kubernetes documents of them, and errors by name."""

from collections.abc import Iterator

import pytest

from drumline.core.gang.device_asks import SelectorError
from drumline.core.gang.devices import Device, Version
from drumline.runtime.device_selectors import Selectors, version

GPU = Device(
    ("gpu.example.com", "pool", "gpu-0"),
    attributes={
        "gpu.example.com/model": "H100",
        "gpu.example.com/index": 3,
        "gpu.example.com/healthy": True,
        "gpu.example.com/driverVersion": Version("1.20.3"),
        "other.example.com/numa": 1,
    },
    capacity={"gpu.example.com/memory": "80Gi", "gpu.example.com/cores": "1500m"},
)
DOMAIN = "device.attributes['gpu.example.com']"


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("device.driver == 'gpu.example.com'", True),
        ("device.driver == 'nic.example.com'", False),
        (f"{DOMAIN}.model == 'H100' && {DOMAIN}.index >= 3", True),
        (f"{DOMAIN}['model'].startsWith('A')", False),
        (f"{DOMAIN}.healthy", True),
        (f"{DOMAIN}.model in ['H100', 'H200']", True),
        (f"{DOMAIN}.model.lowerAscii() == 'h100'", True),
        (f"{DOMAIN}.model.matches('^H[0-9]+$')", True),
        (f"has({DOMAIN}.absent)", False),
        (f"'model' in {DOMAIN}", True),
        (f"{DOMAIN}.model == 'A' ? {DOMAIN}.absent == 1 : true", True),
        (f"device.driver == 'x' && {DOMAIN}.absent == 1", False),
        ("device.attributes['absent.example.com'].size() == 0", True),
        ("has(device.attributes['absent.example.com'].model)", False),
        ("device.attributes['other.example.com'].numa == 1", True),
        (f"{DOMAIN}.driverVersion.compareTo(semver('1.9.0')) > 0", True),
        (f"{DOMAIN}.driverVersion.isLessThan(semver('1.20.3-rc.1'))", False),
        ("device.capacity['gpu.example.com'].memory.compareTo(quantity('80Gi')) == 0", True),
        ("device.capacity['gpu.example.com'].memory.isGreaterThan(quantity('90G'))", False),
        ("device.capacity['gpu.example.com'].cores.isGreaterThan(quantity('1'))", True),
        ("!device.allowMultipleAllocations", True),
    ],
)
def test_a_selector_says_what_kubernetes_says(expression: str, holds: bool) -> None:
    assert Selectors()(expression, GPU) is holds


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (f"{DOMAIN}.absent == 1", "absent"),
        ("device.driver ==", "device.driver =="),
        ("device.absent", "absent"),
        (f"{DOMAIN}.index", "neither true nor false"),
        (f"cel.bind(d, {DOMAIN}, d.healthy)", "bind"),
        (f"{DOMAIN}.?model.orValue('') == ''", "?model"),
        (f"{DOMAIN}.model.compareTo(quantity('1')) > 0", "no such overload"),
        (f"{DOMAIN}.driverVersion.compareTo(quantity('1')) > 0", "no such overload"),
        ("device.capacity['gpu.example.com'].memory.isLessThan(quantity('much'))", "much"),
        (f"{DOMAIN}.index == 'three'", "overload"),
        ("int(1.0 / 0.0) == 1", "infinity"),
    ],
)
def test_what_cannot_be_evaluated_is_an_error_that_names_selector_and_device(
    expression: str, text: str
) -> None:
    with pytest.raises(SelectorError) as caught:
        Selectors()(expression, GPU)
    assert repr(expression) in str(caught.value)
    assert "gpu.example.com/pool/gpu-0" in str(caught.value)
    assert text in str(caught.value)


def test_devices_that_look_alike_to_a_selector_are_evaluated_once() -> None:
    selectors = Selectors()
    for index in range(50):
        attributes = {**GPU.attributes, "gpu.example.com/uuid": f"GPU-{index}"}
        assert selectors(
            f"{DOMAIN}.model == 'H100'", Device(("gpu.example.com", "p", str(index)), attributes)
        )
    assert [len(known.answers) for known in selectors._known.values()] == [1]


def test_a_selector_that_walks_over_attributes_sees_all_of_them() -> None:
    selectors = Selectors()
    odd = Device(GPU.id, {**GPU.attributes, "gpu.example.com/x": 1})
    expression = f"{DOMAIN}.exists(k, k == 'x')"
    assert (selectors(expression, GPU), selectors(expression, odd)) == (False, True)
    joined = f"{DOMAIN}['mod' + 'el'] == 'H100'"
    other = Device(GPU.id, {**GPU.attributes, "gpu.example.com/model": "A100"})
    assert (selectors(joined, GPU), selectors(joined, other)) == (True, False)
    counted = f"size({DOMAIN}) == 4"
    assert (selectors(counted, GPU), selectors(counted, odd)) == (True, False)


def test_versions_are_ordered_as_semver_says() -> None:
    ordered = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0",
        "1.2.0",
    ]
    assert sorted(set(ordered), key=version) == ordered
    with pytest.raises(ValueError, match="not a semantic version"):
        version("1.0")


def _many(count: int) -> Iterator[Device]:
    for index in range(count):
        attributes = {**GPU.attributes, "gpu.example.com/uuid": f"GPU-{index}"}
        yield Device(("gpu.example.com", "p", str(index)), attributes)


def test_a_selector_that_tells_every_device_apart_is_refused_before_it_has_cost_much() -> None:
    selectors = Selectors(lambda: 0.0)
    expression = f"{DOMAIN}.uuid == 'GPU-1'"
    devices = list(_many(257))
    assert sum(selectors(expression, device) for device in devices[:256]) == 1
    with pytest.raises(SelectorError, match="tells more than 256 kinds of devices apart"):
        selectors(expression, devices[256])
    with pytest.raises(SelectorError, match="tells more than 256"):
        selectors(expression, GPU)


def test_walks_within_walks_and_long_expressions_are_not_evaluated() -> None:
    numbers = f"[{','.join(map(str, range(100)))}]"
    with pytest.raises(SelectorError, match="walks over 2 lists or maps"):
        Selectors()(f"{numbers}.all(x, {numbers}.all (y, x + y >= 0))", GPU)
    with pytest.raises(SelectorError, match="it has 1041 characters; gang placement evaluates 1024"):
        Selectors()("true" + " || true" * 129 + " " * 5, GPU)


def test_a_selector_may_take_two_seconds_for_all_devices_together() -> None:
    times = iter(range(100))
    selectors = Selectors(
        lambda: next(times) * 0.9
    )  # the first time, with what is loaded for it, is not counted
    devices = list(_many(4))
    expression = f"{DOMAIN}.uuid != 'x'"
    assert all(selectors(expression, device) for device in devices[:3])
    with pytest.raises(SelectorError, match="takes more than 2 s to evaluate on all devices"):
        selectors(expression, devices[3])
