"""Closed-loop evaluation: a policy, tasks, conditions and seeds in; a result that can be trusted and continued out.

Files in `out`: `evaluation.json` (what is being measured), `episodes.jsonl` (one line for each finished episode, appended
at once), `recordings/*.npz` (see `recording.py`), `result.json` at the end. A run that was killed or interrupted continues
with the episodes that are missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

from foreact.acting.consistency import Distance, Witness
from foreact.acting.execution import Compile, Execution, Precision
from foreact.acting.verifiers import Verifier
from foreact.contract.config import Config
from foreact.contract.errors import ConfigError, DatasetError
from foreact.contract.progress import meter
from foreact.contract.specs import ActionSpec, ObservationSpec, require_equal
from foreact.contract.storage import append_bytes, atomic_write_json, storage_errors
from foreact.envs.base import EVALUATION_SEEDS, Condition
from foreact.envs.disturbance import Disturbance, require_disturbable
from foreact.envs.metaworld import MetaWorld
from foreact.evaluation import clock as clocks
from foreact.evaluation.clock import Clock
from foreact.evaluation.controller import OutOfBounds, Policy
from foreact.evaluation.filming import Videos, recording_of, worth_filming
from foreact.evaluation.foresight import Foresight, require_read
from foreact.evaluation.freezing import freezing_rule, freezing_step
from foreact.evaluation.guard import Guard, MonitorAction
from foreact.evaluation.protocol import Protocol, require_same
from foreact.evaluation.result import EPISODES, RECORDINGS, Result, line_of, ordered, read_episodes
from foreact.evaluation.rollout import EpisodeRecord
from foreact.evaluation.selecting import require_selectable
from foreact.evaluation.slots import Episode, SlotRules
from foreact.evaluation.sources import ControlSource, ModelSource, Source, source_of
from foreact.evaluation.workers import in_processes, in_this_process, over_ray
from foreact.model import WorldActionModel
from foreact.selection.calibration_file import read_calibration
from foreact.selection.rollback import Rollback
from foreact.selection.selectors import Selector

__all__ = ["EvaluationConfig", "evaluate"]

_OF_CONDITION = ("condition", "random")
"""Fields of an environment's protocol that say what its condition is; all others are the same under every condition."""
_SHIFT = "shift"
"""One more such field, which only conditions that change the scene have."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is measured, and how the work is spread, which changes nothing in what is found.

    environment: cameras, image size, horizon, instructions; its task and condition are filled in from the lists here.
    tasks: empty for the environment's own. Every task is run under every condition from `seeds_per_task` seeds, from
        `seed_start` on; the same seeds for all, so that results are paired.
    out_of_bounds: what becomes of actions outside the spec: "clip", counted in every record, or "error".
    stop_after_success: end an episode at its first success; otherwise run to the horizon and record whether it held.
    lanes: the batch size that defines a plan (see `controller.py`); 0 plans in batches as they come.
    workers: processes, or Ray actors with on="ray"; envs: environments in each, whose plans are batched. vector: "async"
        gives each of them a process of its own, for one worker with a fast device and many cores.
    videos: how many episodes are filmed.
    foresight: what the action reads in place of the future that the model imagines (see `foresight.py`); by default that one.
    consistency: compare imagined frames with those that come (see `consistency.py`), in this distance; changes no action.
        consistency_teacher: the folder in whose features, where it is perceptual.
    freeze: from that share of the horizon on, the robot does not move (see `freezing.py`); None, the default, never does that.
    monitor: the calibration by which episodes are watched (see `guard.py`), in its distance; monitor_action: what an alarm does.
    disturb: change the world secretly while episodes run (see `envs/disturbance.py`); None, the default, never does.
    clock: whether the world waits while a plan is made (see `clock.py`); clock_ms: what each costs where that is charged.
    precision, compile: how plans are computed (see `acting/execution.py`).
    rollback: go back when the value of a plan falls (see `selection/rollback.py`); None, the default, never does.
    selector: draw several candidates for each plan and choose among them (see `selection/selectors.py`); None takes the first.
    verifier: asked while a plan is carried out whether it still holds (see `acting/verifiers.py`); None, the default, asks nobody.
    """

    environment: Config = field(default_factory=lambda: MetaWorld.Config(task="drawer-open"))
    tasks: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ("clean",)
    seeds_per_task: int = 25
    seed_start: int = EVALUATION_SEEDS.start
    out_of_bounds: OutOfBounds = "clip"
    stop_after_success: bool = True
    lanes: int = 4
    envs: int = 4
    workers: int = 1
    on: Literal["local", "ray"] = "local"
    vector: Literal["sync", "async"] = "sync"
    videos: Videos = field(default_factory=Videos)
    rollback: Rollback | None = None
    foresight: Foresight = "own"
    consistency: Distance = "off"
    consistency_teacher: str | None = None
    freeze: float | None = None
    selector: Selector.Config | None = None
    verifier: Verifier.Config | None = None
    monitor: str | None = None
    monitor_action: MonitorAction = "record"
    disturb: Disturbance | None = None
    clock: clocks.Mode = "free"
    clock_ms: float = 0.0
    precision: Precision = "float32"
    compile: Compile = "off"

    def __post_init__(self) -> None:
        if self.timing.mode != "free" and self.rollback is not None:
            raise ConfigError("a world that does not wait does not go back either", where="evaluation.rollback",
                              found=f"clock = {self.clock}", next_step="clock=free, or rollback=null")
        for name, least in (("seeds_per_task", 1), ("seed_start", 0), ("envs", 1), ("workers", 1), ("lanes", 0)):
            if getattr(self, name) < least:
                raise ConfigError("a number is too small", where=f"evaluation.{name}", found=getattr(self, name),
                                  accepted=f"{least} or more")
        if self.freeze is not None and not (0 < self.freeze < 1 and freezing_step(self.freeze, self.environment.horizon)
                                            < self.environment.horizon):
            raise ConfigError("a robot stops moving after its first step and before its last", where="evaluation.freeze", found=self.freeze,
                              accepted="a share of the horizon between 0 and 1", next_step="freeze=0.5")
        if self.freeze is not None and self.rollback is not None:
            raise ConfigError("a robot that does not move cannot be helped by going back", where="evaluation.freeze", found=self.freeze,
                              next_step="freeze=null or rollback=null")
        if not self.conditions:
            raise ConfigError("at least one condition is needed", where="evaluation.conditions", accepted=", ".join(get_args(Condition)))
        if self.disturb is not None:
            require_disturbable(self.environment)
            if self.rollback is not None:
                raise ConfigError("going back would undo the secret change", where="evaluation.disturb", found=self.disturb,
                                  accepted="one of rollback and disturb", next_step="rollback=null or disturb=null")
        if self.execution.fixed_shapes and not self.lanes:
            raise ConfigError("what is compiled takes batches of one size", where="evaluation.lanes", found=self.lanes,
                              accepted="1 or more", next_step="lanes=4, or compile=off")
        if self.vector == "async" and (self.workers > 1 or self.on == "ray"):
            raise ConfigError("async environments belong to one local worker", where="evaluation.vector",
                              found=f"workers = {self.workers}, on = {self.on}", next_step="choose workers=1 or vector=sync")

    @property
    def timing(self) -> Clock:
        return Clock(mode=self.clock, ms=self.clock_ms)

    @property
    def execution(self) -> Execution:
        return Execution(precision=self.precision, compile=self.compile)

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """In the order in which they begin: by condition and task, so that environments are rarely rebuilt."""
        seeds = range(self.seed_start, self.seed_start + self.seeds_per_task)
        return tuple(Episode(condition=c, task=t, seed=s) for c in self.conditions for t in self._tasks for s in seeds)

    @property
    def _tasks(self) -> tuple[str, ...]:
        return self.tasks or (self.environment.task,)

    @property
    def _freeze_step(self) -> int | None:
        return None if self.freeze is None else freezing_step(self.freeze, self.environment.horizon)

    def rules(self, policy: Policy.Config | None, *, footage: bool = False) -> SlotRules:
        return SlotRules(environment=self.environment, policy=policy, out_of_bounds=self.out_of_bounds,
                         stop_after_success=self.stop_after_success, footage=footage, rollback=self.rollback, foresight=self.foresight,
                         consistency=self.consistency, consistency_teacher=self.consistency_teacher, freeze=self._freeze_step,
                         selector=self.selector, guard=self.guard, verifier=self.verifier, disturb=self.disturb, clock=self.timing,
                         execution=self.execution)

    @cached_property
    def guard(self) -> Guard | None:
        """What watches the episodes; its file is read once."""
        return None if self.monitor is None else Guard(calibration=read_calibration(self.monitor), action=self.monitor_action)

    def protocol(self) -> tuple[Protocol, tuple[ObservationSpec, ActionSpec]]:
        """The protocol of this evaluation and the specs of its environments. Builds an environment for each condition."""
        found: dict[str, dict[str, Any]] = {}
        for condition in self.conditions:
            first = Episode(condition=condition, task=self._tasks[0], seed=self.seed_start)
            environment = self.rules(None).environment_for(first).build()
            found[condition], specs = environment.protocol(), environment.specs
            environment.close()
        shared = {name: value for name, value in found[self.conditions[0]].items() if name not in {"task", _SHIFT, *_OF_CONDITION}}
        of_condition = {c: {**{name: p.get(name) for name in _OF_CONDITION}, **({_SHIFT: p[_SHIFT]} if _SHIFT in p else {})}
                        for c, p in found.items()}
        shared["versions"] = {**shared.get("versions", {}), "foreact": _version()}
        still = freezing_rule(specs[1])
        return Protocol.of({
            **shared, "tasks": self._tasks, "condition": of_condition, "observation_spec": specs[0], "action_spec": specs[1],
            "seeds": {"start": self.seed_start, "per_task": self.seeds_per_task}, "out_of_bounds": self.out_of_bounds,
            "stop_after_success": self.stop_after_success,
            # without them, results keep their fingerprint
            **({} if self.rollback is None else {"rollback": self.rollback}),
            **({} if self.selector is None else {"selector": self.selector}),
            **({} if self.verifier is None else {"verifier": self.verifier}),
            **({} if self.freeze is None else {"freeze": {"share": self.freeze, "step": self._freeze_step, "then": still}}),
            **({} if self.clock == "free" else {"clock": {"mode": self.clock, "ms": self.clock_ms, "holding": still}}),
            **({} if self.disturb is None else {"disturb": self.disturb}),
            **({} if self.guard is None else {
                "monitor": {"calibration": self.guard.calibration.fingerprint, "action": self.guard.action}}),
            **({} if self.foresight == "own" else {"foresight": self.foresight}),
            **self.execution.rules}), specs


def evaluate(policy: WorldActionModel | Policy.Config, config: EvaluationConfig, *, out: Path | str | None = None) -> Result:
    """Measure `policy`; with `out`, keep every episode there and continue what was begun.

    Raises `SpecError` where the model was made for other cameras or actions than the environment offers,
    `ProtocolMismatchError` or `ConfigError` where `out` holds another evaluation.
    """
    source = source_of(policy)
    config = _watching(policy, source, config)
    protocol, specs = config.protocol()
    if isinstance(source, ModelSource):
        for name, ours, theirs in (("observation", source.observation, specs[0]), ("action", source.action, specs[1])):
            require_equal(ours, theirs, where=f"model.{name} against evaluation.environment",
                          next_step="evaluate with the cameras, image size and suite that the model was trained on")
        if config.foresight != "own":
            require_read(policy, config.foresight)
        if config.consistency != "off":
            Witness(policy, config.consistency, config.consistency_teacher)  # refuses before anything runs
        if config.selector is not None:
            require_selectable(policy, config.selector)
    else:
        _require_fit_for_a_control(config, source)
    if config.videos != Videos() and out is None:
        raise ConfigError("filming needs a folder", where="evaluation.videos", found=config.videos, next_step="give out=")
    ledger = _Ledger(None if out is None else Path(out), source, protocol, config)
    wanted = set(config.episodes)
    records = {r.episode: r for r in ledger.read() if r.episode in wanted}
    missing = [episode for episode in config.episodes if episode not in records]
    with meter("evaluating", len(wanted)) as progress:
        progress.at(len(records))
        for record in _run(policy, source, config, missing):
            ledger.add(record)
            records[record.episode] = record
            progress.advance(1, f"{sum(r.success for r in records.values())}/{len(records)} solved")
    result = Result(policy=source.identity, protocol=protocol, episodes=ordered(records.values()))
    if out is not None:
        _film(policy, source, config, result, specs, Path(out) / RECORDINGS)
        result.save(out)
    return result


def _require_fit_for_a_control(config: EvaluationConfig, source: ControlSource) -> None:
    """Raise `ConfigError` for what only a model can do."""
    if config.verifier is not None:
        raise ConfigError("a control has no plans", where="evaluation.verifier", found=type(config.verifier).owner.__name__,
                          next_step="verifier=null")
    if config.selector is not None:
        raise ConfigError("a control has no candidates", where="evaluation.selector", found=type(config.selector).owner.__name__,
                          next_step="selector=null")
    if config.consistency != "off":
        raise ConfigError("a control imagines nothing", where="evaluation.consistency", found=config.consistency,
                          next_step="consistency=off")
    if config.foresight != "own":
        raise ConfigError("a control imagines nothing", where="evaluation.foresight", found=config.foresight, next_step="foresight=own")
    if config.freeze is not None:
        raise ConfigError("only a model is frozen; a control that stands still is `still`", where="evaluation.freeze", found=config.freeze,
                          next_step="freeze=null")
    if config.clock != "free":
        raise ConfigError("a control makes no plans that could be charged", where="evaluation.clock", found=config.clock,
                          next_step="clock=free")
    if config.rollback is not None:
        raise ConfigError("a rollback is decided by the value of each plan, and a control makes no plans", where="evaluation.rollback",
                          found=source.identity["type"], accepted="a model whose plans have a value", next_step="set rollback=null")
    if config.execution != Execution():
        raise ConfigError("a control computes nothing", where="evaluation.precision", found=config.execution.rules,
                          next_step="precision=float32 compile=off")


def _run(policy: WorldActionModel | Policy.Config, source: Source, config: EvaluationConfig, missing: Sequence[Episode],
         ) -> Iterator[EpisodeRecord]:
    if not missing:
        return
    model, control = _parts(policy, source)
    rules = _foreseeing(config.rules(control), model)
    spread = {"envs": 1 if model is None else config.envs, "lanes": config.lanes}  # controls plan nothing
    if config.on == "ray":
        yield from over_ray(source, rules, missing, workers=config.workers, **spread)
    elif config.workers > 1:
        yield from in_processes(source, rules, missing, workers=config.workers, **spread)
    else:
        done = in_this_process(model, rules, missing, own_processes=config.vector == "async", **spread)
        yield from (finished.record for finished in done)


def _watching(policy: WorldActionModel | Policy.Config, source: Source, config: EvaluationConfig) -> EvaluationConfig:
    """With a monitor, what is measured is what it was calibrated on; raises `ConfigError` where that was something else."""
    guard = config.guard
    if guard is None:
        return config
    if not isinstance(source, ModelSource):
        raise ConfigError("a control imagines nothing", where="evaluation.monitor", found=config.monitor, next_step="monitor=null")
    distance = guard.calibration.distance if config.consistency == "off" else config.consistency
    guard.calibration.require_for(source.identity["sha256"], distance, where=f"evaluation.monitor: {config.monitor}")
    guard.require_for(policy)
    return replace(config, consistency=distance)


def _foreseeing(rules: SlotRules, model: WorldActionModel | None) -> SlotRules:
    """Seats look as far ahead as the model imagines, where it is to be shown what comes."""
    return replace(rules, foresee=model.config.coupling.future_offsets) if model is not None and rules.foresight == "expert" else rules


def _parts(policy: Any, source: Source) -> tuple[WorldActionModel | None, Policy.Config | None]:
    return (None, source.config) if isinstance(source, ControlSource) else (policy, None)


def _film(policy: Any, source: Source, config: EvaluationConfig, result: Result, specs: tuple[ObservationSpec, ActionSpec],
          folder: Path) -> None:
    chosen = {r.episode: r for r in worth_filming(result.episodes, config.videos)}
    chosen = {e: r for e, r in chosen.items() if not (folder / f"{e.condition}-{e.task}-{e.seed}.npz").exists()}
    if not chosen:
        return
    model, control = _parts(policy, source)
    offsets = () if model is None else model.config.coupling.future_offsets
    with meter("filming", len(chosen)) as progress:
        rules = _foreseeing(config.rules(control, footage=True), model)
        for finished in in_this_process(model, rules, list(chosen), envs=config.envs, lanes=config.lanes):
            recording_of(finished, chosen[finished.record.episode], specs=specs, policy=source.identity["type"], offsets=offsets,
                         ).save(folder)
            progress.advance()


class _Ledger:
    """The folder of one evaluation: says what is measured, and keeps each episode as soon as it is over."""

    def __init__(self, folder: Path | None, source: Source, protocol: Protocol, config: EvaluationConfig) -> None:
        self._folder = folder
        if folder is None:
            return
        head = {"policy": source.identity, "lanes": config.lanes, "consistency": config.consistency,
                "protocol": dict(protocol.fields), "fingerprint": protocol.fingerprint}
        path = folder / "evaluation.json"
        if path.exists():
            self._require_same(head, path)
        atomic_write_json(path, head)

    @staticmethod
    def _require_same(head: dict[str, Any], path: Path) -> None:
        try:
            before = json.loads(path.read_text())
            kept = {name: before[name] for name in ("policy", "lanes")} | {"consistency": before.get("consistency", "off")}
            protocol = Protocol(before["protocol"])
        except (json.JSONDecodeError, KeyError) as error:
            raise DatasetError("this does not say what was evaluated", where=str(path), found=str(error),
                               next_step="choose another folder") from error
        if kept != {name: head[name] for name in kept}:
            raise ConfigError("this folder holds the evaluation of another policy", where=str(path), found=kept,
                              accepted={name: head[name] for name in kept}, next_step="choose another folder, or delete this one")
        require_same(Protocol(head["protocol"]), protocol, across=("seeds",))  # more seeds later are welcome

    def read(self) -> list[EpisodeRecord]:
        """What is finished; half a line at the end, left by a kill, is removed."""
        if self._folder is None:
            return []
        path = self._folder / EPISODES
        records = read_episodes(path)
        if path.exists():
            whole = path.read_bytes().rfind(b"\n") + 1
            with storage_errors(path), open(path, "rb+") as file:
                file.truncate(whole)
        return records

    def add(self, record: EpisodeRecord) -> None:
        """Append one line, whole or not at all, and flush it to the disk."""
        if self._folder is not None:
            append_bytes(self._folder / EPISODES, line_of(record))


def _version() -> str:
    try:
        return version("foreact")
    except PackageNotFoundError:
        return "0+source"
