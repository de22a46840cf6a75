"""Which adapter is taken where the cluster serves what."""

import pytest

from drumline.api.backend import BACKENDS
from drumline.core.gang.backends.base import BUILTIN
from drumline.core.gang.backends.native import VERSIONS
from drumline.core.gang.backends.registry import OURS, BackendSettings, adapters, choose
from drumline.core.gang.backends.volcano import Volcano

_KNOWN = adapters(BackendSettings())
_NEEDS = {b.version: b.needs[0] for b in VERSIONS}


def test_every_backend_of_the_api_has_an_adapter_of_its_name():
    assert {BUILTIN, *_KNOWN} == set(BACKENDS)
    assert {(name, a.name) for name, known in _KNOWN.items() for a in known} == {(n, n) for n in _KNOWN}


def test_our_own_needs_nothing():
    assert choose(BUILTIN, _KNOWN, ()) is OURS
    assert not OURS.foreign


@pytest.mark.parametrize(
    ("served", "version"),
    [
        (("v1alpha2",), "v1alpha2"),
        (("v1alpha2", "v1alpha3"), "v1alpha3"),
        (("v1alpha3", "v1beta1"), "v1beta1"),
    ],
)
def test_the_newest_version_that_is_served(served, version):
    choice = choose("native", _KNOWN, {_NEEDS[v] for v in served})
    assert choice.adapter is not None
    assert choice.adapter.needs == (_NEEDS[version],)


def test_what_is_absent_is_named():
    choice = choose("native", _KNOWN, _KNOWN["kai"][0].needs)
    assert (choice.foreign, choice.adapter) == (True, None)
    assert "PodGroup scheduling.k8s.io/v1beta1 or" in choice.absent
    assert choose("kai", _KNOWN, _KNOWN["kai"][0].needs).absent == ""


def test_settings_reach_the_adapters():
    settings = BackendSettings(volcano_scheduler="v2", volcano_tiers={"example.com/rack": "rack"})
    (volcano,) = adapters(settings)["volcano"]
    assert volcano == Volcano("v2", {"example.com/rack": "rack"})
