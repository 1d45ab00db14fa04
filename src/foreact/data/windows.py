"""Stretches of demonstration to learn from: every frame of the chosen episodes is the present of one window.

Offsets are control steps relative to the present; at the ends of an episode the first or last frame repeats, and a flag
says so (LeRobot's convention). Whole batches are gathered by index from arrays and memory maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils import data

from foreact.contract.context import Context, Window
from foreact.contract.errors import ConfigError, DatasetError
from foreact.data.annotations import AnnotationStore
from foreact.data.lerobot.dataset import Dataset
from foreact.data.stores import DecodedFrames, EncodedStore, FrameSource, FutureStore

__all__ = ["Offsets", "Windows", "collate", "offsets_from_seconds", "steps_between", "steps_from_seconds"]


@dataclass(frozen=True, kw_only=True)
class Offsets:
    """What a window spans, in control steps. history ends with 0, the present; future is after it; both ascend.

    The actions are those of steps 0 .. horizon - 1; `past_actions` counts executed actions before the present, which are
    zeros before the episode's start.
    """

    horizon: int
    history: tuple[int, ...] = (0,)
    future: tuple[int, ...] = ()
    past_actions: int = 0

    def __post_init__(self) -> None:
        problems = {
            "horizon": (self.horizon >= 1, self.horizon, "at least 1"),
            "history": (self.history[-1:] == (0,) and list(self.history) == sorted(set(self.history)), self.history,
                        "ascending steps that end with 0"),
            "future": (all(step > 0 for step in self.future) and list(self.future) == sorted(set(self.future)), self.future,
                       "ascending steps above 0"),
            "past_actions": (self.past_actions >= 0, self.past_actions, "at least 0"),
        }
        for name, (fine, found, accepted) in problems.items():
            if not fine:
                raise ConfigError("not a window", where=f"offsets.{name}", found=found, accepted=accepted)


def steps_from_seconds(seconds: Sequence[float], *, fps: float, tolerance: float = 1e-4, where: str = "") -> tuple[int, ...]:
    """Times to control steps; raises `ConfigError` where one is further than `tolerance` seconds from a multiple of 1 / fps."""
    steps = np.round(np.asarray(seconds, dtype=np.float64) * fps).astype(int)
    off = np.abs(steps / fps - np.asarray(seconds, dtype=np.float64))
    if off.max(initial=0.0) > tolerance:
        worst = int(off.argmax())
        raise ConfigError("a time lies between two frames", where=f"delta_timestamps.{where}", found=f"{seconds[worst]} s",
                          accepted=f"multiples of {1 / fps:.6g} s (the dataset runs at {fps:g} fps)")
    return tuple(int(step) for step in steps)


def offsets_from_seconds(delta_timestamps: Mapping[str, Sequence[float]], *, fps: float, state_key: str = "observation.state",
                         action_key: str = "action", tolerance: float = 1e-4) -> Offsets:
    """LeRobot's `delta_timestamps` as `Offsets`.

    All cameras share their times, of which those up to 0 are history and the rest future; the state has the history's
    times; the actions run from 0 without gaps.
    """
    steps = {key: steps_from_seconds(times, fps=fps, tolerance=tolerance, where=key) for key, times in delta_timestamps.items()}
    actions = steps.pop(action_key, (0,))
    past = sum(step < 0 for step in actions)
    if actions != tuple(range(-past, len(actions) - past)) or past == len(actions):
        raise ConfigError("action times must follow one another and include 0", where=f"delta_timestamps.{action_key}",
                          found=actions)
    state = steps.pop(state_key, None)
    if len(set(steps.values())) > 1:
        raise ConfigError("all cameras need the same times", where="delta_timestamps", found=steps)
    seen = next(iter(steps.values()), state or (0,))
    history = tuple(step for step in seen if step <= 0)
    if state is not None and state != history:
        raise ConfigError("the state needs the times of the image history", where=f"delta_timestamps.{state_key}", found=state,
                          accepted=history)
    return Offsets(horizon=len(actions) - past, history=history, future=tuple(step for step in seen if step > 0),
                   past_actions=past)


class Windows(data.Dataset):
    """Map-style: `windows[i]` is a `Window` of batch size 1; `windows.batch(indices)` gathers many at once.

    frames: where images come from (default: decoding each time); None with `images=False` leaves them out.
    encoded: fills `Window.encoded`: "view" with the history, every other name with that part of the future.
    episodes: places in `dataset.episodes` to draw from (default all). action_key None: video without actions, which
    needs `action_size`; such windows have `has_action` False and zero actions. action_free: episodes whose actions are hidden
    likewise, though the dataset has them. executed_key: what was carried out, where the dataset has it beside the actions.
    annotations: read at the present and the future. discount: gamma of `Window.value`, where the dataset knows success; episodes that
    fail are then no examples (`Window.imitated`).
    fold: frames up to each future offset that are read too, for a substrate that folds them.
    extras: numeric features at the present step. `Window.extras` also holds row, episode and frame.
    """

    def __init__(self, dataset: Dataset, offsets: Offsets, *, cameras: Sequence[str] | None = None,
                 state_key: str = "observation.state", action_key: str | None = "action", action_size: int | None = None,
                 executed_key: str | None = "executed_action", episodes: Sequence[int] | None = None, action_free: Sequence[int] = (),
                 frames: FrameSource | None = None, encoded: Mapping[str, EncodedStore | FutureStore] | None = None, images: bool = True,
                 goal: bool = False, annotations: AnnotationStore | None = None, discount: float = 0.99, fold: int = 1,
                 extras: Sequence[str] = ()) -> None:
        self.dataset, self.offsets, self._goal = dataset, offsets, goal
        self._clip = () if fold == 1 else steps_between(offsets.future, fold)
        self.cameras = tuple(cameras) if cameras is not None else tuple(dataset.cameras)
        for camera in self.cameras:
            dataset.camera_key(camera)
        self._frames = None if not images else frames or DecodedFrames(dataset, self.cameras)
        self._encoded, self._annotations = dict(encoded or {}), annotations
        for store in self._encoded.values():
            if store.cameras != self.cameras:
                raise ConfigError("the encodings are of other cameras", where="windows.encoded", found=store.cameras, accepted=self.cameras)
        for source in (self._frames, *self._encoded.values(), annotations):
            if source is not None and source.dataset.fingerprint != dataset.fingerprint:
                raise ConfigError("frames and windows are of different datasets", where="windows",
                                  found=source.dataset.root, accepted=dataset.root)
        self._state = self._vectors(state_key)
        self._action = None if action_key is None else self._vectors(action_key)
        if self._action is None and not action_size:
            raise ConfigError("video without actions needs the size that actions would have", where="windows.action_size")
        self._action_size = int(action_size or 0) if self._action is None else self._action.shape[1]
        known = action_key is not None and executed_key in dataset.info.features
        self._executed = self._vectors(executed_key) if known else None
        self._free = np.isin(np.arange(len(dataset.episodes)), np.asarray(action_free, dtype=np.int64))
        self._extras = {key: torch.from_numpy(np.ascontiguousarray(dataset.column(key))) for key in extras}
        self._choose(episodes)
        # where no episode is marked as a success, the marks say nothing
        marked = "next.success" in dataset.info.features and bool(dataset.column("next.success").any())
        self._value, self._imitated = (torch.from_numpy(returns(dataset, discount)), torch.from_numpy(succeeding(dataset))) \
            if marked else (None, None)

    def _vectors(self, key: str) -> np.ndarray:
        values = self.dataset.column(key)
        values = np.ascontiguousarray(values.reshape(len(values), -1), dtype=np.float32)
        if not np.isfinite(values).all():
            bad = int(np.argwhere(~np.isfinite(values).all(1))[0, 0])
            raise DatasetError("a number is not finite", where=key, found=f"first in row {bad}",
                               next_step="run `foreact data check` on the dataset and leave the episode out")
        return values

    def _choose(self, episodes: Sequence[int] | None) -> None:
        known = self.dataset.episodes
        chosen = np.arange(len(known)) if episodes is None else np.asarray(sorted(set(episodes)), dtype=np.int64)
        if not len(chosen) or chosen[0] < 0 or chosen[-1] >= len(known):
            raise ConfigError("no such episodes", where="windows.episodes", found=list(chosen[:5]), accepted=f"0..{len(known) - 1}")
        self.episodes = tuple(int(episode) for episode in chosen)
        self._first = np.array([episode.first for episode in known])
        self._last = np.array([episode.last for episode in known])
        self._rows = np.concatenate([np.arange(known[e].first, known[e].last + 1) for e in chosen])

    @property
    def rows(self) -> np.ndarray:
        """The row of the dataset that is the present of each window."""
        return self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Window:
        return self.batch(np.array([index]))

    def batch(self, indices: np.ndarray) -> Window:
        """The windows at `indices`, in this order."""
        present = self._rows[np.asarray(indices)]
        episode = self.dataset.episode_of_row[present]
        first, last = self._first[episode, None], self._last[episode, None]
        o = self.offsets
        history, history_pad = _gathered(present, o.history, first, last)
        future, future_pad = _gathered(present, o.future, first, last)
        actions, action_pad = _gathered(present, tuple(range(o.horizon)), first, last)
        seen = {camera: self._frames.read(camera, np.concatenate([history, future], 1)) for camera in self.cameras} \
            if self._frames is not None else {}
        between = _gathered(present, self._clip, first, last)[0]
        clip = {camera: torch.from_numpy(self._frames.read(camera, between)) for camera in self.cameras} \
            if self._frames is not None and self._clip else {}
        split = len(o.history)
        free = torch.from_numpy(self._free[episode]) if self._action is not None else torch.ones(len(present), dtype=torch.bool)
        goals = {c: torch.from_numpy(self._frames.read(c, last[:, 0])) for c in self.cameras} \
            if self._goal and self._frames is not None else None
        past, past_pad = self._past(present, first, last)
        context = Context(
            images={camera: torch.from_numpy(images[:, :split]) for camera, images in seen.items()},
            state=torch.from_numpy(self._state[history]), instruction=self.dataset.texts(present),
            past_actions=past, history_is_pad=history_pad, past_is_pad=past_pad, goal_images=goals)
        extras = {"row": torch.from_numpy(present), "episode": torch.from_numpy(episode), "frame": torch.from_numpy(present - first[:, 0])}
        span = np.concatenate([present[:, None], future], 1)
        of_present = {"view": history, "visual_state": present[:, None], "teacher_of_present": present[:, None]}
        return Window(
            context=context, actions=_hidden(self._of(self._action, actions), free), action_is_pad=action_pad,
            executed=None if self._executed is None else _hidden(self._of(self._executed, actions), free),
            future_images={camera: torch.from_numpy(images[:, split:]) for camera, images in seen.items()},
            future_is_pad=future_pad, future_offsets=o.future, future_state=torch.from_numpy(self._state[future]),
            annotations={} if self._annotations is None else self._annotations.read(span),
            encoded={name: store.read(of_present.get(name, future))
                     if isinstance(store, EncodedStore) else store.read(present) for name, store in self._encoded.items()},
            has_action=~free, value=None if self._value is None else self._value[torch.from_numpy(present)],
            imitated=None if self._imitated is None else self._imitated[torch.from_numpy(present)],
            clip_images=clip, extras=extras | {key: values[torch.from_numpy(present)] for key, values in self._extras.items()})

    def _past(self, present: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[Tensor | None, Tensor | None]:
        """Executed actions before the present, zeros before the episode began."""
        if not self.offsets.past_actions:
            return None, None
        rows, pad = _gathered(present, tuple(range(-self.offsets.past_actions, 0)), first, last)
        return _hidden(self._of(self._action if self._executed is None else self._executed, rows), pad), pad

    def _of(self, values: np.ndarray | None, rows: np.ndarray) -> Tensor:
        return torch.zeros(*rows.shape, self._action_size) if values is None else torch.from_numpy(values[rows])


def _hidden(actions: Tensor, where: Tensor) -> Tensor:
    """Zeros where the action is not known."""
    return torch.where(where[(...,) + (None,) * (actions.ndim - where.ndim)], 0.0, actions)


def returns(dataset: Dataset, discount: float) -> np.ndarray:
    """The Monte Carlo return from each row under a reward of 1 at the first success: gamma^(steps until it), or 0 (MV-WAM, section 3.2)."""
    success = dataset.column("next.success").reshape(-1).astype(bool)
    found = np.zeros(len(success), np.float32)
    for episode in dataset.episodes:
        hits = np.flatnonzero(success[episode.first:episode.last + 1])
        if len(hits):
            left = np.maximum(hits[0] - np.arange(episode.length), 0)
            found[episode.first:episode.last + 1] = discount ** left
    return found


def succeeding(dataset: Dataset) -> np.ndarray:
    """Of each row, whether its episode succeeds at some step."""
    success = dataset.column("next.success").reshape(-1).astype(bool)
    by_episode = np.array([success[episode.first:episode.last + 1].any() for episode in dataset.episodes], dtype=bool)
    return by_episode[dataset.episode_of_row]


def steps_between(future: tuple[int, ...], fold: int) -> tuple[int, ...]:
    """`fold` equal steps up to each offset; raises `ConfigError` where the offsets do not divide into them."""
    step, left = divmod(future[0] if future else 0, fold)
    if left or any(offset != (i + 1) * fold * step for i, offset in enumerate(future)):
        raise ConfigError("frames cannot be folded at these offsets", where="offsets.future", found=future,
                          accepted=f"even steps of a multiple of {fold}, as {tuple(fold * (i + 1) for i in range(3))}")
    return tuple(step * (i + 1) for i in range(fold * len(future)))


def _gathered(present: np.ndarray, offsets: tuple[int, ...], first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, Tensor]:
    """Rows at the offsets, held inside the episode, and whether each one had to be held."""
    wanted = present[:, None] + np.asarray(offsets, dtype=np.int64)
    held = np.clip(wanted, first, last)
    return held, torch.from_numpy(held != wanted)


def collate(windows: Sequence[Window]) -> Window:
    """Windows one after the other in one batch, for a torch `DataLoader`."""
    contexts = [window.context for window in windows]
    one = windows[0]

    def joined(parts: list[Tensor | None]) -> Tensor | None:
        return None if parts[0] is None else torch.cat(parts)  # type: ignore[arg-type]

    def by_name(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    goals = [context.goal_images for context in contexts if context.goal_images is not None]
    context = Context(
        images=by_name([c.images for c in contexts]), state=torch.cat([c.state for c in contexts]),
        instruction=tuple(text for c in contexts for text in c.instruction),
        past_actions=joined([c.past_actions for c in contexts]), history_is_pad=joined([c.history_is_pad for c in contexts]),
        past_is_pad=joined([c.past_is_pad for c in contexts]), goal_images=by_name(goals) if goals else None)
    return Window(
        context=context, actions=torch.cat([w.actions for w in windows]),
        action_is_pad=torch.cat([w.action_is_pad for w in windows]), future_images=by_name([w.future_images for w in windows]),
        future_is_pad=torch.cat([w.future_is_pad for w in windows]), future_offsets=one.future_offsets,
        future_state=joined([w.future_state for w in windows]), executed=joined([w.executed for w in windows]),
        annotations=by_name([w.annotations for w in windows]), encoded=by_name([w.encoded for w in windows]),
        has_action=joined([w.has_action for w in windows]), value=joined([w.value for w in windows]),
        imitated=joined([w.imitated for w in windows]),
        clip_images=by_name([w.clip_images for w in windows]), extras=by_name([w.extras for w in windows]))
