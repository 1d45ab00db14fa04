"""`foreact monitor calibrate|measure`: thresholds for alarms at a stated rate of false ones, and what the alarms are worth."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.cli.parsing import Parser, choice
from foreact.cli.result import Result
from foreact.contract.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from foreact.evaluation.result import Result as Evaluation

__all__ = ["KEYS", "SETTINGS", "TEXT", "add_options", "main"]

TEXT = """A monitor compares, while episodes run, what a model imagined with what comes, and raises an alarm where the two drift apart
(mismatch) or where both stand still though the plan commands motion (collapse).

  calibrate  learn from the successes of a finished evaluation what to expect and where to draw the line, so that a fresh success
             raises any alarm with the stated probability at most; written to RUN/monitor.json
  measure    of evaluations that were watched: false alarms among successes, alarms among the others, how well the highest score tells
             the two apart (AUC), and where the world was secretly changed, how many control steps later the first alarm rose

examples
  foreact eval runs/uwm-tiny --name held-out consistency=latent seeds_per_task=50
  foreact monitor calibrate runs/uwm-tiny --evaluation held-out --false-alarms 0.05
  foreact eval runs/uwm-tiny --name watched seed_start=1000100 monitor=runs/uwm-tiny/monitor.json monitor_action=stop
  foreact monitor measure runs/uwm-tiny --evaluation watched"""
SETTINGS, KEYS = False, ()


def add_options(parser: Parser) -> None:
    parser.add_argument("verb", metavar="calibrate|measure", type=choice("monitor", ("calibrate", "measure")))
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a run")
    parser.add_argument("--evaluation", nargs="+", required=True, metavar="NAME", help="finished evaluations of it; calibrate: one")
    parser.add_argument("--false-alarms", type=float, default=0.05, metavar="RATE",
                        help="calibrate: the share of successes that may raise an alarm (default: 0.05)")
    parser.add_argument("--slack", type=float, default=1.0, help="calibrate: how many deviations of surprise are let pass (default: 1)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="calibrate: where to write it (default: RUN/monitor.json)")


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.evaluation.result import Result as Evaluation

    folders = [options.run / "evaluations" / name for name in options.evaluation]
    if options.verb == "measure":
        return _measure([(folder.name, Evaluation.load(folder)) for folder in folders])
    if len(folders) != 1:
        raise ConfigError("one evaluation at a time", where="--evaluation", found=", ".join(options.evaluation), accepted="one")
    return _calibrate(folders[0], options)


def _calibrate(folder: Path, options: argparse.Namespace) -> Result:
    from foreact.contract.config import encode
    from foreact.evaluation.result import Result as Evaluation
    from foreact.selection.calibration_file import write_calibration
    from foreact.selection.monitor import calibrate

    evaluation = Evaluation.load(folder)
    head = json.loads((folder / "evaluation.json").read_text())
    if head.get("consistency", "off") == "off":
        raise DatasetError("this evaluation did not record how far imagined frames are from those that came", where=str(folder),
                           found="consistency=off", next_step=f"foreact eval {options.run} consistency=latent")
    for name in ("rollback", "disturb", "monitor"):
        if name in evaluation.protocol.fields:
            raise DatasetError("a monitor is calibrated on episodes that nothing interfered with", where=str(folder), found=name,
                               next_step=f"foreact eval {options.run} consistency={head['consistency']}")
    solved = [(record.seed, record.consistency) for record in evaluation.episodes if record.success]
    calibration = calibrate(solved, policy=head["policy"]["sha256"], distance=head["consistency"], rate=options.false_alarms,
                            slack=options.slack)
    out = options.out or options.run / "monitor.json"
    write_calibration(calibration, out)
    text = (f"{len(solved)} successes of {evaluation.n} episodes: {calibration.fitted} say what to expect, {calibration.held_out} where to "
            f"draw the line\na fresh success raises an alarm with probability {calibration.rate:g} at most\nmonitor: {out}")
    return Result(data={"out": str(out), **encode(calibration)}, text=text)


def _measure(evaluations: Sequence[tuple[str, Evaluation]]) -> Result:
    found = {name: _figures(name, evaluation) for name, evaluation in evaluations}
    return Result(data=found, text="\n".join(_text(name, of) for name, of in found.items()))


def _figures(name: str, evaluation: Evaluation) -> dict[str, Any]:
    import numpy as np

    from foreact.contract.proportions import rate_of
    from foreact.diagnostics.consistency.separation import area

    if "monitor" not in evaluation.protocol.fields:
        raise DatasetError("nothing watched this evaluation", where=name, next_step="foreact eval RUN monitor=RUN/monitor.json")
    records = evaluation.episodes
    most = np.array([max((max(s.mismatch, s.collapse) for s in r.scores), default=0.0) for r in records])
    changed = evaluation.protocol.fields.get("disturb")
    start = 0 if changed is None else changed["step"]
    reached = [r for r in records if r.steps > start]

    rate = partial(rate_of, counted="alarms")
    early = [any(a.step <= start for a in r.alarms) for r in reached]
    delays = [min(after) - start for r in reached if (after := [a.step for a in r.alarms if a.step > start])]
    return {"n": len(records), "successes": evaluation.successes, "disturb": changed, "asked": sum(r.asked for r in records),
            "solved": rate([bool(r.alarms) for r in records if r.success]),
            "not_solved": rate([bool(r.alarms) for r in records if not r.success]),
            "auc": _finite(area(-most, np.array([r.success for r in records]))),
            **({} if changed is None else {
                "before": rate(early), "detected": rate([any(a.step > start for a in r.alarms) for r in reached]),
                "delay": {"n": len(delays), **{f"p{p}": float(np.percentile(delays, p)) for p in (50, 90)}} if delays else None})}


def _finite(value: float) -> float | None:
    import math

    return value if math.isfinite(value) else None


def _text(name: str, of: dict[str, Any]) -> str:
    def told(rate: dict[str, Any] | None) -> str:
        if rate is None:
            return "none of these"
        low, high = rate["interval"]
        return f"{rate['alarms']} of {rate['n']} ({100 * rate['alarms'] / rate['n']:.0f} %, 95 %: {100 * low:.0f} to {100 * high:.0f})"

    lines = [f"{name}: {of['n']} episodes, {of['successes']} succeeded, {of['asked']} asked for help",
             f"  alarms among successes        {told(of['solved'])}", f"  alarms among the others       {told(of['not_solved'])}",
             f"  AUC of the highest score      {'all ended alike' if of['auc'] is None else format(of['auc'], '.2f')}"]
    if of["disturb"] is not None:
        lines += [f"  {of['disturb']['kind']} after step {of['disturb']['step']}",
                  f"    alarms before it            {told(of['before'])}", f"    alarms after it             {told(of['detected'])}"]
        if of["delay"] is not None:
            lines.append(f"    delay in control steps      p50 {of['delay']['p50']:.0f}, p90 {of['delay']['p90']:.0f}")
    return "\n".join(lines)
