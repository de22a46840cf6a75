"""Metrics of power budgets, and warnings of those that limit nothing."""

from __future__ import annotations

import logging

import pytest

from drumline.core.gang.power import Coverage, Supply
from drumline.runtime.metrics_power import BudgetWatch, lines_of


def test_each_budget_says_of_how_many_domains_it_speaks() -> None:
    lines = lines_of(
        lambda: (Supply("block", "a", 100.0, 50.0),),
        lambda: (Coverage("block", "", ("a",)), Coverage("block", "z", ())),
    )
    text = "".join(lines())
    assert 'drumline_power_budget_watts{level="block",domain="a"} 100\n' in text
    assert 'drumline_power_drawn_watts{level="block",domain="a"} 50\n' in text
    assert 'drumline_power_budget_domains{level="block",domain=""} 1\n' in text
    assert 'drumline_power_budget_domains{level="block",domain="z"} 0\n' in text


def test_what_is_odd_is_said_once_until_it_is_well_again(caplog: pytest.LogCaptureFixture) -> None:
    well, odd = (Coverage("block", "z", ("z",)),), (Coverage("block", "z", ()),)
    now = [well]
    watch = BudgetWatch(lambda: now[-1])
    with caplog.at_level(logging.WARNING):
        for found, said in ((well, 0), (odd, 1), (odd, 1), (well, 1), (odd, 2)):
            now.append(found)
            watch.look()
            assert len(caplog.records) == said
    assert caplog.records[0].message == odd[0].fault
    assert "no node is in such a domain" in odd[0].fault
