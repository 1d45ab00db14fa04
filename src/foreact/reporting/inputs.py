"""What a report shows, as plain data: the caller fills it in, `write_report` draws it.

Everything but the model's name may be absent; the page then says what is absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8

from foreact.contract.errors import SpecError
from foreact.selection.monitor import Alarm, Score

__all__ = ["Axis", "Call", "Choice", "Cost", "Curve", "Episode", "Policy", "Protocol", "Recording", "ReportInputs", "Return"]


@dataclass(frozen=True, kw_only=True)
class Episode:
    """How one evaluation episode ended; episodes of two policies are paired by (task, condition, seed).

    rollbacks: how often it went back; undone: how many of its steps that took back.
    """

    task: str
    condition: str
    seed: int
    success: bool
    steps: int
    rollbacks: int = 0
    undone: int = 0

    @property
    def key(self) -> tuple[str, str, int]:
        return self.task, self.condition, self.seed


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One loss over training: `step`, `seconds` of wall time and `loss` have one length."""

    stream: str
    split: Literal["train", "validation"]
    step: Float[np.ndarray, " point"]
    seconds: Float[np.ndarray, " point"]
    loss: Float[np.ndarray, " point"]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a policy costs to run; None where it was not measured.

    call_seconds: wall time of model calls for one robot alone. beside_seconds: by name, what else each call needs.
    evaluations_per_step, evaluations_per_call: network evaluations, mean.
    """

    call_seconds: Float[np.ndarray, " call"] | None = None
    beside_seconds: Mapping[str, Float[np.ndarray, " _"]] = field(default_factory=dict)
    evaluations_per_step: float | None = None
    evaluations_per_call: float | None = None
    parameters: int | None = None
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One policy that was trained and, perhaps, evaluated."""

    name: str
    episodes: tuple[Episode, ...] = ()
    curves: tuple[Curve, ...] = ()
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One model call at control step `step`: the chunk that it planned, for steps step .. step + horizon - 1, and the
    images that it imagined for the steps step + offset. value: of the plan, or None where the model gives none."""

    step: int
    actions: Float[np.ndarray, "horizon action"]
    offsets: tuple[int, ...] = ()
    imagined: Mapping[str, UInt8[np.ndarray, "offset _ _ 3"]] = field(default_factory=dict)
    value: float | None = None


@dataclass(frozen=True, kw_only=True)
class Return:
    """A rollback: at `step` the value of call number `call` had fallen too far below the peak, which was at `peak_step`.

    restored: the world was put back to the peak, so steps peak_step .. step - 1 were undone; else the present was planned anew.
    seen: per camera, what was seen last before the restoration.
    """

    step: int
    call: int
    value: float
    peak: float
    peak_step: int
    restored: bool
    seen: Mapping[str, UInt8[np.ndarray, "_ _ 3"]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Before `step` one of several candidates was taken: number `chosen`, counted from 0, where 0 is the plan without selection."""

    step: int
    chosen: int
    scores: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One episode to watch. `frames[camera][t]` is what was seen at control step t; `executed[t]` what was then done.

    scores, alarms: of a monitor, where one watched (see `selection/monitor.py`); asked: it ended the episode to ask for help.
    Steps are those spent: what a rollback took back is among them, and frames[step] of a restoration is the restored instant.
    """

    policy: str
    task: str
    condition: str
    seed: int
    success: bool
    instruction: str
    rate_hz: float
    action_names: tuple[str, ...]
    frames: Mapping[str, UInt8[np.ndarray, "time _ _ 3"]]
    executed: Float[np.ndarray, "step action"]
    calls: tuple[Call, ...]
    returns: tuple[Return, ...] = ()
    choices: tuple[Choice, ...] = ()
    scores: tuple[Score, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    asked: bool = False

    def __post_init__(self) -> None:
        lengths = {name: len(images) for name, images in self.frames.items()}
        if not lengths or len(set(lengths.values())) != 1 or not min(lengths.values()):
            raise SpecError("a recording needs cameras with equally many frames", where="recording.frames", found=lengths)
        if self.executed.ndim != 2 or self.executed.shape[1] != len(self.action_names):
            raise SpecError("one name per action entry is needed", where="recording.executed", found=self.executed.shape,
                            accepted=f"(steps, {len(self.action_names)}): {', '.join(self.action_names)}")
        for call in self.calls:
            for camera, images in call.imagined.items():
                if len(images) != len(call.offsets) or camera not in self.frames:
                    raise SpecError("imagined frames do not match their offsets or cameras",
                                    where=f"recording.calls[step={call.step}]", found=f"{len(images)} frames of {camera}",
                                    accepted=f"{len(call.offsets)} frames of {', '.join(self.frames)}")

    @property
    def length(self) -> int:
        return len(next(iter(self.frames.values())))

    @property
    def imagines(self) -> bool:
        return any(call.imagined for call in self.calls)

    @property
    def undone(self) -> Bool[np.ndarray, " time"]:
        """Which frames show what was taken back later: between a peak and the restoration, neither of them included."""
        found = np.zeros(self.length, bool)
        for back in self.returns:
            found[back.peak_step + 1:back.step] |= back.restored
        return found

    def stands(self, call: int, target: int) -> bool:
        """Whether what call number `call` imagined for step `target` is of the path that was then taken: not where the plan was
        discarded, or the world restored in between."""
        return not any(call == back.call or (back.restored and call < back.call and target >= back.step) for back in self.returns)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One of the four choices that make the model: "Substrate", the member's class, the survey's word for it."""

    name: str
    member: str
    kind: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Under what rules the success was measured; `name` is that of the evaluation."""

    fingerprint: str
    fields: Mapping[str, object]
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """Everything on the page. `model` is the policy of the report; `baseline` is the same model without a future."""

    title: str
    model: Policy
    baseline: Policy | None = None
    recordings: tuple[Recording, ...] = ()
    axes: tuple[Axis, ...] = ()
    card: Mapping[str, str] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)
    protocols: tuple[Protocol, ...] = ()
    machine: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    written: str = ""
