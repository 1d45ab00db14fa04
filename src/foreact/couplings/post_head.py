"""Post-prediction head: first the future, then an action expert that decodes it (survey, equations 12, 20 and 29).

    p_theta(s_{t+1:t+H}, a_{t:t+H-1} | c) = p_theta(s_{t+1:t+H} | c) q_psi(a_{t:t+H-1} | s_{t+1:t+H}, c)

theta, the backbone, predicts the change from the present: s_hat = s_t + f_theta(s_t, l), learnt by mean square error in
the substrate's whitened units against targets through which no gradient flows (equation 28). psi, the child module
`head`, is a flow-matched denoiser of the chunk with a clean-sample target:

    L_a = E || q_psi(a_sigma, sigma, sg[s_hat], c) - a_0 ||^2,    a_sigma = (1 - sigma) a_0 + sigma a_1

The head is trained on the future that it will meet when acting, which is the predicted one, and that future is detached:
theta answers for the prediction alone, so that what the head reads stays a forecast and never becomes a private channel
of the action loss. The instruction's table is shared and learns from both losses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from foreact.contract.axes import Backbone, Coupling, Dimensions, Encoded, Noise, Proposal
from foreact.contract.errors import ConfigError
from foreact.contract.layout import Layout, Sight, Stream
from foreact.flow.samplers import Solver, integrate
from foreact.flow.schedules import SigmaDensity, draw_sigma, sigmas
from foreact.flow.targets import interpolate, to_velocity
from foreact.nets.action_head import ActionHead, HeadSize

__all__ = ["PostPredictionHead"]


class PostPredictionHead(Coupling):
    """The future in one deterministic pass, then the chunk in a few steps of a small expert that reads it."""

    family = "Post-prediction head"
    requires = frozenset({"deterministic"})

    @dataclass(frozen=True, kw_only=True)
    class Config(Coupling.Config):
        """Offsets are control steps; for an open loop the horizon is about the length of the task."""

        horizon: int = 96
        future_offsets: tuple[int, ...] = (24, 48, 72, 96)
        head: HeadSize = field(default_factory=HeadSize)
        video_weight: float = 1.0
        action_weight: float = 1.0
        density: SigmaDensity = "uniform"
        shift: float = 1.0
        steps: int = 4
        solver: Solver = "euler"

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.steps < 1 or self.horizon < 1 or self.horizon % self.head.steps_per_token:
                raise ConfigError("steps must be at least 1 and the horizon a multiple of the head's steps per token",
                                  where="model.coupling",
                                  found=f"horizon = {self.horizon}, head.steps_per_token = {self.head.steps_per_token}, "
                                        f"steps = {self.steps}")

        def layout(self, dimensions: Dimensions) -> Layout:
            """Frame (the present, given) and video (the future, asked for). The action is no stream: it has its own expert."""
            frame = dimensions.form.positions
            present = Stream(name="frame", channels=dimensions.form.channels, expert="video", positions=frame(0.0))
            if not self.future_offsets:
                return Layout(streams=(present,), sees={"frame": (Sight("frame"),)})
            unit = self.future_offsets[0]
            video = Stream(name="video", channels=dimensions.form.channels, expert="video", target="sample", weight=self.video_weight,
                           positions=sum((frame(o / unit) for o in self.future_offsets), ()))
            return Layout(streams=(present, video), sees={"frame": (Sight("frame"),), "video": (Sight("frame"), Sight("video"))})

        def without_future(self) -> PostPredictionHead.Config:
            """The head alone, on the present: nothing is predicted, so the backbone has nothing to do and no parameters."""
            return replace(self, future_offsets=())

    def __init__(self, config: Config, dimensions: Dimensions) -> None:
        super().__init__()
        self.config, self.dimensions, self.layout = config, dimensions, config.layout(dimensions)
        self.head = ActionHead(config.head, horizon=config.horizon, action=dimensions.action, state=dimensions.state,
                               tokens=dimensions.form.tokens, channels=dimensions.form.channels, times=len(config.future_offsets),
                               text=dimensions.text)

    # --- training -----------------------------------------------------------------------------------------------------

    def losses(self, backbone: Backbone, encoded: Encoded, *, train: frozenset[str], generator: torch.Generator) -> dict[str, Tensor]:
        found = {}
        with torch.set_grad_enabled("video" in train and torch.is_grad_enabled()):
            future = self._future(backbone, encoded)
        if future is not None and "video" in train:
            square = (future - encoded.future).square().mean(dim=(-2, -1))
            found["video"] = self.config.video_weight * _mean(square, encoded.future_is_pad)
        if "action" in train:
            device = encoded.actions.device
            sigma = draw_sigma(encoded.batch, generator, density=self.config.density, shift=self.config.shift).to(device)
            noise = torch.randn(encoded.actions.shape, generator=generator).to(device)
            clean = self.head(interpolate(encoded.actions, noise, sigma), sigma, **self._conditions(encoded, future))
            square = (clean - encoded.actions).square().mean(dim=-1)
            found["action"] = self.config.action_weight * _mean(square, encoded.action_is_pad)
        return found

    def _future(self, backbone: Backbone, encoded: Encoded) -> Tensor | None:
        """s_hat at every offset, or None where nothing is predicted."""
        if not self.config.future_offsets:
            return None
        change = backbone({"frame": encoded.frame}, self.layout, sigma={}, text=encoded.text, text_mask=encoded.text_mask)["video"]
        return encoded.frame[:, None] + change.unflatten(1, (len(self.config.future_offsets), -1))

    @staticmethod
    def _conditions(encoded: Encoded, future: Tensor | None) -> dict[str, Any]:
        return {"future": None if future is None else future.detach(), "frame": encoded.frame, "state": encoded.state,
                "text": encoded.text, "text_mask": encoded.text_mask}

    # --- sampling -----------------------------------------------------------------------------------------------------

    def propose(self, backbone: Backbone, encoded: Encoded, *, noise: Noise) -> Proposal:
        future = self._future(backbone, encoded)
        conditions = self._conditions(encoded, future)

        def velocity(x: Mapping[str, Tensor], sigma: Tensor) -> dict[str, Tensor]:
            level = sigma.expand(encoded.batch).to(encoded.frame)
            return {"action": to_velocity("sample", self.head(x["action"], level, **conditions), x["action"], level)}

        start = {"action": noise("action", (self.config.horizon, self.dimensions.action))}
        end = integrate(velocity, start, sigmas(self.config.steps, shift=self.config.shift), solver=self.config.solver)
        return Proposal(actions=end["action"], future=future)


def _mean(square: Tensor, is_pad: Tensor) -> Tensor:
    """Mean over what lies inside the episode."""
    keep = (~is_pad).to(square.dtype)
    return (square * keep).sum() / keep.sum().clamp(min=1)
