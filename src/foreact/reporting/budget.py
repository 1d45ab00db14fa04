"""The page of accuracy at budget: success, latency, memory, sustained horizon and failures of every point, in one file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from foreact.contract.storage import atomic_write_text
from foreact.reporting import budget_figures as figures
from foreact.reporting.page import absent, page, section, table, tile

__all__ = ["write_budget_page"]


def write_budget_page(found: Mapping[str, Any], path: Path, *, written: str | None = None) -> Path:
    """Write the page of what `foreact budget` found; returns its path."""
    stamp = written if written is not None else f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC"
    bar = (f'<header class="wrap bar"><b>foreact</b><span>budget</span><span class="push">{escape(stamp)}</span>'
           '<button class="pill" id="theme">light / dark</button></header>')
    body = "".join([_top(found), _plane(found), _each(found), _stages(found), _table(found), _endings(found), _horizon(found),
                    _charged(found), _left_out(found), _how(found)])
    footer = "<footer>Written by foreact. This file holds all that it shows and asks nothing of the network.</footer>"
    atomic_write_text(path, page(title="Accuracy at budget", body=f'{bar}<main class="wrap">{body}{footer}</main>'))
    return path


def _rows(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for policy in found["policies"] for row in policy["points"]]


def _top(found: Mapping[str, Any]) -> str:
    rows, grid = _rows(found), found["grid"]
    best = max(rows, key=lambda row: (row["success"]["rate"], -row["latency_ms"]["p50"]))
    fast = min((row for row in rows if row["on_front"]), key=lambda row: row["latency_ms"]["p50"])
    n = rows[0]["success"]["n"]
    recipes = sum(not policy["baseline"] for policy in found["policies"])
    tiles = "".join([
        tile("Compared", f"{recipes} recipes", f"{len(rows)} points, {n} episodes each"),
        tile("Most successful", _percent(best["success"]["rate"]), f"{best['key']}, {best['latency_ms']['p50']:.0f} ms for a plan"),
        tile("Fastest on the front", f"{fast['latency_ms']['p50']:.1f} ms", f"{fast['key']}, {_percent(fast['success']['rate'])}"),
        tile("Keep pace", f"{sum(row['keeps_pace'] for row in rows)} of {len(rows)}", "points plan while their actions last")])
    lead = (f"{escape(', '.join(grid['tasks']))}; seeds from {grid['seed_start']:,} on, the same for all; at most {grid['horizon']} "
            f"control steps. Trained here for {grid['steps']} steps at size {escape(grid['size'])}, unless a run was given.")
    return f'<section><h1>Accuracy at budget</h1><p class="lead">{lead}</p><div class="tiles">{tiles}</div></section>'


def _plane(found: Mapping[str, Any]) -> str:
    lead = ("Every mark is a way to run a policy, with its 95 % Wilson interval; a line joins those of a policy that none of its own beats."
            " Ringed: no point of any policy is at least as good and as fast, and better in one. Broken line: the best that the no-future "
            "baseline reaches within that time, with its interval.")
    return section("plane", "Success against latency", lead, f'<div class="card">{figures.plane(found)}</div>')


def _each(found: Mapping[str, Any]) -> str:
    if all(policy["baseline"] for policy in found["policies"]):
        return ""
    lead = ("The same, policy by policy; ringed is the recipe's own point. Imagining pays where a policy stands above the broken "
            "line by more than the intervals.")
    return section("each", "Against no future at equal latency", lead, f'<div class="card">{figures.small_multiples(found)}</div>')


def _stages(found: Mapping[str, Any]) -> str:
    laps = [name for name in found["laps"] if any(name in row["latency_ms"]["laps"] for row in _rows(found))]

    def cell(row: Mapping[str, Any], name: str) -> str:
        lap = row["latency_ms"]["laps"].get(name)
        return "" if lap is None or lap["p95"] == 0 else f"{lap['p50']:.1f} / {lap['p95']:.1f}"

    rows = [[_name(row), f"{row['latency_ms']['p50']:.1f} / {row['latency_ms']['p95']:.1f}", *(cell(row, name) for name in laps)]
            for row in _rows(found)]
    load = found["machine"]
    lead = (f"{found['timed_rounds']} plans of each point, by turns in one process on the same observations; p50 / p95 in ms, the bars are "
            "means, which add up to the whole. Where one pass makes future and action, they are told together. Encoding: pictures, text, "
            f"state and memory. {_machine(load)}")
    body = f'<div class="card">{figures.stages(found)}</div><div class="card below">{table(["point", "one plan", *laps], rows)}</div>'
    return section("stages", "Where the time goes", lead, body)


def _table(found: Mapping[str, Any]) -> str:
    rows = []
    for row in _rows(found):
        of, held = row["success"], row["memory_mb"]
        low, high = of["interval"]
        knobs = ", ".join(f"{escape(found['axes'].get(name, name))} {escape(str(value))}" for name, value in row["at"].items())
        versus = row["against_baseline"]
        told = "" if versus is None else (f"{100 * versus['difference']:+.0f} ({100 * versus['interval'][0]:+.0f} to "
                                          f"{100 * versus['interval'][1]:+.0f}), p = {versus['p_value']:.2g}, {escape(versus['key'])}")
        rows.append([_name(row), knobs, f"{of['successes']}/{of['n']}", f"{100 * low:.0f} to {100 * high:.0f} %",
                     f"{row['latency_ms']['p50']:.1f}", f"{row['ms_per_step']:.1f}", "yes" if row["keeps_pace"] else "no",
                     f"{held['whole']:.0f} ({held['whole'] - held['idle']:.0f})", f"{row['sustained']['seconds']:.2f}", told,
                     f"<code>{escape(row['fingerprint'][:8])}</code>"])
    head = ["point", "stands at", "success", "95 %", "one plan, ms", "ms per step", "keeps pace", "memory, MiB", "sustained, s",
            "less no future at equal latency", "protocol"]
    lead = ("On the front of all points: ringed names. Keeps pace: 95 of 100 plans are made within the time that the actions between two"
            " plans last. Memory: the most that a process with one model held, and in brackets what of it came with the model and its "
            "plans. Differences in points, paired by seed, with 95 % interval and exact McNemar p; many are read here, so single "
            "small p mean little.")
    return section("points", "Every point", lead, f'<div class="card">{table(head, rows)}</div>')


def _endings(found: Mapping[str, Any]) -> str:
    rows = [[_name(row), str(row["success"]["successes"]), *(str(row["failures"].get(name, 0)) for name in (
        "in contact", "lost", "never touched")), str(row["failures"].get("unknown", ""))] for row in _rows(found)]
    lead = ("Failures by what the robot did with the thing at hand: it was in contact at the end, had touched it and lost it, or never "
            "touched it at all. Bars: each recipe at its own point.")
    head = ["point", "solved", "in contact", "lost", "never touched", "unknown"]
    return section("endings", "How failures end", lead, f'<div class="card">{figures.endings(found)}</div>'
                   f'<div class="card below">{table(head, rows)}</div>')


def _horizon(found: Mapping[str, Any]) -> str:
    rows = [[_name(row), str(row["sustained"]["steps"]), f"{row['sustained']['seconds']:.2f}", str(row["sustained"]["running"]),
             f"{row['success']['n']}"] for row in _rows(found)]
    lead = ("Sustained horizon H: the first step h at which fewer than half of the episodes that are still running are solved yet, "
            "q(h) = #{h &lt; T} / #{still running after h} &lt; 1/2. A policy that solves less than half of its episodes has H = 0.")
    head = ["point", "H, steps", "H, s", "running then", "of"]
    return section("horizon", "Sustained horizon", lead, f'<div class="card">{table(head, rows)}</div>')


def _charged(found: Mapping[str, Any]) -> str:
    told = [row for row in _rows(found) if row["charged"] is not None]
    lead = ("The same seeds in a world that does not wait: each plan costs its own median latency, during which a regime that is not "
            "concurrent holds still.")
    if not told:
        return section("charged", "At its own latency", lead, absent("No point was charged.", "charge=own"))
    rows = []
    for row in told:
        free, slow = row["success"], row["charged"]["success"]
        low, high = slow["interval"]
        rows.append([_name(row), f"{row['charged']['ms']:g}", f"{free['successes']}/{free['n']}", f"{slow['successes']}/{slow['n']}",
                     f"{100 * low:.0f} to {100 * high:.0f} %"])
    return section("charged", "At its own latency", lead,
                   f'<div class="card">{table(["point", "charged, ms", "world waits", "world goes on", "95 %"], rows)}</div>')


def _left_out(found: Mapping[str, Any]) -> str:
    rows = [[escape(policy["name"]), escape(one["axis"]), "" if one["value"] is None else escape(str(one["value"])), escape(one["why"])]
            for policy in found["policies"] for one in policy["not_varied"]]
    lead = "What a recipe has no knob for, or cannot be run at, and why."
    body = f'<div class="card">{table(["recipe", "axis", "value", "why"], rows)}</div>' if rows else absent("Nothing was left out.")
    return section("left-out", "Not varied", lead, body)


def _how(found: Mapping[str, Any]) -> str:
    rows = [[f"<code>{escape(str(name))}</code>", f"<code>{escape(str(value))}</code>"] for name, value in found["grid"].items()]
    return section("how", "The grid", "Settings of <code>foreact budget</code>.", f'<div class="card">{table([], rows)}</div>')


def _machine(of: Mapping[str, Any]) -> str:
    before, after = of["load_before"][0], of["load_after"][0]
    device = f"{escape(str(of['device']))}, " if of["device"] else ""
    return (f"Machine: {device}{of['cores']} cores ({escape(str(of['processor']))}), threads: {of['threads']}, torch "
            f"{escape(str(of['torch']))}; load {before:.1f} before, {after:.1f} after.")


def _name(row: Mapping[str, Any]) -> str:
    text = escape(row["key"])
    return f"<b>◯ {text}</b>" if row["on_front"] else text


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
