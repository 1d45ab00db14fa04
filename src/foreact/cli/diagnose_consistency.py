"""`foreact diagnose consistency`: whether what a model imagined came true, and what that tells of success."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.cli.parsing import Parser
from foreact.cli.result import Result
from foreact.contract.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from foreact.diagnostics.consistency.collapse import Rule
    from foreact.evaluation.result import Result as Evaluation

__all__ = ["KEYS", "SETTINGS", "TEXT", "ConsistencySettings", "add_options", "main"]

TEXT = """Reads evaluations that recorded how far imagined frames are from those that came (foreact eval RUN consistency=latent) and asks
whether episodes that succeed are those in which the future came out as imagined (action-state consistency).

  d        Cohen's d of successes against failures, in z-scores of log C within each task
  AUC      of telling success from failure by that score alone, on seeds that the regression has not seen; 0.5 is chance
  skill    what imagining explains of what changed: 0 for a future in which nothing moves, below zero for a worse one
  change   correlation of log C with how much changed; below zero, what stands still looks consistent
  corrected  the same score for as much as changed, and whether that raises the AUC, beside the change alone
  stalled  how many episodes stood still, by the rule below; tried on evaluations with freeze=SHARE, where they are given too
  value    where plans have one: its d and AUC, and whether it falls apart where consistency does

The scale tau drops out of all of them. Episodes that succeed end early, so that they are told from another stretch of the way than those
that fail; with before=40 scores are told from their first 40 steps. --against compares with an evaluation of the same seeds along the way,
such as the same policy without selection.

examples
  foreact eval runs/cosmos-policy-tiny --name watched consistency=latent seeds_per_task=50
  foreact eval runs/cosmos-policy-tiny --name frozen consistency=latent freeze=0.2
  foreact diagnose consistency runs/cosmos-policy-tiny
  foreact diagnose consistency runs/a/evaluations/watched runs/b/evaluations/watched --out runs/consistency.html

settings
  tau=1.0   offset=null (frames so many steps ahead only)   before=null (those imagined before this step only)   seed=0   resamples=500
  still=0.25 patience=3  stalled: that many changes in a row below this share of the median change of successes"""
SETTINGS = True
KEYS = ("tau", "offset", "before", "still", "patience", "seed", "resamples")


@dataclass(frozen=True, kw_only=True)
class ConsistencySettings:
    """See the words of the command."""

    tau: float = 1.0
    offset: int | None = None
    before: int | None = None
    still: float = 0.25
    patience: int = 3
    seed: int = 0
    resamples: int = 500

    def __post_init__(self) -> None:
        for name in ("tau", "still", "patience", "resamples"):
            if not getattr(self, name) > 0:
                raise ConfigError("this is a positive number", where=name, found=getattr(self, name))


def add_options(parser: Parser) -> None:
    parser.add_argument("evaluations", type=Path, nargs="+", metavar="EVALUATION",
                        help="folders of finished evaluations, or of runs for all of theirs that recorded it")
    parser.add_argument("--against", type=Path, metavar="EVALUATION", help="one of the same tasks and seeds, to compare with along the way")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write an HTML page with the pictures")


@dataclass(frozen=True, kw_only=True)
class _Read:
    folder: Path
    name: str
    distance: str
    evaluation: Evaluation

    @property
    def frozen_at(self) -> int | None:
        rule = self.evaluation.protocol.fields.get("freeze")
        return None if rule is None else int(rule["step"])


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.contract.config import apply_overrides, encode
    from foreact.diagnostics.consistency.separation import PAPER

    config = apply_overrides(ConsistencySettings(), settings)
    read = [_read(folder) for path in options.evaluations for folder in _watched(path)]
    plain = [one for one in read if one.frozen_at is None]
    if not plain:
        raise DatasetError("only frozen episodes are here, and nothing to hold them against", where=str(read[0].folder),
                           next_step="give the evaluation of the same run without freeze too")
    against = None if options.against is None else _read(options.against)
    found = [_examined(one, [other for other in read if _tries(other, one)], against, config) for one in plain]
    _all_used(read, plain)
    data = _plain({"settings": encode(config), "evaluations": found, "paper": PAPER})
    text = "\n".join(_text(one) for one in data["evaluations"])
    if options.out is not None:
        from foreact.cli.stalled_films import stalled_films
        from foreact.reporting.consistency import write_consistency_page

        films = [stalled_films(one.folder, one.evaluation.episodes, _rule(config)) for one in plain]
        write_consistency_page(data, [_frames(one) for one in plain], options.out, films=films, written=date.today().isoformat())
        data["page"] = str(options.out)
        text += f"\npage: {options.out}"
    return Result(data=data, text=text)


# --- what is read -----------------------------------------------------------------------------------------------------

def _read(folder: Path) -> _Read:
    from foreact.evaluation.result import Result as Evaluation

    evaluation = Evaluation.load(folder)
    head = json.loads((folder / "evaluation.json").read_text())
    name = f"{folder.parent.parent.name}/{folder.name}" if folder.parent.name == "evaluations" else folder.name
    return _Read(folder=folder, name=name, distance=head.get("consistency", "off"), evaluation=evaluation)


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


def _tries(frozen: _Read, plain: _Read) -> bool:
    """Whether these are frozen episodes of the same policy in the same distance."""
    return (frozen.frozen_at is not None and frozen.distance == plain.distance
            and frozen.evaluation.policy.get("sha256") == plain.evaluation.policy.get("sha256"))


def _all_used(read: Sequence[_Read], plain: Sequence[_Read]) -> None:
    for one in read:
        if one.frozen_at is not None and not any(_tries(one, other) for other in plain):
            raise DatasetError("these frozen episodes are of no policy that is given", where=str(one.folder), found=one.name,
                               next_step="give the evaluation of the same run without freeze, in the same distance, too")


def _examined(one: _Read, frozen: Sequence[_Read], against: _Read | None, config: ConsistencySettings) -> dict[str, Any]:
    from foreact.diagnostics.consistency.examination import Frozen, examine

    if against is not None and against.distance != one.distance:
        raise DatasetError("these were measured in different distances", where="--against", found=against.distance, accepted=one.distance,
                           next_step=f"evaluate again with consistency={one.distance}")
    try:
        told = examine(
            one.evaluation.episodes, against=None if against is None else against.evaluation.episodes, tau=config.tau, offset=config.offset,
            frozen=[Frozen(name=each.name, at=each.frozen_at or 0, records=each.evaluation.episodes) for each in frozen],
            before=config.before, rule=_rule(config), seed=config.seed, resamples=config.resamples)
    except DatasetError as error:
        raise DatasetError(error.what, where=str(one.folder), found=error.found, accepted=error.accepted,
                           next_step=error.next_step) from error
    if against is not None:
        apart = one.evaluation.protocol.differences(against.evaluation.protocol)
        told["against"] |= {"name": against.name, "same_policy": one.evaluation.policy == against.evaluation.policy,
                            "protocols_differ_in": sorted(apart)}
    return {"name": one.name, "distance": one.distance, **told}


def _rule(config: ConsistencySettings) -> Rule:
    from foreact.diagnostics.consistency.collapse import Rule

    return Rule(share=config.still, patience=config.patience)


def _frames(one: _Read) -> list[tuple[bool, float, float]]:
    """(success, distance, change) of every frame, for the page to draw."""
    return [(record.success, each.distance, each.change) for record in one.evaluation.episodes for each in record.consistency]


def _plain(value: Any) -> Any:
    """What has no number becomes null, which JSON has."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- what is said -----------------------------------------------------------------------------------------------------

def _text(one: dict[str, Any]) -> str:
    kept = "the plan kept to until there" if one["on_plan"] else "planned anew before they came"
    lines = [f"{one['name']}: {one['all']['episodes']} episodes, {one['frames']} imagined frames that came due ({kept}), in "
             f"{one['distance']} distance"]

    def figure(title: str, of: dict[str, Any], name: str, why: str = "all episodes ended alike") -> None:
        value, (low, high) = of[name], of[f"{name}_interval"]
        told = f"not to be told: {why}" if value is None else f"{value:+.2f}"
        lines.append(f"  {title:<44}{told}" + ("" if value is None or low is None else f"   95 % {low:+.2f} to {high:+.2f}"))

    figure("d, successes less failures", one["all"], "d")
    figure("AUC", one["all"], "auc")
    if one["aligned"]["tasks"] and len(one["aligned"]["tasks"]) < len(one["tasks"]):
        figure(f"AUC over {len(one['aligned']['tasks'])} aligned of {len(one['tasks'])} tasks", one["aligned"], "auc")
    if one["value"] is not None:
        figure("d of the value", one["value"], "d")
        figure("AUC of the value", one["value"], "auc")
        figure("gaps of value and consistency over time, r", one["value"]["agreement"], "over_time", "too few steps with both outcomes")
    figure("skill against a future that stands still", one, "skill")
    figure("log C against change, Pearson", one["change"], "pearson", "too few frames")
    figure("log C against change, Spearman", one["change"], "spearman", "too few frames")
    figure("AUC of d / change", one["correction"]["ratio"], "auc")
    figure("  more than the plain score", one["correction"]["ratio"], "difference")
    figure("  more than change alone", one["correction"]["ratio"], "above_change")
    lines += [f"  {_stalled(name, one['collapse'][name])}" for name in ("failures", "successes") if one["collapse"][name]]
    for tried in one["collapse"]["frozen"]:
        if tried["detected"]:
            delay = "" if tried["delay_steps"] is None else f", {tried['delay_steps']:.0f} steps after (median)"
            lines.append(f"  {_stalled('frozen from step ' + str(tried['at']), tried['detected'])}{delay}")
    if one["against"] is not None:
        for name in ("change", "consistency"):
            figure(f"{name}, less that of {one['against']['name']}, late", one["against"][name], "late", "too few pairs late on the way")
    return "\n".join(lines)


def _stalled(what: str, of: dict[str, Any]) -> str:
    low, high = of["interval"]
    return f"{f'stalled, {what}':<44}{of['count']} of {of['n']}   95 % {100 * low:.0f} to {100 * high:.0f} %"
