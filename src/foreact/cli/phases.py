"""The four phases of the quickstart, each on top of a command that a person could have typed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.cli.children import Children, terminate_as_interrupt
from foreact.cli.gather import gather
from foreact.cli.plan import Quickstart
from foreact.cli.result import Result
from foreact.contract.config import apply_overrides, decode
from foreact.contract.progress import meter, say
from foreact.contract.proportions import PairedRates, Rate
from foreact.envs.metaworld import task_name
from foreact.evaluation.collection import CollectConfig, collect
from foreact.evaluation.evaluate import EvaluationConfig
from foreact.evaluation.result import EPISODES
from foreact.evaluation.result import Result as Evaluation
from foreact.recipes import catalogue
from foreact.reporting import write_report
from foreact.training.checkpoint_folder import newest
from foreact.training.members import import_members
from foreact.training.metrics import read_metrics
from foreact.training.run import Run

if TYPE_CHECKING:
    from foreact.cli.quickstart import Journal

__all__ = ["Phases", "Resolved", "resolve", "stage_words", "timed"]

NAME = "quickstart"


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """Every config of a quickstart. `run_words`, `measure`: settings that make a recipe and an evaluation into these."""

    recipe: str
    plan: Quickstart
    run: Run
    collect: CollectConfig
    run_words: tuple[str, ...]
    measure: tuple[str, ...]
    command: str


def resolve(what: Mapping[str, Any]) -> Resolved:
    """From the JSON data of the journal; raises `ConfigError` for whatever would fail ten minutes later."""
    import_members()
    plan, settings = decode(Quickstart, what["plan"], where="quickstart"), what["settings"]
    recipe = catalogue.recipe(what["recipe"])
    run = timed(apply_overrides(recipe.run(plan.size), settings["run"]), plan.train_seconds)
    image = run.windows.image_size or (64, 64)
    collected = apply_overrides(CollectConfig(tasks=tuple(task_name(task) for task in plan.tasks), episodes=plan.demonstrations,
                                              size=max(image)), _below("collect.", settings["collect"]))
    measure = (f"seeds_per_task={plan.episodes}", f"environment.horizon={plan.horizon}", *_below("eval.", settings["eval"]))
    conditions = json.dumps(plan.conditions)
    apply_overrides(EvaluationConfig(tasks=collected.tasks), [*measure, f"conditions={conditions}"])
    return Resolved(recipe=what["recipe"], plan=plan, run=run, collect=collected, measure=measure, command=what["command"],
                    run_words=(*settings["run"], *stage_words(run)))


class Phases:
    """Runs what is not done yet and says the result in five lines."""

    def __init__(self, out: Path, resolved: Resolved, journal: Journal) -> None:
        self._out, self._resolved, self._plan, self._journal = out, resolved, resolved.plan, journal
        self._demos, self._model, self._baseline = out / "demonstrations", out / "model", out / "baseline"

    def run(self) -> Result:
        with terminate_as_interrupt():
            with self._journal.phase("collect") as due:
                if due and not self._demos.exists():
                    collect(self._resolved.collect, self._demos, workers=self._plan.workers)
            with self._journal.phase("train") as due:
                if due:
                    self._train()
            with self._journal.phase("evaluate") as due:
                if due:
                    self._evaluate()
            with self._journal.phase("report"):
                say("writing the report")
                inputs = gather(self._model, baseline=self._baseline, evaluations=(NAME,), title="quickstart",
                                phases=self._journal.seconds, commands=(self._resolved.command,))
                report = write_report(inputs, self._out / "report.html")
        return self._summary(report)

    # --- training -----------------------------------------------------------------------------------------------------

    def _train(self) -> None:
        """Both side by side. The baseline begins once the model has its substrate, and takes that over."""
        words = [self._resolved.recipe, "--data", str(self._demos), "--size", self._plan.size, "--resume", *self._resolved.run_words]
        with Children() as children:
            with meter("fitting the substrate", 1):
                children.start("training the model", ["train", *words, "--out", str(self._model)], self._out / "model.log")
                children.wait(lambda: None, until=lambda: newest(self._model / "checkpoints") is not None)
            begin = ["train", *words, "--out", str(self._baseline), "--baseline", "--substrate-of", str(self._model)]
            children.start("training the baseline", begin, self._out / "baseline.log")
            with meter("training", self._plan.train_seconds) as bar:
                children.wait(lambda: bar.at(*_trained(self._model, self._baseline)))

    # --- evaluation ---------------------------------------------------------------------------------------------------

    def _evaluate(self) -> None:
        plan, total = self._plan, 2 * len(self._plan.tasks) * len(self._plan.conditions) * self._plan.episodes
        films = [f"videos.successes={plan.films}", f"videos.failures={plan.films}"]
        with Children() as children, meter("evaluating", total) as bar:
            for run in (self._model, self._baseline):
                words = [
                    "eval",
                    str(run),
                    "--name",
                    NAME,
                    "--tasks",
                    *self._resolved.collect.tasks,
                    "--conditions",
                    *plan.conditions,
                    *self._resolved.measure,
                ]
                children.start(f"evaluating the {run.name}", [*words, *films], self._out / f"{run.name}.log")
            ledgers = [run / "evaluations" / NAME / EPISODES for run in (self._model, self._baseline)]
            children.wait(lambda: bar.at(sum(_lines(path) for path in ledgers)))

    # --- summary ------------------------------------------------------------------------------------------------------

    def _summary(self, report: Path) -> Result:
        model, baseline = (Evaluation.load(run / "evaluations" / NAME) for run in (self._model, self._baseline))
        lines, data = [], {}
        for condition in self._plan.conditions:
            ours, theirs = ({(r.task, r.seed): r.success for r in e.episodes if r.condition == condition} for e in (model, baseline))
            pairs = PairedRates.of([(ours[key], theirs[key]) for key in sorted(ours)])
            rates = {"model": Rate.of(list(ours.values())), "baseline": Rate.of(list(theirs.values()))}
            data[condition] = {**{name: _rate(rate) for name, rate in rates.items()}, "difference": pairs.difference,
                               "difference_interval": list(pairs.interval()), "p_value": pairs.p_value}
            lines.append(f"{condition.capitalize():<9}{_said(rates['model'])}; without the imagined future {_said(rates['baseline'])}; "
                         f"difference {100 * pairs.difference:+.0f} points, p = {pairs.p_value:.2g}")
        tasks = {task: _rate(Rate.of([r.success for r in model.episodes if r.task == task and r.condition == self._plan.conditions[0]]))
                 for task in self._resolved.collect.tasks}
        lines.append("By task  " + ", ".join(f"{task} {rate['successes']}/{rate['n']}" for task, rate in tasks.items()))
        seconds = self._journal.seconds
        latency = model.summary()["latency_ms"]["alone"] or {}
        lines.append(f"Took     {sum(seconds.values()) / 60:.1f} minutes: " + ", ".join(f"{name} {s:.0f} s" for name, s in seconds.items())
                     + (f"; one plan {latency['p50']:.0f} ms (p95 {latency['p95']:.0f})" if latency else ""))
        lines.append(f"Report   {report}")
        return Result(data={"report": str(report), "recipe": self._resolved.recipe, "conditions": data, "tasks": tasks, "seconds": seconds,
                            "latency_ms": latency, "fingerprint": model.protocol.fingerprint}, text="\n".join(lines))


def timed(run: Run, seconds: float) -> Run:
    """The run with its stages cut to `seconds` of wall time in all, in the proportions of their steps."""
    stages = run.training.stages
    weights = [stage.steps or stage.seconds or 1.0 for stage in stages]
    cut = tuple(dataclasses.replace(stage, steps=None, seconds=round(seconds * weight / sum(weights), 1))
                for stage, weight in zip(stages, weights, strict=True))
    return dataclasses.replace(run, training=dataclasses.replace(run.training, stages=cut, threads=1))


def stage_words(run: Run) -> list[str]:
    """The settings that make a recipe's run into this one."""
    words = [word for i, stage in enumerate(run.training.stages)
             for word in (f"training.stages.{i}.seconds={stage.seconds}", f"training.stages.{i}.steps=null")]
    return [*words, "training.threads=1"]


def _below(prefix: str, words: Sequence[str]) -> list[str]:
    return [word.removeprefix(prefix) for word in words]


def _trained(*runs: Path) -> tuple[float, str]:
    """Seconds trained by the slower one, and the last losses of each."""
    seconds, notes = [], []
    for run in runs:
        lines = [line for line in read_metrics(run / "metrics.jsonl") if line["kind"] == "train"]
        seconds.append(lines[-1]["seconds"] if lines else 0.0)
        if lines:
            losses = " ".join(f"{name} {value:.3f}" for name, value in lines[-1]["losses"].items())
            notes.append(f"{run.name}: step {lines[-1]['step']}, {losses}")
    return min(seconds), "; ".join(notes)


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _rate(rate: Rate) -> dict[str, Any]:
    return {"successes": rate.successes, "n": rate.n, "rate": rate.value, "interval": list(rate.interval)}


def _said(rate: Rate) -> str:
    low, high = rate.interval
    return f"{rate.successes} of {rate.n} ({100 * low:.0f} to {100 * high:.0f} %)"
