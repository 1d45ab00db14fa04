"""The three words that every part of the house shares: Context in, Future and Plan out; Window to learn from.

Source: survey, equations 8 and 9: p(s_{t+1:t+H}, a_{t:t+H-1} | c) with c = (o_{<=t}, a_{<t}, l).
Images are uint8 until a substrate encodes them. Actions and states are in the units of their specs until
`Normalisation` scales them; the fields say which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from foreact.contract.errors import SpecError
from foreact.contract.specs import ActionSpec, ObservationSpec

__all__ = ["Candidates", "Context", "Cost", "Future", "Plan", "Scene", "Window", "fake_context", "fake_window"]


@dataclass(frozen=True, kw_only=True)
class Context:
    """What may be known when the action is chosen, for a batch of episodes.

    images: per camera, the observation history, oldest first, the present last.
    state: proprioception at the same times, in the units of the spec.
    instruction: one text per batch element.
    past_actions: actions executed before the present, newest last, or None where the model asks for none.
    history_is_pad, past_is_pad: entries from before the episode began (the first frame repeated, zeros); None for none.
    goal_images: per camera one image, or None.
    committed: actions from the present on that will be executed before the plan can act, in the units of the spec, and commitment: how much
        each holds, 0 to 1; None where a plan is free (see `flow/inpainting.py`).
    """

    images: Mapping[str, UInt8[Tensor, "batch time 3 height width"]]
    state: Float[Tensor, "batch time state"]
    instruction: tuple[str, ...]
    past_actions: Float[Tensor, "batch past action"] | None = None
    history_is_pad: Bool[Tensor, "batch time"] | None = None
    past_is_pad: Bool[Tensor, "batch past"] | None = None
    goal_images: Mapping[str, UInt8[Tensor, "batch 3 height width"]] | None = None
    committed: Float[Tensor, "batch horizon action"] | None = None
    commitment: Float[Tensor, "batch horizon"] | None = None

    @property
    def scene(self) -> Scene:
        """What was seen, as a substrate takes it."""
        return Scene(images=self.images, state=self.state)

    @property
    def batch(self) -> int:
        return self.state.shape[0]

    def to(self, device: torch.device | str) -> Context:
        return self._changed(lambda x: x.to(device))

    def repeat(self, count: int) -> Context:
        """Each batch element `count` times in a row: (b0, b0, ..., b1, b1, ...)."""
        texts = tuple(text for text in self.instruction for _ in range(count))
        return replace(self._changed(lambda x: x.repeat_interleave(count, dim=0)), instruction=texts)

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Context:
        def maybe(x: Tensor | None) -> Tensor | None:
            return None if x is None else change(x)

        return replace(
            self, images={name: change(image) for name, image in self.images.items()}, state=change(self.state),
            past_actions=maybe(self.past_actions), committed=maybe(self.committed), commitment=maybe(self.commitment),
            history_is_pad=maybe(self.history_is_pad), past_is_pad=maybe(self.past_is_pad),
            goal_images=None if self.goal_images is None else {k: change(v) for k, v in self.goal_images.items()})

    def check(self, spec: ObservationSpec) -> None:
        """Raise `SpecError` where this context is not what `spec` promises."""
        for camera in spec.cameras:
            if camera.name not in self.images:
                raise SpecError("a camera is missing", where=f"context.images.{camera.name}",
                                found=", ".join(self.images) or "no cameras", accepted=", ".join(spec.camera_names),
                                next_step="rename the cameras of the environment or of the dataset to those of the checkpoint")
            image = self.images[camera.name]
            if image.dtype != torch.uint8 or image.ndim != 5 or tuple(image.shape[2:]) != (3, camera.height, camera.width):
                raise SpecError("an image has the wrong form", where=f"context.images.{camera.name}",
                                found=f"{image.dtype} {tuple(image.shape)}",
                                accepted=f"uint8 (batch, time, 3, {camera.height}, {camera.width})")
        if self.state.ndim != 3 or self.state.shape[-1] != spec.state.size:
            raise SpecError("the state has the wrong size", where="context.state", found=tuple(self.state.shape),
                            accepted=f"(batch, time, {spec.state.size}): {', '.join(spec.state.names)}")
        if len(self.instruction) != self.batch:
            raise SpecError("one instruction per batch element is needed", where="context.instruction",
                            found=len(self.instruction), accepted=self.batch)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What was seen over some times: what a substrate encodes.

    images: per camera. state: proprioception at the same times, in the units of the spec, where it is known.
    annotations: what only a simulator knows, by name ("depth.scene"), at the same times; training has them, acting never.
    texts: what each element of the batch was told to do, where it is known.
    """

    images: Mapping[str, UInt8[Tensor, "batch time 3 height width"]]
    state: Float[Tensor, "batch time state"] | None = None
    annotations: Mapping[str, Tensor] = field(default_factory=dict)
    texts: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """(batch, time)."""
        first = next(iter(self.images.values()), self.state)
        return first.shape[0], first.shape[1]

    def at(self, times: slice) -> Scene:
        """Some of the times."""
        return Scene(images={name: x[:, times] for name, x in self.images.items()},
                     state=None if self.state is None else self.state[:, times],
                     annotations={name: x[:, times] for name, x in self.annotations.items()}, texts=self.texts)

    def to(self, device: torch.device | str) -> Scene:
        return Scene(images={name: x.to(device) for name, x in self.images.items()},
                     state=None if self.state is None else self.state.to(device),
                     annotations={name: x.to(device) for name, x in self.annotations.items()}, texts=self.texts)


@dataclass(frozen=True, kw_only=True)
class Future:
    """A predicted future in one substrate or in several.

    parts: s_{t+o} for each offset o, by stream name, the main one first; tokens run camera-major, then row, then column.
    offsets: control steps after the present, one for each time entry.
    substrates: the name of the substrate in which each part lives.
    """

    parts: Mapping[str, Float[Tensor, "batch time _ _"]]
    offsets: tuple[int, ...]
    substrates: Mapping[str, str]

    @property
    def values(self) -> Float[Tensor, "batch time tokens channels"]:
        """The main part."""
        return next(iter(self.parts.values()))


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The evidence of a selection: every candidate, its score, and which was chosen.

    spread: root mean square of the candidates' actions about their mean, in the model's own units, where it was measured.
    overhead_ms: what choosing took, all candidates being there.
    """

    actions: Float[Tensor, "batch candidate horizon action"]
    scores: Float[Tensor, "batch candidate"]
    chosen: Int[Tensor, " batch"]
    spread: Float[Tensor, " batch"] | None = None
    overhead_ms: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a plan cost: network evaluations by module, counted while they ran, and seconds of wall time."""

    evaluations: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.evaluations.values())


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a model proposes: actions in the units of the action spec and, where it has them, the rest."""

    actions: Float[Tensor, "batch horizon action"]
    future: Future | None = None
    value: Float[Tensor, " batch"] | None = None
    candidates: Candidates | None = None
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True, kw_only=True)
class Window:
    """A stretch of demonstration to learn from: a context and what then happened.

    actions: a_{t:t+H-1}, in the units of the spec; action_is_pad marks steps past the end of the episode
    (LeRobot's convention: the last action repeated). For action-free video `has_action` is False.
    executed: what was carried out where that differs from what the demonstrator chose, or None.
    future_images, future_state: at `future_offsets`, repeated at episode ends where future_is_pad is set.
    annotations: what only a simulator knows, at the present and then at the offsets, by name ("depth.scene").
    encoded: what a cache already holds, by name: "view" for the history, and each part of the future; the images may then
    be absent. value: the return from here, gamma^(steps until success), 0 where the episode does not succeed; imitated: whether it
    does, so that its actions are an example. clip_images: frames at equal steps up to each offset, the last at the offset itself, where
    a substrate folds frames.
    """

    context: Context
    actions: Float[Tensor, "batch horizon action"]
    action_is_pad: Bool[Tensor, "batch horizon"]
    future_images: Mapping[str, UInt8[Tensor, "batch future 3 height width"]]
    future_is_pad: Bool[Tensor, "batch future"]
    future_offsets: tuple[int, ...]
    future_state: Float[Tensor, "batch future state"] | None = None
    executed: Float[Tensor, "batch horizon action"] | None = None
    annotations: Mapping[str, Tensor] = field(default_factory=dict)
    encoded: Mapping[str, Float[Tensor, "batch time _ _"]] = field(default_factory=dict)
    has_action: Bool[Tensor, " batch"] | None = None
    value: Float[Tensor, " batch"] | None = None
    imitated: Bool[Tensor, " batch"] | None = None
    clip_images: Mapping[str, UInt8[Tensor, "batch steps 3 height width"]] = field(default_factory=dict)
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    def scene_for(self, fold: int) -> Scene:
        """The scene as a substrate takes it that folds so many frames into one time; raises `SpecError` where they are not there."""
        if fold == 1:
            return self.scene
        if any(x.shape[1] != fold * len(self.future_offsets) for x in self.clip_images.values()) or not self.clip_images:
            raise SpecError("the frames between the offsets are not there", where="window.clip_images",
                            found=f"{[x.shape[1] for x in self.clip_images.values()]} frames", accepted=fold * len(self.future_offsets),
                            next_step=f"read windows with fold={fold}")
        now = self.context.scene.at(slice(-1, None)).images
        return Scene(images={name: torch.cat([now[name], x], dim=1) for name, x in self.clip_images.items()})

    @property
    def scene(self) -> Scene:
        """The present, then the future, as a substrate takes them."""
        present = self.context.scene.at(slice(-1, None))
        images = {name: torch.cat([now, self.future_images[name]], dim=1) for name, now in present.images.items()}
        state = None if self.future_state is None else torch.cat([present.state, self.future_state], dim=1)
        return Scene(images=images, state=state, annotations=self.annotations)

    def to(self, device: torch.device | str) -> Window:
        def maybe(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.to(device)

        def each(xs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: x.to(device) for name, x in xs.items()}

        return replace(
            self, context=self.context.to(device), actions=self.actions.to(device), action_is_pad=self.action_is_pad.to(device),
            future_images=each(self.future_images), future_is_pad=self.future_is_pad.to(device), future_state=maybe(self.future_state),
            executed=maybe(self.executed), annotations=each(self.annotations), encoded=each(self.encoded),
            has_action=maybe(self.has_action), value=maybe(self.value), imitated=maybe(self.imitated),
            clip_images=each(self.clip_images), extras=each(self.extras))


def fake_context(spec: ObservationSpec, *, batch: int = 2, history: int = 1, past: int = 0, actions: int = 0, seed: int = 0) -> Context:
    """Random data of the promised form, for tests and for warming up. Deterministic under `seed`.

    past: how many past actions it holds, of `actions` numbers each.
    """
    g = torch.Generator().manual_seed(seed)
    return Context(
        images={c.name: torch.randint(0, 256, (batch, history, 3, c.height, c.width), generator=g, dtype=torch.uint8)
                for c in spec.cameras},
        state=torch.randn(batch, history, spec.state.size, generator=g),
        instruction=tuple(f"move the thing to place {i}" for i in range(batch)),
        past_actions=torch.randn(batch, past, actions, generator=g) if past else None,
    )


def fake_window(observation: ObservationSpec, action: ActionSpec, *, horizon: int, future_offsets: tuple[int, ...],
                batch: int = 2, history: int = 1, past: int = 0, annotations: tuple[str, ...] = (), fold: int = 1, seed: int = 0) -> Window:
    """A random `Window` of the promised form; actions lie inside the spec's bounds. fold: see `Window.scene_for`."""
    g = torch.Generator().manual_seed(seed + 1)
    low, high = torch.tensor(action.low), torch.tensor(action.high)
    times = 1 + len(future_offsets)
    return Window(
        context=fake_context(observation, batch=batch, history=history, past=past, actions=action.size, seed=seed),
        actions=low + (high - low) * torch.rand(batch, horizon, action.size, generator=g),
        action_is_pad=torch.zeros(batch, horizon, dtype=torch.bool),
        future_images={c.name: torch.randint(0, 256, (batch, len(future_offsets), 3, c.height, c.width), generator=g,
                                             dtype=torch.uint8) for c in observation.cameras},
        future_is_pad=torch.zeros(batch, len(future_offsets), dtype=torch.bool),
        future_offsets=tuple(future_offsets),
        future_state=torch.randn(batch, len(future_offsets), observation.state.size, generator=g),
        annotations={name: _fake_annotation(name, observation, batch, times, g) for name in annotations},
        value=torch.rand(batch, generator=g),
        clip_images={c.name: torch.randint(0, 256, (batch, fold * len(future_offsets), 3, c.height, c.width), generator=g,
                                           dtype=torch.uint8) for c in observation.cameras} if fold > 1 else {},
    )


def _fake_annotation(name: str, observation: ObservationSpec, batch: int, times: int, g: torch.Generator) -> Tensor:
    """A random annotation in the form that `foreact.data` gives it."""
    kind, _, camera = name.partition(".")
    height, width = next(((c.height, c.width) for c in observation.cameras if c.name == camera), (0, 0))
    match kind:
        case "depth":
            return 0.5 + torch.rand(batch, times, height, width, generator=g)
        case "segmentation":
            return torch.randint(0, 5, (batch, times, height, width), generator=g, dtype=torch.uint8)
        case "contacts":
            return torch.rand(batch, times, 2, generator=g)
        case "tracks":
            scale = torch.tensor([width, height, 1.0])
            return torch.rand(batch, times, 16, 3, generator=g).mul(scale)
        case "points":
            return torch.rand(batch, times, 16, 4, generator=g)
        case "audio":
            return -14 * torch.rand(batch, times, 8, 16, generator=g)
    raise SpecError("no such annotation", where=name, accepted="depth, segmentation, tracks by camera; contacts; points; audio")
