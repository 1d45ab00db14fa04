"""The three words that every part of the house shares: Context in, Future and Plan out; Window to learn from.

Source: survey, equations 8 and 9: p(s_{t+1:t+H}, a_{t:t+H-1} | c) with c = (o_{<=t}, a_{<t}, l).
Images are uint8 until a substrate encodes them. Actions and states are in the units of their specs until
`Normalisation` scales them; the fields say which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from foreact.contract.errors import SpecError
from foreact.contract.specs import ActionSpec, ObservationSpec

__all__ = ["Candidates", "Context", "Cost", "Future", "Plan", "Window", "fake_context", "fake_window"]


@dataclass(frozen=True, kw_only=True)
class Context:
    """What may be known when the action is chosen, for a batch of episodes.

    images: per camera, the observation history, oldest first, the present last.
    state: proprioception at the same times, in the units of the spec.
    instruction: one text per batch element.
    past_actions: the actions executed so far, newest last, or None.
    goal_images: per camera one image, or None.
    """

    images: Mapping[str, UInt8[Tensor, "batch time 3 height width"]]
    state: Float[Tensor, "batch time state"]
    instruction: tuple[str, ...]
    past_actions: Float[Tensor, "batch past action"] | None = None
    goal_images: Mapping[str, UInt8[Tensor, "batch 3 height width"]] | None = None

    @property
    def batch(self) -> int:
        return self.state.shape[0]

    def to(self, device: torch.device | str) -> Context:
        return replace(
            self,
            images={name: image.to(device) for name, image in self.images.items()},
            state=self.state.to(device),
            past_actions=None if self.past_actions is None else self.past_actions.to(device),
            goal_images=None if self.goal_images is None else {k: v.to(device) for k, v in self.goal_images.items()},
        )

    def repeat(self, count: int) -> Context:
        """Each batch element `count` times in a row: (b0, b0, ..., b1, b1, ...)."""
        def again(x: Tensor) -> Tensor:
            return x.repeat_interleave(count, dim=0)

        return replace(
            self,
            images={name: again(image) for name, image in self.images.items()},
            state=again(self.state),
            instruction=tuple(text for text in self.instruction for _ in range(count)),
            past_actions=None if self.past_actions is None else again(self.past_actions),
            goal_images=None if self.goal_images is None else {k: again(v) for k, v in self.goal_images.items()},
        )

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
class Future:
    """A predicted future in some substrate.

    values: s_{t+o} for each offset o; tokens run camera-major, then row, then column.
    offsets: control steps after the present, one for each time entry.
    substrate: the name of the substrate in which `values` live.
    """

    values: Float[Tensor, "batch time tokens channels"]
    offsets: tuple[int, ...]
    substrate: str


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The evidence of a selection: every candidate, its score, and which was chosen."""

    actions: Float[Tensor, "batch candidate horizon action"]
    scores: Float[Tensor, "batch candidate"]
    chosen: Int[Tensor, " batch"]


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
    future_images: the frames at `future_offsets`, repeated at episode ends where future_is_pad is set.
    encoded: the substrate's encoding of (history, then future) frames where a cache already holds it;
    the images may then be absent.
    """

    context: Context
    actions: Float[Tensor, "batch horizon action"]
    action_is_pad: Bool[Tensor, "batch horizon"]
    future_images: Mapping[str, UInt8[Tensor, "batch future 3 height width"]]
    future_is_pad: Bool[Tensor, "batch future"]
    future_offsets: tuple[int, ...]
    encoded: Float[Tensor, "batch time tokens channels"] | None = None
    has_action: Bool[Tensor, " batch"] | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> Window:
        return replace(
            self,
            context=self.context.to(device),
            actions=self.actions.to(device),
            action_is_pad=self.action_is_pad.to(device),
            future_images={name: image.to(device) for name, image in self.future_images.items()},
            future_is_pad=self.future_is_pad.to(device),
            encoded=None if self.encoded is None else self.encoded.to(device),
            has_action=None if self.has_action is None else self.has_action.to(device),
            extras={name: value.to(device) for name, value in self.extras.items()},
        )


def fake_context(spec: ObservationSpec, *, batch: int = 2, history: int = 1, seed: int = 0) -> Context:
    """Random data of the promised form, for tests and for warming up. Deterministic under `seed`."""
    g = torch.Generator().manual_seed(seed)
    return Context(
        images={c.name: torch.randint(0, 256, (batch, history, 3, c.height, c.width), generator=g, dtype=torch.uint8)
                for c in spec.cameras},
        state=torch.randn(batch, history, spec.state.size, generator=g),
        instruction=tuple(f"move the thing to place {i}" for i in range(batch)),
    )


def fake_window(observation: ObservationSpec, action: ActionSpec, *, horizon: int, future_offsets: tuple[int, ...],
                batch: int = 2, history: int = 1, seed: int = 0) -> Window:
    """A random `Window` of the promised form; actions lie inside the spec's bounds."""
    g = torch.Generator().manual_seed(seed + 1)
    low, high = torch.tensor(action.low), torch.tensor(action.high)
    return Window(
        context=fake_context(observation, batch=batch, history=history, seed=seed),
        actions=low + (high - low) * torch.rand(batch, horizon, action.size, generator=g),
        action_is_pad=torch.zeros(batch, horizon, dtype=torch.bool),
        future_images={c.name: torch.randint(0, 256, (batch, len(future_offsets), 3, c.height, c.width), generator=g,
                                             dtype=torch.uint8) for c in observation.cameras},
        future_is_pad=torch.zeros(batch, len(future_offsets), dtype=torch.bool),
        future_offsets=tuple(future_offsets),
    )
