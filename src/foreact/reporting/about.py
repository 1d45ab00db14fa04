"""What it cost and what it is: latency, memory, time of each phase; the four axes, the protocol, how to do it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from foreact.reporting.figures import latency_figure
from foreact.reporting.inputs import Policy, ReportInputs
from foreact.reporting.page import absent, section, table, tile

__all__ = ["cost_section", "duration", "flat", "model_section", "protocol_section"]


def duration(seconds: float) -> str:
    """Seconds as a person would say them."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.2f} M" if count >= 1e5 else f"{count:,}"


def cost_section(inputs: ReportInputs) -> str:
    policies = [p for p in (inputs.model, inputs.baseline) if p is not None]
    lead = "Measured while the evaluation above ran, on the machine named below."
    timed = [p for p in policies if p.cost.call_seconds is not None and len(p.cost.call_seconds)]
    rows = [[escape(p.name), *_cost_row(p)] for p in policies]
    head = ["", "model call, p50", "p95", "network evaluations per control step", "per call", "parameters", "peak memory"]
    cards = [f'<div class="card">{table(head, rows)}{_beside(policies)}</div>']
    pieces = []
    if timed:
        pieces.append(f'<div class="card"><h3>Time of a model call</h3>{latency_figure(policies)}</div>')
    if inputs.phases:
        pieces.append(f'<div class="card"><h3>Where the time went: {duration(sum(inputs.phases.values()))} in all</h3>'
                      f'<div style="height:12px"></div>{_phases(inputs.phases)}</div>')
    cards.append(f'<div class="split">{"".join(pieces)}</div>')
    if not timed:
        cards.append(absent("No latency: the model has not been run in closed loop."))
    return section("cost", "Cost", lead, f'<div class="stack">{"".join(cards)}</div>')


def _beside(policies: Sequence[Policy]) -> str:
    """What a control step spends outside the network."""
    parts = [f"{escape(p.name)}: " + ", ".join(f"{escape(what)} {1e3 * np.quantile(seconds, 0.5):.1f} ms"
                                              for what, seconds in p.cost.beside_seconds.items() if len(seconds))
             for p in policies if any(map(len, p.cost.beside_seconds.values()))]
    return f'<p class="small faint">Beside each call, p50. {"; ".join(parts)}.</p>' if parts else ""


def _cost_row(policy: Policy) -> list[str]:
    cost, none = policy.cost, '<span class="faint">not measured</span>'
    cells = [none, none]
    if cost.call_seconds is not None and len(cost.call_seconds):
        cells = [f"{1e3 * np.quantile(cost.call_seconds, q):.1f} ms" for q in (0.5, 0.95)]
    evaluations = [none if value is None else f"{value:.3g}" for value in (cost.evaluations_per_step, cost.evaluations_per_call)]
    return [*cells, *evaluations, _size(cost.parameters) if cost.parameters is not None else none,
            f"{cost.peak_memory_bytes / 2**20:,.0f} MiB" if cost.peak_memory_bytes is not None else none]


def _phases(phases: Mapping[str, float]) -> str:
    longest = max(max(phases.values()), 1e-9)
    bars = "".join(f'<span>{escape(name)}</span><i style="width:{100 * seconds / longest:.1f}%"></i>'
                   f'<span class="time">{duration(seconds)}</span>' for name, seconds in phases.items())
    return f'<div class="phases">{bars}</div>'


def model_section(inputs: ReportInputs) -> str:
    lead = ("A World Action Model is four choices: where its future lives, what predicts it, how action meets it, and when it is "
            "called.")
    tiles = "".join(tile(f"{axis.name}: {axis.kind}", axis.member, axis.detail) for axis in inputs.axes)
    body = f'<div class="tiles">{tiles}</div>' if tiles else absent("The configuration of this run names no axes.")
    if inputs.card:
        rows = [[escape(key), _wrapped(value)] for key, value in inputs.card.items()]
        body += f'<div class="card" style="margin-top:14px">{table((), rows)}</div>'
    return section("model", "The model", lead, body)


def protocol_section(inputs: ReportInputs) -> str:
    parts = []
    if inputs.commands:
        parts.append(f'<h3>Do it again</h3><pre>{escape(chr(10).join(inputs.commands))}</pre>')
    if not inputs.protocols:
        parts.append(absent("No evaluation, so no protocol."))
    for protocol in inputs.protocols:
        rows = [[f"<code>{escape(key)}</code>", _wrapped(value)] for key, value in flat(protocol.fields)]
        title = f"Protocol {escape(protocol.name)}".strip()
        parts.append(f"<details><summary>{title}, fingerprint <code>{escape(protocol.fingerprint[:16])}</code></summary>"
                     '<p class="small faint">Results with another fingerprint were measured under other rules: not comparable.</p>'
                     f"{table((), rows)}</details>")
    if inputs.machine:
        rows = [[escape(key), _wrapped(value)] for key, value in inputs.machine.items()]
        parts.append(f"<details><summary>Machine and versions</summary>{table((), rows)}</details>")
    return section("protocol", "Protocol", "What must be equal for another result to be comparable.",
                   f'<div class="card">{"".join(parts)}</div>')


def _wrapped(value: str) -> str:
    return f'<span style="white-space:normal;overflow-wrap:anywhere">{escape(value)}</span>'


def flat(value: object, prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings as dotted keys; lists of plain values on one line."""
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in flat(item, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, (list, tuple)):
        if any(isinstance(item, (Mapping, list, tuple)) for item in value):
            return [pair for i, item in enumerate(value) for pair in flat(item, f"{prefix}.{i}")]
        return [(prefix, ", ".join(map(str, value)))]
    return [(prefix, str(value))]
