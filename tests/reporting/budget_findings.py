"""What `foreact budget` finds, made up in the real form: nine policies with three points each, and one name that would run if it could."""

from __future__ import annotations

from dataclasses import dataclass

from foreact.cli.budget_grid import AXES, BudgetGrid
from foreact.contract.config import encode
from foreact.contract.proportions import Rate
from foreact.contract.stopwatch import LAPS
from foreact.evaluation.budget import front

EVIL = "<img src=x onerror=window.ran=1>"
NAMES = ("no-future", "joint", "fast-wam", "uwm", "cosmos-policy", "lingbot-va", "mv-wam", "flare", EVIL)


@dataclass(frozen=True)
class Placed:
    key: str
    ms: float
    success: float


def row(policy, point, ms, successes, *, n=20, charged=False):
    solved = Rate(successes=successes, n=n)
    told = {"successes": successes, "n": n, "rate": solved.value, "interval": list(solved.interval),
            "tasks": {"window-open": [successes, n]}}
    names = LAPS if policy == "joint" else [name for name in LAPS if name != "future and action together"]
    laps = {name: {"p50": ms / len(names), "p95": ms / 4, "mean": ms / len(names)} for name in names}
    return {"key": f"{policy}/{point}", "policy": policy, "point": point, "at": {"denoising": 4, "replan": 8}, "moved": {}, "words": [],
            "success": told, "fingerprint": "ab" * 32, "seeds": [1_000_000, 1_000_009],
            "latency_ms": {"p50": ms, "p95": 1.3 * ms, "mean": ms, "n": 24, "laps": laps}, "steps_per_plan": 8.0, "ms_per_step": ms / 8,
            "keeps_pace": ms < 70, "period_ms": 100.0, "memory_mb": {"whole": 900.0, "idle": 600.0},
            "sustained": {"steps": 40, "seconds": 0.5, "running": 3, "shares": [[0, solved.value, n]]},
            "failures": {"never touched": n - successes, "lost": 0, "in contact": 0},
            "charged": {"ms": ms, "success": told} if charged else None,
            "against_baseline": None if policy == "no-future" else {
                "key": "no-future/own", "rate": 0.5, "difference": 0.1, "interval": [-0.1, 0.3], "p_value": 0.6}}


def found(names=NAMES, *, charged=True):
    policies = []
    for index, name in enumerate(names):
        points = [row(name, point, (10 + 7 * index) * scale, min(6 + index + more, 20), charged=charged and point == "own")
                  for point, scale, more in (("own", 1.0, 3), ("denoising-1", 0.4, 0), ("denoising-8", 1.8, 4))]
        placed = [Placed(p["key"], p["latency_ms"]["p50"], p["success"]["rate"]) for p in points]
        policies.append({"name": name, "recipe": "joint", "baseline": name == "no-future", "given": None,
                         "front": [p.key for p in front(placed)], "points": points,
                         "not_varied": [{"axis": "replan", "value": "16", "why": EVIL}] if name == EVIL else []})
    every = [Placed(p["key"], p["latency_ms"]["p50"], p["success"]["rate"]) for policy in policies for p in policy["points"]]
    kept = [p.key for p in front(every)]
    for policy in policies:
        for point in policy["points"]:
            point["on_front"] = point["key"] in kept
    return {"grid": encode(BudgetGrid()), "timed_rounds": 24, "axes": {axis.name: axis.title for axis in AXES}, "laps": list(LAPS),
            "front": kept, "policies": policies,
            "machine": {"cores": 2, "processor": "x86_64", "threads": 1, "torch": "2.13.0", "device": None, "load_before": [1.0, 1.0, 1.0],
                        "load_after": [1.2, 1.0, 1.0]}}
