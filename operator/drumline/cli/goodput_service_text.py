"""An InferenceService's account as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from drumline.api.goodput import Source
from drumline.cli import goodput_words as words
from drumline.cli.goodput_service_view import RoleView, ServiceView, meaning, share
from drumline.cli.goodput_text import ASCII
from drumline.cli.goodput_view import MS_PER_HOUR
from drumline.cli.terminal import Terminal, paint, stacked, swatch, table

_INDENT: Final = "  "
_LATENCIES: Final = (("TTFT", "ttft", "time to first token"), ("TPOT", "tpot", "time per output token"))


def service_breakdown(view: ServiceView, terminal: Terminal) -> str:
    """Everything about one service."""
    parts = (
        _head(view),
        *(_states(role, terminal) for role in view.roles if role.rows),
        iter([_sum(view)]),
        _work(view),
        _promises(view),
        _restarts(view),
        _cost(view),
    )
    text = "\n\n".join("\n".join(lines) for part in parts if (lines := list(part))) + "\n"
    return text if terminal.unicode else text.translate(ASCII)


def service_overview(views: Sequence[tuple[str, str, str, ServiceView | None]], *, namespaces: bool) -> str:
    """A table of services: (namespace, name, phase, view or None where there is no account yet)."""
    header = [
        "NAMESPACE",
        "SERVICE",
        "PHASE",
        "GROUPS",
        "HELD HOURS",
        "TOKENS/S",
        "REQUESTS/S",
        "SLO",
        "COST",
    ]
    rows = [[space, name, phase or "-", *_overview_cells(view)] for space, name, phase, view in views]
    skip = 0 if namespaces else 1
    lines = table(header[skip:], [row[skip:] for row in rows], right=range(3 - skip, len(header) - skip))
    return "\n".join([*lines, "per second of one held accelerator: TOKENS/S, REQUESTS/S", ""])


def _overview_cells(view: ServiceView | None) -> list[str]:
    if view is None:
        return ["-"] * 6
    serving = view.serving
    return [
        f"{view.status.ready_replicas}/{view.desired}",
        f"{serving.held_ms / MS_PER_HOUR:,.2f}",
        _figure(serving.tokens_per_accelerator_second),
        _figure(serving.requests_per_accelerator_second),
        _percent(serving.slo_attainment),
        _dollars(serving.cost_usd),
    ]


def _head(view: ServiceView) -> Iterator[str]:
    what = f"{view.engine} {view.model}".strip()
    groups = f"{view.status.ready_replicas} of {view.desired} groups in service"
    yield f"{view.namespace}/{view.name}: {view.status.phase or 'no phase'}, {what}, {groups}"
    yield f"up to {view.serving.at}, time of every accelerator of its groups since each was wanted"


def _states(role: RoleView, terminal: Terminal) -> Iterator[str]:
    yield f"ROLE {role.name}: {role.groups.ready} of {role.groups.desired} groups in service"
    yield stacked([(row.state, row.ms) for row in role.rows], terminal, terminal.width)
    cells = [
        [f"  {row.state}", words.seconds(row.ms), words.percent(row.share), meaning(row.state)]
        for row in role.rows
    ]
    head, *lines = table(["  STATE", "TIME", "SHARE", ""], cells, right=(1, 2))
    yield head
    for row, line in zip(role.rows, lines, strict=True):
        yield swatch(row.state, terminal) + paint(row.state, line[1:], terminal)


def _sum(view: ServiceView) -> str:
    total, whole = view.accounted_ms, view.serving.elapsed_ms
    if total == whole:
        return f"sum of states {words.seconds(total)} = accounted time {words.seconds(whole)}"
    off = f"off by {words.seconds(total - whole)}, please report it"
    return f"sum of states {words.seconds(total)}, accounted time {words.seconds(whole)}: {off}"


def _work(view: ServiceView) -> Iterator[str]:
    serving = view.serving
    header = ["WORK", "PROMPT TOKENS", "TOKENS OUT", "REQUESTS", "FAILED", "HELD HOURS"]
    rows = [
        [
            _INDENT + role.name,
            f"{role.account.prompt_tokens:,}",
            f"{role.account.generation_tokens:,}",
            f"{role.account.requests:,}",
            f"{role.account.failed_requests:,}",
            f"{role.held_ms / MS_PER_HOUR:,.2f}",
        ]
        for role in view.roles
    ]
    yield from table(header, rows, right=range(1, len(header)))
    tokens = _figure(serving.tokens_per_accelerator_second)
    requests = _figure(serving.requests_per_accelerator_second)
    yield f"{_INDENT}{tokens} tokens and {requests} requests per second of one held accelerator ({Source.REPORTED})"


def _promises(view: ServiceView) -> Iterator[str]:
    cells = []
    for title, name, text in _LATENCIES:
        limit = view.slo.get(f"{name}Seconds")
        met, measured = (
            sum(getattr(r.account, f"{name}_{k}") for r in view.roles) for k in ("met", "measured")
        )
        if limit is not None or measured:
            promised = f"within {limit} s" if limit is not None else "no longer promised"
            cells.append([_INDENT + title, _percent(share(met, measured)), f"{measured:,}", promised, text])
    if cells:
        yield from table(["SLO", "MET", "OF", "", ""], cells, right=(1, 2))
        if view.slo:
            yield f"{_INDENT}promised: {words.percent(float(view.slo.get('quantile', 0.9)))} of them"
    drafted = sum(role.account.draft_tokens for role in view.roles)
    if drafted:
        rate = _percent(view.serving.acceptance_rate)
        yield f"SPECULATION: {rate} of {drafted:,} guessed tokens were right ({Source.REPORTED})"


def _restarts(view: ServiceView) -> Iterator[str]:
    if view.status.restarts:
        causes = ", ".join(f"{r.cause} {r.count}" for r in view.status.restarts)
        yield f"RESTARTS of groups by cause: {causes}"


def _cost(view: ServiceView) -> Iterator[str]:
    serving = view.serving
    yield f"COST: {serving.held_ms / MS_PER_HOUR:,.2f} accelerator-hours held ({Source.OBSERVED})"
    if serving.cost_usd is not None:
        yield f"{_INDENT}{_dollars(serving.cost_usd)} (catalogue's price, {Source.ESTIMATED})"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}" if value < 100 else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else words.percent(value)


def _dollars(value: float | None) -> str:
    return words.dollars(None if value is None else str(value))
