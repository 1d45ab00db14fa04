"""`foreact study NAME`: declared grids of trainings and runs that end in tables with intervals and verdicts."""

from __future__ import annotations

import argparse
from pathlib import Path

from foreact.cli.parsing import Parser, choice
from foreact.cli.result import Result

__all__ = ["KEYS", "SETTINGS", "TEXT", "add_options", "main"]

TEXT = """A study is a declared grid that runs resumably and ends in tables. Interrupted, the same command goes on.

anchors   every recipe of a published system on the same demonstrations for the same number of steps at size tiny, run on the same
          unseen seeds, timed and verified, beside the no-future baseline and chance
mv-wam    what MV-WAM's ablations vary, one factor at a time (targets, steps, value, mask, shots, video), each arm trained from several
          seeds; every claim is judged by a rule fixed before, beside the paper's own figures. A page for each lies in OUT/pages
agra      where hidden states are aligned, and with what (layers, teacher), in the same way
representation   what is predicted beside the action in training, at equal compute, and with a quarter of the demonstrations
                 (objectives, few): geometry, semantics, alignment, temporal consistency, features
imagination      what the action sees of the future when acting, with the same weights (inference)
consistency      whether futures come true where the robot succeeds, and whether choosing among candidates by that helps, for cosmos-policy
                 and lingbot-va (separability, selectors, early, candidates, compute)

examples
  foreact study anchors --out runs/anchors
  foreact study anchors --out runs/anchors recipes='["uwm","fast-wam"]' steps=200 episodes=5
  foreact study mv-wam --out runs/mv-wam only='["targets","steps"]'

settings of anchors
  recipes=[] (all that name a row of the census)   tasks=["button-press-topdown","window-open"]   demonstrations=40 per task
  steps=600   batch_size=32   episodes=20 per task   horizon=200   seed=0   workers=2   settings=[] (more words for every training)
settings of the others, with defaults of mv-wam
  only=[] (all)   size=tiny   tasks=["button-press-topdown","window-open","door-close","faucet-close"]   conditions=["clean","random"]
  held_out=["plate-slide","handle-press-side"] (of study shots)   demonstrations=36 per task and condition   steps=600
  training_seeds=3   episodes=10 per task and condition   horizon=200
  workers=2   settings=[] (more words for every training)"""
SETTINGS = True
KEYS = ("recipes", "tasks", "demonstrations", "steps", "batch_size", "episodes", "horizon", "seed", "workers", "settings", "only", "size",
        "conditions", "training_seeds", "held_out")
_STUDIES = ("anchors", "mv-wam", "agra", "representation", "imagination", "consistency")


def add_options(parser: Parser) -> None:
    parser.add_argument("study", metavar="|".join(_STUDIES), type=choice("study", _STUDIES))
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="(default: runs/STUDY)")
    parser.add_argument("--data", type=Path, metavar="DATASET", help="demonstrations to learn from (default: they are collected)")


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.contract.config import apply_overrides

    out = options.out or Path("runs") / options.study
    if options.study == "anchors":
        from foreact.cli.anchors import AnchorStudy, run, table

        found = run(apply_overrides(AnchorStudy(), settings), out, options.data)
        return Result(data=found, text=table(found))
    if options.study == "consistency":
        from foreact.cli import consistency_run, consistency_studies, factor_report

        found = consistency_run.run(consistency_studies.FAMILIES, apply_overrides(consistency_studies.GRID, settings), out, options.data)
        pages = factor_report.publish_together(consistency_studies.FAMILIES, found, out / "pages", options.study)
        lines = [line for each in found["families"].values() for line in (each["recipe"], factor_report.summary(each))]
        return Result(data=found, text="\n".join([*lines, *(f"page: {page}" for page in pages)]))
    from foreact.cli import agra_studies, factor_report, factor_run, mv_wam_studies, representation_studies

    families = (mv_wam_studies.FAMILY, agra_studies.FAMILY, representation_studies.REPRESENTATION, representation_studies.IMAGINATION)
    family = next(family for family in families if family.name == options.study)
    found = factor_run.run(family, apply_overrides(family.grid, settings), out, options.data)
    pages = factor_report.publish(family, found, out / "pages")
    return Result(data=found, text=factor_report.summary(found) + "\n" + "\n".join(f"page: {page}" for page in pages))
