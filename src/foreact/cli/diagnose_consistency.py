"""`foreact diagnose consistency`: whether what a model imagined came true, and whether that tells success from failure."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.cli.parsing import Parser
from foreact.cli.result import Result
from foreact.contract.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from foreact.diagnostics.consistency.scores import Scored
    from foreact.evaluation.rollout import EpisodeRecord

__all__ = ["KEYS", "SETTINGS", "TEXT", "ConsistencySettings", "add_options", "main"]

TEXT = """Reads evaluations that recorded how far imagined frames are from those that came (foreact eval RUN consistency=latent) and asks
whether episodes that succeed are those in which the future came out as imagined (action-state consistency).

  d        Cohen's d of successes against failures, in z-scores of log C within each task
  AUC      of telling success from failure by that score alone, on seeds that the regression has not seen; 0.5 is chance
  skill    what imagining explains of what changed: 0 for a future in which nothing moves, below zero for a worse one
  collapse rank correlation of log C with how much changed; below zero, what stands still looks consistent

The scale tau drops out of all of them. Where plans have a value, d and AUC of the value stand beside. Episodes that succeed end early, so
that they are told from another stretch of the way than those that fail; with before=40 all are told from their first 40 steps.

examples
  foreact eval runs/cosmos-policy-tiny --name watched consistency=latent seeds_per_task=50
  foreact diagnose consistency runs/cosmos-policy-tiny
  foreact diagnose consistency runs/a/evaluations/watched runs/b/evaluations/watched --out runs/consistency.html

settings
  tau=1.0   offset=null (frames so many steps ahead only)   before=null (those imagined before this step only)   seed=0   resamples=500"""
SETTINGS = True
KEYS = ("tau", "offset", "before", "seed", "resamples")


@dataclass(frozen=True, kw_only=True)
class ConsistencySettings:
    """See the words of the command."""

    tau: float = 1.0
    offset: int | None = None
    before: int | None = None
    seed: int = 0
    resamples: int = 500

    def __post_init__(self) -> None:
        if self.tau <= 0 or self.resamples < 1:
            raise ConfigError("a scale is positive", where="tau", found=f"tau = {self.tau}, resamples = {self.resamples}")


def add_options(parser: Parser) -> None:
    parser.add_argument("evaluations", type=Path, nargs="+", metavar="EVALUATION",
                        help="folders of finished evaluations, or of runs for all of theirs that recorded it")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write an HTML page with the pictures")


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.contract.config import apply_overrides, encode
    from foreact.diagnostics.consistency.scores import scored
    from foreact.diagnostics.consistency.separation import PAPER
    from foreact.evaluation.result import Result as Evaluation

    config = apply_overrides(ConsistencySettings(), settings)
    found, drawn = [], []
    for folder in [one for path in options.evaluations for one in _watched(path)]:
        records = Evaluation.load(folder).episodes
        try:
            scores = scored(records, tau=config.tau, offset=config.offset, before=config.before)
        except DatasetError as error:
            raise DatasetError(error.what, where=str(folder), found=error.found, accepted=error.accepted,
                               next_step=error.next_step) from error
        found.append({"name": _name(folder), "distance": json.loads((folder / "evaluation.json").read_text())["consistency"],
                      **_figures(scores, records, config)})
        drawn.append(scores)
    data = {"settings": encode(config), "evaluations": found, "paper": PAPER}
    text = "\n".join(_text(one) for one in found)
    if options.out is not None:
        import numpy as np

        from foreact.reporting.consistency import write_consistency_page

        pictures = [{"z": s.z, "success": s.success, "frames": [np.stack([-f["distance"], f["change"]], axis=1) for f in s.frames]}
                    for s in drawn]
        write_consistency_page(data, pictures, options.out, written=date.today().isoformat())
        data["page"] = str(options.out)
        text += f"\npage: {options.out}"
    return Result(data=_plain(data), text=text)


def _watched(path: Path) -> list[Path]:
    """The evaluation, or those of a run that are finished and recorded it."""
    from foreact.evaluation.result import RESULT

    if not (path / "evaluations").is_dir():
        return [path]
    finished = sorted(folder.parent for folder in (path / "evaluations").glob(f"*/{RESULT}"))
    found = [folder for folder in finished if json.loads((folder / "evaluation.json").read_text()).get("consistency", "off") != "off"]
    if not found:
        raise DatasetError("no evaluation of this run recorded it", where=str(path), found=f"{len(finished)} evaluations",
                           next_step=f"foreact eval {path} consistency=latent")
    return found


def _name(folder: Path) -> str:
    """An evaluation by its run and its own name."""
    return f"{folder.parent.parent.name}/{folder.name}" if folder.parent.name == "evaluations" else folder.name


def _figures(scores: Scored, records: tuple[EpisodeRecord, ...], config: ConsistencySettings) -> dict[str, Any]:
    from foreact.diagnostics.consistency.motion import spearman
    from foreact.diagnostics.consistency.separation import aligned, interval, separation

    spread = {"seed": config.seed, "resamples": config.resamples}
    tasks = {task: {**separation(scores.of(task), **spread), **_means(scores.of(task))} for task in scores.tasks}
    chosen = aligned(scores)
    return {"on_plan": scores.on_plan, "frames": int(sum(len(one) for one in scores.frames)), "all": separation(scores, **spread),
            "aligned": {"tasks": list(chosen), **(separation(scores.of(*chosen), **spread) if chosen else {})}, "tasks": tasks,
            "skill": scores.skill, "skill_interval": interval(scores, lambda one: one.skill, **spread),
            "collapse": spearman(scores), "collapse_interval": interval(scores, spearman, seed=config.seed,
                                                                        resamples=min(config.resamples, 100)),
            "value": _value(records, config.before, spread)}


def _means(scores: Scored) -> dict[str, float]:
    """Mean C of successes and of failures, NaN where there are none."""
    import numpy as np

    c = np.exp(scores.log_c)
    return {name: float(c[kept].mean()) if kept.any() else float("nan")
            for name, kept in (("c_success", scores.success), ("c_failure", ~scores.success))}


def _value(records: tuple[EpisodeRecord, ...], before: int | None, spread: dict[str, int]) -> dict[str, Any] | None:
    """The same of the mean value of an episode's plans, where every plan has one: as a score, it is read as a distance below zero."""
    from types import SimpleNamespace

    from foreact.diagnostics.consistency.scores import scored
    from foreact.diagnostics.consistency.separation import separation

    if not all(record.values for record in records):
        return None
    read = [SimpleNamespace(task=r.task, condition=r.condition, seed=r.seed, success=r.success, consistency=[
        SimpleNamespace(step=step, offset=0, distance=-value, change=0.0, on_plan=True)
        for step, value in zip(r.call_steps, r.values, strict=True)]) for r in records]
    return separation(scored(read, before=before), **spread)


def _plain(value: Any) -> Any:
    """What has no number becomes null, which JSON has."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(one: dict[str, Any]) -> str:
    kept = "the plan kept to until there" if one["on_plan"] else "planned anew before they came"
    lines = [f"{one['name']}: {one['all']['episodes']} episodes, {one['frames']} imagined frames that came due ({kept}), in "
             f"{one['distance']} distance"]

    def figure(title: str, of: dict[str, Any], name: str, why: str = "all episodes ended alike") -> None:
        value, (low, high) = of[name], of[f"{name}_interval"]
        lines.append(f"  {title:<44}" + (f"not to be told: {why}" if not math.isfinite(value) else
                                         f"{value:+.2f}   95 % {low:+.2f} to {high:+.2f}"))

    figure("d, successes less failures", one["all"], "d")
    figure("AUC", one["all"], "auc")
    if one["aligned"]["tasks"] and len(one["aligned"]["tasks"]) < len(one["tasks"]):
        figure(f"AUC over {len(one['aligned']['tasks'])} aligned of {len(one['tasks'])} tasks", one["aligned"], "auc")
    if one["value"] is not None:
        figure("d of the value", one["value"], "d")
        figure("AUC of the value", one["value"], "auc")
    figure("skill against a future that stands still", one, "skill")
    figure("collapse: log C against change", one, "collapse", "too few frames")
    return "\n".join(lines)
