"""Latent actions: the future as what happens to the present, a few numbers learnt from action-free video (CLAW, arXiv 2606.04130).

    s_k = q(o_t, o_{t+o_k}) in R^d,    the latent action from the present to each future        (survey, section 4.3: actions as R^{d_z})

Frames are seen as latents of `inner`. `LatentActionModel` is learnt on pairs of frames alone, before and apart from the policy, with an
adversary against leakage of the scene, and is then frozen. Its forward model turns a present and a latent action into the frame that
follows, so that an imagined future can be watched, on any present. CLAW infers an action between consecutive frames; here each is from
the present, as every substrate that is measured from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from foreact.contract.axes import Substrate, SubstrateForm
from foreact.contract.context import Scene
from foreact.contract.errors import TrainingError
from foreact.contract.progress import meter
from foreact.contract.specs import ObservationSpec
from foreact.flow.probes import nearest_score
from foreact.nets.latent_action import LatentActionModel
from foreact.substrates.pixel_decodable import PixelDecodable
from foreact.substrates.pixel_latents import PixelLatents

__all__ = ["LatentActions"]

_MOMENTS, _MEASURED = 8, 8


class LatentActions(Substrate):
    """One token for all cameras."""

    kind = "Feature (teacher)"
    decodable = per_frame = False
    watchable = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Substrate.Config):
        """`inner`: in which frames are seen. rounds: steps of the latent actions for each step of `inner`."""

        inner: PixelDecodable.Config = field(default_factory=PixelLatents.Config)
        model: LatentActionModel.Config = field(default_factory=LatentActionModel.Config)
        rounds: int = 2
        learning_rate: float = 3e-3

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            self.inner.form(observation)  # refuses cameras that it cannot take
            return SubstrateForm(grid=(1, 1, 1), channels=self.model.channels)

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return self.inner.needs(observation)

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form = config, config.form(observation)
        self.inner: PixelDecodable = config.inner.build(observation)
        frame = self.inner.form
        self.model = config.model.build(frame.tokens, frame.channels)
        self.register_buffer("shift", torch.zeros(config.model.channels))
        self.register_buffer("scale", torch.ones(config.model.channels))

    @torch.no_grad()
    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        frames = self.inner.encode(scene)
        times = frames.shape[1]
        values = torch.zeros(len(frames), times, 1, self.form.channels, device=frames.device)
        if times > 1:
            before, after = frames[:, :1].expand(-1, times - 1, -1, -1).flatten(0, 1), frames[:, 1:].flatten(0, 1)
            values[:, 1:, 0] = self._inferred(before, after).unflatten(0, (len(frames), times - 1))
        return values

    def _inferred(self, before: Tensor, after: Tensor) -> Float[Tensor, "pair channels"]:
        """As the inverse model gives it at rest, scaled to deviation 1."""
        training = self.model.training
        found = (self.model.eval().inverse(before, after) - self.shift) / self.scale
        self.model.train(training)
        return found

    @torch.no_grad()
    def follow(self, before: Float[Tensor, "pair tokens latent"], values: Float[Tensor, "pair channels"],
               ) -> Float[Tensor, "pair tokens latent"]:
        """The frames, in latents of `inner`, that follow from these latent actions."""
        return self.model(before, values * self.scale + self.shift)

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return values

    @torch.no_grad()
    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        """The frames that the forward model gives, from this present."""
        before = self.inner.encode(Scene(images={name: x[:, None] for name, x in present.items()}))
        before = before.expand(-1, values.shape[1], -1, -1).flatten(0, 1)
        after = self.follow(before, values.float().flatten(0, 1)[:, 0])
        return self.inner.decode(after.unflatten(0, values.shape[:2]), present)

    # --- fitting ------------------------------------------------------------------------------------------------------

    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        """`inner` first, then inverse model, forward model and adversary on pairs of its latents; what is measured, on later batches, is
        told in `_measure`."""
        stream = iter(batches)
        found = {f"frames.{name}": value for name, value in self.inner.fit(stream, steps=steps, seed=seed).items()}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            pairs = self._pairs(stream)
            self._learn(pairs, self.config.rounds * steps)
            return found | self._measure(*_joined(pairs, _MEASURED))

    @torch.no_grad()
    def _pairs(self, stream: Iterator[Scene]) -> Iterator[tuple[Tensor, Tensor]]:
        """Of every scene two different times, drawn at random, in latents of `inner`.

        Either may come first: demonstrations go one way from a place, so that forwards alone the present would tell what follows, and a
        latent action would not be needed.
        """
        for scene in stream:
            frames = self.inner.encode(scene)
            rows = torch.arange(len(frames), device=frames.device)
            first = torch.randint(frames.shape[1], (len(frames),)).to(frames.device)
            step = torch.randint(1, frames.shape[1], (len(frames),)).to(frames.device)
            yield frames[rows, first], frames[rows, (first + step) % frames.shape[1]]

    def _learn(self, pairs: Iterator[tuple[Tensor, Tensor]], steps: int) -> None:
        self.model.train()
        before, after = _joined(pairs, _MOMENTS)
        self.model.start(before, after)
        usual = after.mean(dim=0)
        v_change, v_frame = float((after - before).square().mean()), float((after - usual).square().mean())
        optimiser = torch.optim.AdamW(self.model.parameters(), lr=self.config.learning_rate, betas=(0.9, 0.99), weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.config.learning_rate, total_steps=max(steps, 2), pct_start=0.1)
        with meter("learning latent actions", steps) as m:
            for step, pair in zip(range(steps), pairs, strict=False):
                # a latent action must be of use before it can be told from a leak: the adversary counts in full from half-way on
                strength = min(1.0, 2 * step / steps)
                with torch.autocast(pair[0].device.type, dtype=torch.bfloat16):
                    losses = self.model.losses(*pair, usual, v_change=max(v_change, 1e-6), v_frame=max(v_frame, 1e-6), strength=strength)
                optimiser.zero_grad()
                sum(losses.values()).backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                optimiser.step()
                schedule.step()
                m.advance(1, " ".join(f"{name} {value.item():.2f}" for name, value in losses.items()))
        self.model.eval()
        with torch.no_grad():
            actions = self.model.inverse(before, after)
            self.shift.copy_(actions.mean(dim=0))
            self.scale.copy_(actions.std(dim=0).clamp(min=1e-3))

    @torch.no_grad()
    def _measure(self, before: Tensor, after: Tensor) -> dict[str, float]:
        """Whether a latent action carries motion and not the scene; shares of variance, 1 is all and 0 nothing.

        explained: of the change of frames, by forward model and latent action. explained_by_another: the same with the latent action of
        another pair. transferred: of a latent action, by what the inverse model reads between another frame and what the forward model
        makes follow from it there. leaked: of the frame that follows, by the frames of the pairs with the nearest latent actions.
        """
        actions = self._inferred(before, after)
        moved, total = after - before, (after - before).square().mean().clamp(min=1e-9)

        def explained(values: Tensor) -> float:
            return float(1 - (self.follow(before, values) - before - moved).square().mean() / total)

        elsewhere = before.roll(1, dims=0)
        again = self._inferred(elsewhere, self.follow(elsewhere, actions))
        half = len(actions) // 2
        return {"explained": explained(actions), "explained_by_another": explained(actions.roll(1, dims=0)),
                "transferred": float(1 - (again - actions).square().mean() / (actions - actions.mean(0)).square().mean().clamp(min=1e-9)),
                "leaked": nearest_score(actions[:half], after[:half].flatten(1), actions[half:], after[half:].flatten(1))}


def _joined(pairs: Iterator[tuple[Tensor, Tensor]], count: int) -> tuple[Tensor, Tensor]:
    """So many batches of pairs as one."""
    found = list(islice(pairs, count))
    if not found:
        raise TrainingError("too few batches to fit the substrate on", where="model.substrate", found="none left",
                            accepted="some more than training.substrate.steps for frames and `rounds` times as many for latent actions",
                            next_step="repeat scenes where there are few")
    before, after = (torch.cat(x) for x in zip(*found, strict=True))
    return before, after
