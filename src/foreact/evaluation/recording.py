"""What an episode looked like, beside what the model thought would happen: one compressed `.npz` file per episode.

An evaluation keeps them as `recordings/<condition>-<task>-<seed>.npz`; read them with `Recording.load(path)`. The arrays
in the file (no pickle, `np.load(path, allow_pickle=False)` reads them all), with T executed steps, C model calls, F
imagined frames per call, A action entries, S state entries and H steps per plan:

| array                | dtype, shape                | meaning                                                             |
| -------------------- | --------------------------- | ------------------------------------------------------------------- |
| `meta`               | text, ()                    | JSON of every field of `RecordingMeta`                              |
| `frames.<camera>`    | uint8 (T+1, 3, height, width) | frame t is what is seen before action t; the last one after it all |
| `state`              | float32 (T+1, S)            | proprioception at the same times, in the units of the spec          |
| `actions`            | float32 (T, A)              | executed, after the out-of-bounds rule, in the units of the spec    |
| `success`            | bool (T,)                   | whether the task counted as solved after step t                     |
| `call_steps`         | int64 (C,)                  | the step t before which each model call was made, rising            |
| `call_ms`            | float64 (C,)                | how long that call took                                             |
| `plans`              | float32 (C, H, A)           | whole chunks, before the out-of-bounds rule; row k is for step `call_steps[c] + k` |
| `offsets`            | int64 (F,)                  | imagined frame f of call c shows step `call_steps[c] + offsets[f]`   |
| `values`             | float64 (C,)                | the value of each plan, in the units of the return; (0,) where the model gives none |
| `undone.<camera>`    | uint8 (R, 3, height, width) | what was seen last before each of R restorations; absent where there were none |
| `imagined.<camera>`  | uint8 (C, F, 3, height, width) | decoded future; absent where the model has no future or no decoder |

Without a model (experts, controls) C = 0, F = 0, and `plans` is (0, 0, A). Frame alignment: imagined frame (c, f) stands
beside `frames[camera][min(call_steps[c] + offsets[f], T)]`; past T the episode was over and there is nothing to compare.

Steps are those spent, in the order in which they were carried out, so what a rollback took back is in the film. A rollback in
`meta.rollbacks` at step s with mode "restored": `frames[s]` is the restored instant, equal to `frames[peak_step]`, and steps
peak_step .. s - 1 were undone. The call that triggered and its answer share the step s; the plan of the former was discarded.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from foreact.contract.config import decode
from foreact.contract.errors import ConfigError, DatasetError
from foreact.contract.storage import atomic_write_bytes
from foreact.evaluation.recovery import RollbackTrace
from foreact.evaluation.selecting import Choice
from foreact.selection.monitor import Alarm, Score

__all__ = ["Recording", "RecordingMeta"]

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class RecordingMeta:
    """Which episode this is; `action_low`/`action_high` are the bounds of the action spec, for plots.

    scores, alarms: of a monitor, where one watched; asked: it ended the episode to ask for help.
    """

    task: str
    condition: str
    seed: int
    success: bool
    instruction: str
    rate_hz: float
    cameras: tuple[str, ...]
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    policy: str
    rollbacks: tuple[RollbackTrace, ...] = ()
    choices: tuple[Choice, ...] = ()
    scores: tuple[Score, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    asked: bool = False
    format: int = FORMAT

    @property
    def name(self) -> str:
        return f"{self.condition}-{self.task}-{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One recorded episode; shapes in the head of the file."""

    meta: RecordingMeta
    frames: Mapping[str, UInt8[np.ndarray, "times 3 height width"]]
    state: Float[np.ndarray, "times state"]
    actions: Float[np.ndarray, "steps action"]
    success: Bool[np.ndarray, " steps"]
    call_steps: Int[np.ndarray, " calls"]
    call_ms: Float[np.ndarray, " calls"]
    plans: Float[np.ndarray, "calls horizon action"]
    offsets: Int[np.ndarray, " future"]
    imagined: Mapping[str, UInt8[np.ndarray, "calls future 3 height width"]] = field(default_factory=dict)
    values: Float[np.ndarray, " _"] = field(default_factory=lambda: np.zeros(0))
    undone: Mapping[str, UInt8[np.ndarray, "restorations 3 height width"]] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        return len(self.actions)

    def save(self, folder: Path | str) -> Path:
        """Write `<folder>/<condition>-<task>-<seed>.npz`, whole or not at all."""
        arrays: dict[str, np.ndarray] = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {f"frames.{camera}": images for camera, images in self.frames.items()}
        arrays |= {f"imagined.{camera}": images for camera, images in self.imagined.items()} | {"values": self.values}
        arrays |= {f"undone.{camera}": images for camera, images in self.undone.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, meta=np.array(json.dumps(asdict(self.meta))), **arrays)
        path = Path(folder) / f"{self.meta.name}.npz"
        atomic_write_bytes(path, buffer.getvalue())
        return path

    @classmethod
    def load(cls, path: Path | str) -> Recording:
        """Read one recording; a file that is cut off or of another kind raises `DatasetError`."""
        try:
            with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            meta = decode(RecordingMeta, json.loads(str(arrays.pop("meta"))), where=str(path))
            return cls(meta=meta, frames=_below("frames.", arrays), imagined=_below("imagined.", arrays),
                       undone=_below("undone.", arrays), values=arrays.get("values", np.zeros(0)),  # older files have neither
                       **{name: arrays[name] for name in _ARRAYS})
        except (zipfile.BadZipFile, EOFError, KeyError, ValueError, ConfigError) as error:
            raise DatasetError("this is not a whole recording of an episode", where=str(path), found=str(error),
                               accepted="an .npz file that foreact's evaluation wrote",
                               next_step="record it again: evaluate with videos.successes=1") from error


_ARRAYS = ("state", "actions", "success", "call_steps", "call_ms", "plans", "offsets")


def _below(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
