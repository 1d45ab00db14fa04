"""`foreact eval RUN --tasks ...`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.cli.parsing import Parser
from foreact.cli.result import Result
from foreact.contract.errors import ConfigError, ForeactError

if TYPE_CHECKING:
    from foreact.evaluation.evaluate import EvaluationConfig
    from foreact.evaluation.result import Result as Evaluation

__all__ = ["KEYS", "SETTINGS", "TEXT", "add_options", "main", "with_settings"]

TEXT = """Runs a policy on seeds that training never saw and counts successes. Every result carries n, its seeds, a Wilson interval
and a fingerprint of the protocol; results under different protocols are not compared. Episodes are written as they end:
interrupted, the same command goes on. How the work is spread (workers, envs, Ray) changes no outcome.

examples
  foreact eval runs/joint-tiny
  foreact eval runs/joint-tiny --tasks drawer-open --conditions clean random seeds_per_task=50 workers=2
  foreact eval runs/joint-tiny --name slow model.coupling.steps=10
  foreact eval runs/joint-tiny --against runs/joint-tiny-baseline/evaluations/clean-1f2e3d4c
  foreact eval runs/mv-wam-tiny rollback.delta=0.2 --against runs/mv-wam-tiny/evaluations/clean-1f2e3d4c --across rollback
  foreact eval expert --tasks drawer-open          the scripted expert; also: still, random
  foreact eval expert --tasks transfer-cube        another suite, ALOHA, which the task's name tells

settings (each as key=value or --key value)
  seeds_per_task=25      seed_start=1000000   out_of_bounds=clip|error   stop_after_success=true   lanes=4
  workers=1  envs=4      on=local|ray         vector=sync|async          videos.successes=0        videos.failures=0
  environment.horizon=500   environment.instructions=canonical|paraphrases
  consistency=off|latent|pixel|perceptual|flow   record how far imagined frames are from those that come; changes no action, and
                         foreact diagnose consistency reads it. perceptual: consistency_teacher=FOLDER of foreact teacher train
  freeze=SHARE           from that share of the horizon on the robot does not move: failures that are known to have stalled
  selector=Consensus|Weighted|HighestValue|Medoid|ActionConsensus|Exploring|RandomChoice|First   draw several candidates
                         for each plan and choose. selector.candidates=8   selector.until=1.0: share of the horizon with a choice. Also
                         --selector consensus|weighted|value|medoid|actions|exploring|random|first
  monitor=FILE           raise alarms where what is imagined and what comes drift apart, by a file of foreact monitor calibrate
  monitor_action=record|replan|stop   what an alarm does: nothing; a plan at once; end the episode to ask for help
  verifier=Stuck         verifier.every=4: a plan whose actions commanded motion while the state stayed as it was is given up
  disturb.step=40        disturb.kind=teleport|push|friction      disturb.size=0.1 (metres, or a factor of the friction)   any of them
                         changes the world secretly before that step, without a word to the policy
  clock=free|charged|wall  whether the world waits while a plan is made; charged: each costs clock_ms=MS of its time; wall: what it took
  precision=float32|bfloat16|int8   compile=off|default|graphs   how plans are computed; another protocol: --across precision compares
  foresight=own|expert|noise|zero what the action reads in place of the imagined future; expert: what the scripted expert would bring about
  environment.distractors=[]  tasks whose things may stand in the scene under semantic (default: those of the tasks evaluated together)
  environment.standing=2      how many of them stand       environment.variants=[]  the sizes and shapes of instance (default: all)
  rollback.delta=0.2     rollback.limit=3     rollback.buffer=16         rollback.restorable=true   any of them turns rollback on: when
                         the value of a plan falls by more than delta below its peak, the simulator goes back to the peak"""
SETTINGS = True
KEYS = ("seeds_per_task", "seed_start", "out_of_bounds", "stop_after_success", "lanes", "envs", "workers", "on", "vector", "foresight",
        "consistency", "consistency_teacher", "freeze", "selector", "verifier", "monitor", "monitor_action",
        "clock", "clock_ms", "precision", "compile")
_CONTROLS = ("expert", "random", "still")
_SELECTORS = {"consensus": "Consensus", "weighted": "Weighted", "value": "HighestValue", "medoid": "Medoid", "actions": "ActionConsensus",
              "exploring": "Exploring", "random": "RandomChoice", "first": "First"}
_OF_SHIFT = {"semantic": ("distractors", "standing"), "instance": ("variants",)}


def add_options(parser: Parser) -> None:
    parser.add_argument("policy", metavar="RUN", help="a run or checkpoint folder, or expert, random, still")
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help="tasks of one suite (default: those of the training dataset)")
    parser.add_argument("--conditions", nargs="+", default=["clean"], metavar="clean|random|semantic|instance",
                        help="(default: clean) semantic and instance are Meta-World's")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the result goes (default: RUN/evaluations/NAME)")
    parser.add_argument("--name", help="name of the evaluation (default: made of its conditions and rules)")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="a finished evaluation to compare with, paired by seed")
    parser.add_argument("--across", nargs="+", default=[], metavar="FIELD",
                        help="fields of the protocol in which the two may differ, such as rollback")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps (default: cpu)")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted evaluation (which happens anyway)")


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.contract.config import apply_overrides
    from foreact.evaluation.comparison import compare
    from foreact.evaluation.evaluate import evaluate
    from foreact.evaluation.result import Result as Evaluation

    of_model = [word for word in settings if word.startswith("model.")]
    policy, config = _policy(options, of_model)
    conditions = f"conditions={json.dumps(options.conditions)}"
    config = apply_overrides(config, [conditions, *_distractors(options, config),
                                      *_selecting(word for word in settings if word not in of_model)])
    other = None if options.against is None else Evaluation.load(options.against)
    out = options.out or _folder(options, config, of_model)
    result = evaluate(policy, config, out=out)
    data: dict[str, Any] = {"out": str(out), **result.summary()}
    text = _table(result)
    if other is not None:
        comparison = compare(result, other, across=options.across).summary()
        data["against"] = comparison
        low, high = comparison["interval"]
        text += (f"\nagainst {options.against}: {100 * comparison['difference']:+.0f} points ({100 * low:+.0f} to {100 * high:+.0f}), "
                 f"exact McNemar p = {comparison['p_value']:.2g}, {comparison['n']} pairs")
    return Result(data=data, text=f"{text}\nresult: {out / 'result.json'}")


def _selecting(settings: Iterable[str]) -> list[str]:
    """Settings with short names of selectors spelt out, and the choice of a selector before its own settings."""
    found = []
    for word in settings:
        key, _, value = word.removeprefix("--").partition("=")
        found.append(f"selector={_SELECTORS.get(value, value)}" if key == "selector" else word)
    return sorted(found, key=lambda word: not word.startswith("selector="))


def _policy(options: argparse.Namespace, of_model: list[str]) -> tuple[Any, EvaluationConfig]:
    """The policy, and an evaluation whose environment shows what the policy was trained on."""
    from foreact.envs.suites import suite_of
    from foreact.evaluation.evaluate import EvaluationConfig

    if options.policy in _CONTROLS and not Path(options.policy).exists():
        if not options.tasks:
            raise ConfigError("which tasks?", where="--tasks", next_step=f"foreact eval {options.policy} --tasks drawer-open")
        suite, tasks = suite_of(options.tasks)
        return _control(options.policy), EvaluationConfig(environment=suite.Config(task=tasks[0]), tasks=tasks)
    from foreact.training.checkpoint import load_model

    model = with_settings(load_model(options.policy, device=options.device), of_model)
    suite, tasks = suite_of(options.tasks or _trained_tasks(options.policy))
    cameras = model.observation.cameras
    environment = suite.Config(task=tasks[0], cameras=tuple(camera.name for camera in cameras), size=cameras[0].height)
    return model, EvaluationConfig(environment=environment, tasks=tasks)


def _distractors(options: argparse.Namespace, config: EvaluationConfig) -> list[str]:
    """With several tasks under Semantic, their things stand in one another's scenes, so that only the instruction tells which is meant;
    those that are too large to stand beside another do not."""
    from foreact.envs.things import THINGS

    together = [task for task in config.tasks if task in THINGS]
    wanted = "semantic" in options.conditions and len(config.tasks) > 1 and together
    return [f"environment.distractors={json.dumps(together)}"] if wanted else []


def _control(name: str) -> Any:
    from foreact.evaluation.policies import HoldStill, RandomActions, ScriptedExpert

    return {"expert": ScriptedExpert, "random": RandomActions, "still": HoldStill}[name].Config()


def with_settings(model: Any, settings: list[str]) -> Any:
    """The same weights under another config, as with `model.coupling.steps=8`."""
    if not settings:
        return model
    from foreact.contract.config import apply_overrides
    from foreact.nets.by_columns import lay_by_columns

    changed = apply_overrides(model.config, [word.removeprefix("--").removeprefix("model.") for word in settings])
    built = changed.build(model.observation, model.action)
    try:
        built.load_state_dict(model.state_dict())
    except RuntimeError as error:
        raise ConfigError("the trained weights do not fit this setting", where="model", found=", ".join(settings),
                          accepted="settings that change no weight, such as model.coupling.steps, model.coupling.solver, "
                                   "model.regime.replan", next_step="train a model with this setting") from error
    built.text.load()
    built = built.to(model.device).eval().requires_grad_(False)
    lay_by_columns(built)
    return built


def _trained_tasks(policy: str) -> tuple[str, ...]:
    """The tasks of the dataset that the run was trained on, where it says them."""
    from foreact.data.lerobot import Dataset
    from foreact.training.checkpoint import find

    path = find(policy).progress()["dataset"]["path"]
    try:
        specs = Dataset.open(path).specs
        return tuple(specs.provenance["collect"]["tasks"]) if specs else ()
    except (ForeactError, KeyError) as error:
        raise ConfigError("which tasks? The training dataset does not say", where="--tasks", found=path,
                          next_step=f"foreact eval {policy} --tasks drawer-open") from error


def _folder(options: argparse.Namespace, config: EvaluationConfig, of_model: list[str]) -> Path:
    """RUN/evaluations/NAME; the default name changes with the rules, not with seeds or with how the work is spread."""
    import hashlib

    from foreact.contract.config import encode

    rules = {key: value for key, value in encode(config).items()
             if key in ("environment", "tasks", "conditions", "out_of_bounds", "stop_after_success", "lanes")
             or (key in ("rollback", "selector", "verifier", "freeze", "disturb") and value is not None)
             or (key == "consistency" and value != "off")
             or (key in ("clock", "clock_ms") and config.clock != "free") or key in config.execution.rules}
    if config.guard is not None:
        rules["monitor"] = [config.guard.calibration.fingerprint, config.guard.action]
    for condition, names in _OF_SHIFT.items():  # what a condition that is not evaluated would do is no rule
        for name in names if condition not in config.conditions else ():
            rules["environment"].pop(name, None)
    if rules["environment"].get("embodiment") == "own":
        del rules["environment"]["embodiment"]
    words = json.dumps([rules, of_model], sort_keys=True)
    name = options.name or f"{'-'.join(config.conditions)}-{hashlib.sha256(words.encode()).hexdigest()[:8]}"
    if options.policy in _CONTROLS:
        return Path("runs") / "controls" / f"{options.policy}-{name}"
    run = Path(options.policy)
    return (run.parent.parent if run.parent.name == "checkpoints" else run) / "evaluations" / name


def _table(result: Evaluation) -> str:
    summary, lines = result.summary(), []
    for condition, of_condition in summary["conditions"].items():
        rows = {**of_condition["tasks"], "all": of_condition}
        lines.append(condition)
        for task, rate in rows.items():
            low, high = rate["interval"]
            lines.append(f"  {task:<32}{rate['successes']:>4} of {rate['n']:<4}{100 * rate['rate']:5.0f} %   "
                         f"95 %: {100 * low:.0f} to {100 * high:.0f}")
    if "rollbacks" in summary:
        back = summary["rollbacks"]
        lines.append(f"rolled back in {back['episodes']} of {back['of']} episodes, {back['mean']:.2g} times on average; "
                     f"{100 * back['undone_share']:.0f} % of the steps were undone, and count")
    if summary.get("selection", {}).get("choices"):
        of = summary["selection"]
        lines.append(f"{of['choices']} of {of['plans']} plans chosen among candidates, {100 * of['not_the_first']:.0f} % of them not the "
                     f"first; choosing took {of['overhead_ms']['p50']:.2g} ms")
    if "monitor" in summary:
        of = summary["monitor"]
        told = ", ".join(f"{of[name]['alarms']} of {of[name]['n']} that {title}" for name, title in (
            ("solved", "succeeded"), ("not_solved", "did not")) if of[name] is not None)
        lines.append(f"alarms in {told}; {of['mismatch']} of mismatch, {of['collapse']} of collapse, {of['asked']} asked for help")
    if "clock" in summary:
        of = summary["clock"]
        stale = of["staleness_steps"]
        lines.append((f"acted on observations p50 {stale['p50']:.0f}, p95 {stale['p95']:.0f} steps old; " if stale else "")
                     + f"held still in {100 * of['idle_share']:.0f} % of the steps")
    if "consistency" in summary:
        of = summary["consistency"]
        told = ", ".join(f"{of[name]:.3f} {title}" for name, title in (("solved", "where it succeeded"), ("not_solved", "where it failed"))
                         if of[name] is not None)
        lines.append(f"{of['frames']} imagined frames came due, mean consistency {of['mean']:.3f}: {told}")
    alone = summary["latency_ms"]["alone"]
    if alone:
        lines.append(f"one plan for one robot: p50 {alone['p50']:.1f} ms, p95 {alone['p95']:.1f} ms")
    return "\n".join([*lines, f"protocol {summary['fingerprint'][:16]}"])
