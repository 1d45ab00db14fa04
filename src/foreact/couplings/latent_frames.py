"""Joint generation inside one video: action, proprioception and value are written as latent frames of the sequence that is denoised.

    present image | proprioception, action chunk, future proprioception, future image, value        (Cosmos Policy, arXiv 2601.16163)

One network denoises the whole sequence. Numbers fill a frame as copies of themselves and are read back as the mean of the
copies (`flow.tiling`). Which frames are given clean says what the network is: each sample of a batch is of one kind,

    policy        given proprioception                                       p(a, s', v | s)
    world model   given proprioception and action                            p(s', v | s, a)
    value         given all but the value                                    p(v | s, a, s')

and only what is not given is noised and counts in the loss. Acting denoises N policy samples in one batch, scores each by
the value of the future that it imagined, and takes the best. Beside each token stand the present token of its place,
whether it is given, and what its frame is. The present image sees only itself, so its keys and values are computed once
for all steps.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from foreact.contract.axes import Backbone, Cache, Coupling, Dimensions, Encoded, Noise, Proposal, Session
from foreact.contract.errors import ConfigError, SpecError
from foreact.contract.layout import Layout, Sight, Stream, Target
from foreact.contract.stopwatch import SELECTION, lap
from foreact.couplings.frame_sequence import FrameSequence
from foreact.flow.inpainting import towards
from foreact.flow.masking import masked_mean
from foreact.flow.samplers import Levels, Solver, State, integrate
from foreact.flow.schedules import SigmaDensity, draw_sigma, sigmas
from foreact.flow.targets import interpolate, target, to_velocity
from foreact.flow.tiling import read
from foreact.nets.once import once
from foreact.selection.best_of import best_of, of_the_chosen

__all__ = ["LatentFrames"]


class LatentFrames(Coupling):
    """One sequence of latent frames; the action is some of them."""

    family = "Joint generation"
    persistent = False

    @dataclass(frozen=True, kw_only=True)
    class Config(Coupling.Config):
        """Offsets are control steps.

        written_tokens: tokens of a frame into which numbers are written; None for as many as the present image has.
        policy_share, world_model_share: of the samples; the rest are value samples.
        video_space: future frames, or their changes from the present.
        candidates: how many plans are made, of which the best by value is taken. scored_by: the value that was denoised with the
            plan, or one denoised anew in `value_steps`, given plan and imagined future; one step gives its mean.
        """

        inpaints = True
        horizon: int = 16
        future_offsets: tuple[int, ...] = (16,)
        written_tokens: int | None = None
        policy_share: float = 0.5
        world_model_share: float = 0.25
        target: Target = "sample"
        video_space: Literal["frames", "changes"] = "frames"
        video_weight: float = 1.0
        state_weight: float = 1.0
        value_weight: float = 1.0
        action_weight: float = 1.0
        density: SigmaDensity = "uniform"
        shift: float = 1.0
        steps: int = 4
        solver: Solver = "euler"
        candidates: int = 4
        scored_by: Literal["plan", "value"] = "value"
        value_steps: int = 1

        def __post_init__(self) -> None:
            super().__post_init__()
            if min(self.steps, self.horizon, self.candidates, self.value_steps) < 1:
                raise ConfigError("horizon, steps and candidates must be at least 1", where="model.coupling",
                                  found=f"horizon = {self.horizon}, steps = {self.steps}, candidates = {self.candidates}, "
                                        f"value_steps = {self.value_steps}")
            if self.policy_share <= 0 or self.world_model_share < 0 or self.policy_share + self.world_model_share > 1:
                raise ConfigError("shares are of the whole, and some samples teach the policy", where="model.coupling.policy_share",
                                  found=f"policy_share = {self.policy_share}, world_model_share = {self.world_model_share}",
                                  accepted="for instance 0.5 and 0.25, which leaves 0.25 for the value")

        def requires(self) -> frozenset[str]:
            return frozenset({"denoise"})

        def sequence(self, dimensions: Dimensions) -> FrameSequence:
            """The frames of the sequence; raises `ConfigError` where numbers do not fit into one."""
            return FrameSequence(dimensions, self.horizon, self.future_offsets, self.written_tokens, changes=self.video_space == "changes")

        def layout(self, dimensions: Dimensions) -> Layout:
            sequence = self.sequence(dimensions)
            return Layout(streams=(
                Stream(name="frame", channels=dimensions.view.channels, expert="video", positions=dimensions.view.positions(0.0)),
                Stream(name="sequence", channels=sequence.channels, expert="video", positions=sequence.positions, noise="sequence",
                       target=self.target, condition=sequence.beside.shape[1] + 1 + sequence.present_channels)),
                sees={"frame": (Sight("frame"),), "sequence": (Sight("frame"), Sight("sequence"))},
                holds={name: ("sequence", tuple(i for place in sequence.slices(name) for i in range(place.start, place.stop)))
                       for name in (*sequence.forms, "action")})

        def without_future(self) -> LatentFrames.Config:
            return replace(self, future_offsets=(), candidates=1)

    def __init__(self, config: Config, dimensions: Dimensions) -> None:
        super().__init__()
        self.config, self.dimensions, self.layout = config, dimensions, config.layout(dimensions)
        self.sequence = config.sequence(dimensions)
        self.futures = tuple(dimensions.forms) if config.future_offsets else ()

    def begin(self) -> Session | None:
        return None

    # --- training -----------------------------------------------------------------------------------------------------

    def losses(self, backbone: Backbone, encoded: Encoded, *, train: frozenset[str], generator: torch.Generator) -> dict[str, Tensor]:
        config, sequence, batch, device = self.config, self.sequence, encoded.batch, encoded.frame.device
        known = torch.ones(batch, dtype=torch.bool, device=device) if encoded.has_action is None else encoded.has_action
        known = known if "action" in train else torch.zeros_like(known)
        kind = self._kinds(batch, generator).to(device)
        kind = torch.where(known, kind, 0)  # without an action there is only the policy's kind, and its action is pure noise
        given = torch.stack([sequence.given(names, device) for names in self._given()])[kind]
        clean = self._clean(encoded, kind)
        level = draw_sigma(batch, generator, density=config.density, shift=config.shift).to(device)[:, None].expand(given.shape)
        level = torch.where(sequence.given(("action",), device) & ~known[:, None], 1.0, torch.where(given, 0.0, level))
        noise = torch.randn(clean.shape, generator=generator).to(device)
        noised = interpolate(clean, noise, level) * ~self._void(encoded)
        predicted = backbone({"frame": encoded.frame, "sequence": sequence.condition(noised, given, encoded.frame)}, self.layout,
                             sigma={"sequence": level}, **encoded.words)["sequence"]
        square = (predicted - target(config.target, clean, noise)).square() * ~given[..., None]
        keep = self._keep(encoded, known) * ~given[..., None]
        found = {}
        if self.futures:
            found["video"] = sum(weight * _mean(square, keep, sequence.places(names)) for names, weight in (
                (self.futures, config.video_weight), (("future state",), config.state_weight), (("value",), config.value_weight)))
        if "action" in train:
            found["action"] = config.action_weight * _mean(square, keep, sequence.places(("action",)))
        return found

    def _given(self) -> tuple[tuple[str, ...], ...]:
        """The frames that are given, by kind of sample: policy, world model, value."""
        return ("state",), ("state", "action"), ("state", "action", "future state", *self.futures)

    def _kinds(self, batch: int, generator: torch.Generator) -> Tensor:
        """Which kind each sample of a batch is of; without a future all are the policy's."""
        if not self.futures:
            return torch.zeros(batch, dtype=torch.long)
        place, first = torch.rand(batch, generator=generator), self.config.policy_share
        return (place >= first).long() + (place >= first + self.config.world_model_share).long()

    def _clean(self, encoded: Encoded, kind: Tensor) -> Tensor:
        """The sequence as it was: what follows an action follows the one that was carried out, what a policy learns was chosen."""
        executed = encoded.actions if encoded.executed is None else encoded.executed
        numbers = {"state": encoded.state, "action": torch.where((kind == 0)[:, None, None], encoded.actions, executed).flatten(1)}
        if self.futures:
            if encoded.value is None or encoded.future_state is None:
                raise SpecError("value and future proprioception are written as frames, and the windows lack one of them",
                                where="window.value", found="None", accepted="a dataset that says when an episode succeeds",
                                next_step="collect with success, or take coupling JointGeneration")
            numbers |= {"future state": encoded.future_state, "value": (2 * encoded.value - 1)[:, None]}
        return self.sequence.compose(numbers, encoded.future if self.futures else {}, encoded.frame)

    def _keep(self, encoded: Encoded, known: Tensor) -> Tensor:
        """Places that count, laid out as the sequence is: inside the episode, and actions that are known and worth following."""
        size = self.dimensions.action
        known = known if encoded.imitated is None else known & encoded.imitated
        action = (~encoded.action_is_pad & known[:, None])[..., None].expand(-1, -1, size).float()
        action = encoded.held(action).flatten(1)
        numbers, inside = {"state": torch.ones_like(encoded.state), "action": action}, None
        if self.futures:
            inside = ~encoded.future_is_pad
            numbers |= {"future state": _held(inside[..., None].expand(-1, -1, self.dimensions.state).float(), encoded.state_mask),
                        "value": inside.any(dim=1, keepdim=True).float()}
        return self.sequence.compose(numbers, {n: inside[..., None, None].float().expand(-1, -1, f.tokens, f.channels)
                                               for n, f in self.dimensions.forms.items()} if self.futures else {}, None)

    def _void(self, encoded: Encoded) -> Tensor:
        """Places in which stands an entry that this robot lacks, laid out as the sequence is: no network reads them."""
        if encoded.action_mask is None or encoded.state_mask is None:
            return torch.zeros(encoded.batch, *self.sequence.shape, dtype=torch.bool, device=encoded.frame.device)
        state = (~encoded.state_mask).float()
        numbers = {"state": state, "action": (~encoded.action_mask).float().repeat(1, self.config.horizon)}
        if self.futures:
            numbers["future state"] = state[:, None].expand(-1, len(self.config.future_offsets), -1)
        return self.sequence.compose(numbers, {}, None).bool()

    # --- sampling -----------------------------------------------------------------------------------------------------

    def propose(self, backbone: Backbone, encoded: Encoded, *, noise: Noise, session: Session | None = None) -> Proposal:
        count = self.config.candidates
        start = noise("sequence", (count, *self.sequence.shape)).flatten(0, 1)
        known = self.sequence.compose({"state": encoded.state}, {}, None).repeat_interleave(count, dim=0)
        cache = self._present(backbone, encoded, count)
        end = self._denoise(backbone, encoded, cache, start, known, ("state",), count, self.config.steps)
        actions = read(end[:, self.sequence.slice("action")], self._actions).unflatten(0, (-1, count))
        actions = actions.unflatten(-1, (self.config.horizon, -1))
        if not self.futures:
            return Proposal(actions=actions[:, 0])
        if self.config.scored_by == "value":
            anew = noise("value", (count, *self.sequence.shape)).flatten(0, 1)
            with lap(SELECTION):
                end = self._denoise(backbone, encoded, cache, anew, end, self._given()[2], count, self.config.value_steps)
        scores = (read(end[:, self.sequence.slice("value")], 1).view(-1, count) + 1) / 2
        candidates = best_of(actions, scores)
        futures = {n: x.unflatten(0, (-1, count)) for n, x in self._futures(end, encoded, count).items()}
        chosen = of_the_chosen({"value": scores, "action": actions, **futures}, candidates.chosen)
        return Proposal(actions=chosen["action"], future={n: chosen[n] for n in self.futures}, value=chosen["value"], candidates=candidates)

    def respond(self, backbone: Backbone, encoded: Encoded, actions: Tensor, *, noise: Noise) -> Mapping[str, Tensor]:
        """A world-model sample."""
        if not self.futures:
            return {}
        known = self.sequence.compose({"state": encoded.state, "action": actions.flatten(1)}, {}, None)
        end = self._denoise(backbone, encoded, self._present(backbone, encoded, 1), noise("sequence", self.sequence.shape), known,
                            self._given()[1], 1, self.config.steps)
        return self._futures(end, encoded, 1)

    @property
    def _actions(self) -> int:
        return self.config.horizon * self.dimensions.action

    def _futures(self, sequence: Tensor, encoded: Encoded, count: int) -> dict[str, Tensor]:
        frame = encoded.frame.repeat_interleave(count, dim=0)
        return {name: self.sequence.future(name, sequence, frame) for name in self.futures}

    def _present(self, backbone: Backbone, encoded: Encoded, count: int) -> Cache:
        """Keys and values of the present, which are the same for all candidates."""
        cache, single = backbone.new_cache(), encoded.one_of_each()
        backbone({"frame": single.frame}, self.layout, sigma={}, cache=cache, **single.words)
        return cache.repeated(count * encoded.copies)

    def _denoise(self, backbone: Backbone, encoded: Encoded, cache: Cache, start: Tensor, known: Tensor, given: Collection[str], count: int,
                 steps: int) -> Tensor:
        """The sequence denoised around what is given; `count` rows for each element of the batch, one after another."""
        frame = encoded.frame.repeat_interleave(count, dim=0)
        words = {name: once((self, name, count), x, lambda given: given.repeat_interleave(count, dim=0))
                 for name, x in encoded.words.items()} if count > 1 else encoded.words
        fixed, void = self.sequence.given(given, frame.device).expand(len(frame), -1), self._void(encoded).repeat_interleave(count, dim=0)

        def velocity(x: State, sigma: Levels) -> dict[str, Tensor]:
            value, level = x["sequence"], sigma["sequence"] * (~fixed).to(frame)
            cache.forget(("sequence",))
            seen = self._read(value, level, encoded, count) * ~void
            predicted = backbone({"sequence": self.sequence.condition(seen, fixed, frame)}, self.layout,
                                 sigma={"sequence": level}, cache=cache, **words)["sequence"]
            return {"sequence": to_velocity(self.config.target, predicted, value, level) * ~fixed[..., None]}

        x = torch.where(fixed[..., None], known, start)
        if "action" not in given:
            velocity = towards(velocity, "sequence", *self._committed(encoded, count))
        levels = sigmas(steps, shift=self.config.shift)
        return integrate(velocity, {"sequence": x}, levels, solver=self.config.solver)["sequence"]

    def _committed(self, encoded: Encoded, count: int) -> tuple[Tensor | None, Tensor | None]:
        """The actions that the plan is held to, and how much, written as the sequence is."""
        if encoded.committed is None:
            return None, None
        numbers = (encoded.committed, encoded.commitment.expand_as(encoded.committed))
        clean, weight = (self.sequence.compose({"action": x.flatten(1)}, {}, None).repeat_interleave(count, dim=0) for x in numbers)
        return clean, weight

    def _read(self, value: Tensor, level: Tensor, encoded: Encoded, count: int) -> Tensor:
        """The sequence as the action side may read it: futures through the reader, one candidate at a time."""
        whole = value.unflatten(0, (-1, count)).clone()
        levels = level.unflatten(0, (-1, count))
        for name in self.futures:
            places, channels = self.sequence.slices(name), self.dimensions.forms[name].channels
            for index in range(count):
                flat = torch.cat([whole[:, index, p, :channels] for p in places], dim=1)
                shown = encoded.reader.through(name, flat, levels[:, index, places[0].start])
                for p, part in zip(places, shown.chunk(len(places), dim=1), strict=True):
                    whole[:, index, p, :channels] = part
        return whole.flatten(0, 1)


def _mean(square: Tensor, keep: Tensor, places: Tensor) -> Tensor:
    """Mean over the places of some frames that count."""
    return masked_mean(square[:, places], keep[:, places])


def _held(values: Tensor, entries: Tensor | None) -> Tensor:
    """(batch, time, entry) with zero where the robot lacks the entry."""
    return values if entries is None else values * entries[:, None]
