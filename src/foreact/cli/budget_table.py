"""What a budget found, as JSON: each point with all that it costs and reaches, its fronts, and the baseline at equal latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foreact.cli.budget_grid import AXES, Point
from foreact.cli.budget_policies import Policy
from foreact.cli.budget_run import Measured, charged_ms
from foreact.contract.config import encode
from foreact.contract.stopwatch import LAPS
from foreact.evaluation.budget import at_equal_latency, failures, front, sustained
from foreact.evaluation.comparison import compare
from foreact.evaluation.result import Result

__all__ = ["SPANNED", "findings", "text"]

SPANNED = frozenset({"selector", "precision", "compile", "cameras", "image", "observation_spec"})
"""Fields of a protocol in which points differ on purpose: how a policy runs, and what it looks at."""


@dataclass(frozen=True, kw_only=True)
class _Placed:
    row: dict[str, Any]
    result: Result

    @property
    def ms(self) -> float:
        return float(self.row["latency_ms"]["p50"])

    @property
    def success(self) -> float:
        return float(self.row["success"]["rate"])


def findings(measured: Measured) -> dict[str, Any]:
    """Everything that the page shows, as plain data."""
    grid = measured.place.grid
    placed = {key: _placed(measured, each.policy, point, key) for each in measured.tried for key, point in each.named()}
    every = list(placed.values())
    by_policy = {each.policy.name: [placed[key] for key, _ in each.named()] for each in measured.tried}
    base = next((by_policy[each.policy.name] for each in measured.tried if each.policy.baseline), [])
    kept = [one.row["key"] for one in front(every)]
    for one in every:
        one.row["on_front"] = one.row["key"] in kept
        one.row["against_baseline"] = None if not base or one in base else _against(one, base)
    return {
        "grid": encode(grid), "machine": measured.latency["machine"], "timed_rounds": measured.latency["rounds"],
        "axes": {axis.name: axis.title for axis in AXES}, "laps": list(LAPS), "front": kept,
        "policies": [{"name": each.policy.name, "recipe": each.policy.run.recipe, "baseline": each.policy.baseline,
                      "given": None if each.policy.given is None else str(each.policy.given),
                      "front": [one.row["key"] for one in front(by_policy[each.policy.name])],
                      "points": [one.row for one in by_policy[each.policy.name]], "not_varied": [encode(s) for s in each.skipped]}
                     for each in measured.tried]}


def _placed(measured: Measured, policy: Policy, point: Point, key: str) -> _Placed:
    place, latency = measured.place, measured.latency["points"][key]
    result = Result.load(place.evaluation(policy, point))
    period = sum(r.steps for r in result.episodes) / max(sum(r.calls for r in result.episodes), 1)
    rate_hz = float(result.protocol.fields["action_spec"]["rate_hz"])
    ms = charged_ms(measured.latency, key)
    slow = place.evaluation(policy, point, ms)
    held = sustained(result.episodes)
    row = {
        "key": key, "policy": policy.name, "point": point.name, "at": dict(point.at), "moved": dict(point.moved),
        "words": [*point.training, *point.model, *point.evaluation],
        "success": rate(result), "fingerprint": result.protocol.fingerprint, "seeds": [min(result.seeds), max(result.seeds)],
        "latency_ms": latency, "steps_per_plan": period, "ms_per_step": latency["p50"] / period,
        "keeps_pace": latency["p95"] <= 1000 * period / rate_hz, "period_ms": 1000 * period / rate_hz,
        "memory_mb": measured.memory[key],
        "sustained": {"steps": held.steps, "seconds": held.steps / rate_hz, "running": held.running,
                      "shares": [list(share) for share in held.shares]},
        "failures": failures(result.episodes),
        "charged": {"ms": ms, "success": rate(Result.load(slow))} if (slow / "result.json").exists() else None}
    return _Placed(row=row, result=result)


def rate(result: Result) -> dict[str, Any]:
    """With its interval, and task by task."""
    return {**result.rate.told(),
            "tasks": {task: [sum(r.success for r in result.episodes if r.task == task), sum(r.task == task for r in result.episodes)]
                      for task in result.tasks}}


def _against(one: _Placed, base: Sequence[_Placed]) -> dict[str, Any] | None:
    """This point less the best of the baseline that is no slower, paired by seed; None where all of the baseline is slower."""
    other = at_equal_latency(base, one.ms)
    if other is None:
        return None
    ours, theirs = one.result.protocol.fields, other.result.protocol.fields
    across = [name for name in SPANNED if ours.get(name) != theirs.get(name)]
    found = compare(one.result, other.result, across=across)
    low, high = found.pairs.interval()
    return {"key": other.row["key"], "rate": other.success, "difference": found.pairs.difference, "interval": [low, high],
            "p_value": found.pairs.p_value}


def text(found: Mapping[str, Any]) -> str:
    """The points as a Markdown table."""
    lines = ["| point | success | 95 % | one plan, ms (p50 / p95) | ms per step | memory, MiB | sustained, s | less no future as fast |",
             "| --- | ---: | --- | ---: | ---: | ---: | ---: | --- |"]
    for policy in found["policies"]:
        for row in policy["points"]:
            of, ms, versus = row["success"], row["latency_ms"], row["against_baseline"]
            low, high = of["interval"]
            told = "" if versus is None else f"{100 * versus['difference']:+.0f} points, p = {versus['p_value']:.2g}"
            star = " *" if row["on_front"] else ""
            lines.append(f"| {row['key']}{star} | {of['successes']}/{of['n']} | {100 * low:.0f} to {100 * high:.0f} | "
                         f"{ms['p50']:.1f} / {ms['p95']:.1f} | {row['ms_per_step']:.1f} | {row['memory_mb']['whole']:.0f} | "
                         f"{row['sustained']['seconds']:.2f} | {told} |")
    return "\n".join([*lines, "", "* on the front of all points"])
