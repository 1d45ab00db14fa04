"""The one place where substrate, backbone, coupling and regime meet.

`WorldActionModel.Config.check(...)` refuses a misfit, naming both sides and what would fit, before a weight is allocated.
Training walk: `losses(window)`. Control walk: `plan(context)`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from foreact import backbones, couplings, regimes, substrates  # noqa: F401  every member is known by name wherever a model is
from foreact.contract import agreement
from foreact.contract.axes import Backbone, Coupling, Dimensions, Encoded, Noise, Proposal, Reader, Regime, SeededNoise, Session, Substrate
from foreact.contract.config import Buildable, Config
from foreact.contract.context import Context, Cost, Future, Plan, Window
from foreact.contract.encoded import Branches
from foreact.contract.errors import ConfigError, SpecError
from foreact.contract.normalisation import FeatureStatistics, Scaler, ScalingMethod
from foreact.contract.specs import ActionSpec, ObservationSpec
from foreact.contract.stopwatch import ACTION, ENCODING, SELECTION, TOGETHER, lap
from foreact.contract.unified_actions import UNIFIED, Embodiment, embodiment_of
from foreact.nets.once import once_per_plan
from foreact.nets.overhearing import overheard
from foreact.nets.text import TextEncoder
from foreact.objectives.representation import Alignment, FirstPass
from foreact.objectives.temporal import TemporalConsistency
from foreact.selection.selectors import CameTrue, Drawn, Measures, Selector

__all__ = ["Part", "Through", "WorldActionModel"]

MAIN = "video"
Through = Callable[[str, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A further part of the future beside the main one, in a substrate of its own: a joint substrate of the survey."""

    name: str
    substrate: Substrate.Config


class WorldActionModel(nn.Module, Buildable):
    """A policy whose predicted future helps produce its action: p(s_{t+1:t+H}, a_{t:t+H-1} | o, a, l), equation 8."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Config):
        """`build(observation, action)` checks that the four parts fit, then allocates.

        beside: further parts of the future. view: what the present is seen through; None for the substrate itself, which must
        then be per frame. visual_state: features of the present that experts of the backbone look at by cross-attention, beside the
        tokens of the view; None for none. alignment, temporal: further losses, on hidden states. action_space: the robot's own entries,
        or the 128 that all robots share, so that no weight's shape depends on the robot; then embodiment says where this one's stand, None
        for the declared one that has its entries.
        """

        substrate: Substrate.Config
        backbone: Backbone.Config
        coupling: Coupling.Config
        regime: Regime.Config
        text: TextEncoder.Config
        beside: tuple[Part, ...] = ()
        view: Substrate.Config | None = None
        visual_state: Substrate.Config | None = None
        alignment: Alignment.Config | None = None
        temporal: TemporalConsistency.Config | None = None
        state_scaling: ScalingMethod = "mean-std"
        action_scaling: ScalingMethod = "mean-std"
        action_space: Literal["own", "unified"] = "own"
        embodiment: Embodiment | None = None

        @property
        def parts(self) -> dict[str, Substrate.Config]:
            """The substrate of each part of the future, the main one first."""
            return {MAIN: self.substrate} | {part.name: part.substrate for part in self.beside}

        @property
        def seen_through(self) -> Substrate.Config:
            """The substrate in which the present is seen."""
            return self.view or self.substrate

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            """Annotations that training reads, each once."""
            return tuple(dict.fromkeys(name for part in self._learnt_from for name in part.needs(observation)))

        @property
        def fold(self) -> int:
            """Frames up to each offset that training reads: as many as some substrate of the future folds into one time."""
            return max(type(part).owner.fold for part in self._learnt_from) if self.coupling.future_offsets else 1

        @property
        def _learnt_from(self) -> list[Substrate.Config]:
            return [*self.parts.values(), *([] if self.alignment is None else [self.alignment.teacher])]

        def robot(self, observation: ObservationSpec, action: ActionSpec) -> Embodiment | None:
            """Where this robot's entries stand in the unified space; None where the space is its own."""
            if self.action_space == "own":
                return None
            return self.embodiment or embodiment_of(observation, action)

        def dimensions(self, observation: ObservationSpec, action: ActionSpec) -> Dimensions:
            experts, robot = {}, self.robot(observation, action)
            if robot is not None:
                robot.state_slots(observation)  # refuses a state without slots before a weight is allocated
            for expert in ("video", "action"):
                try:
                    experts[expert] = self.backbone.hidden(expert)
                except KeyError:
                    continue
            return Dimensions(
                view=self.seen_through.form(observation), forms={name: part.form(observation) for name, part in self.parts.items()},
                in_view=frozenset(name for name, part in self.parts.items() if part == self.seen_through),
                state=observation.state.size if robot is None else UNIFIED, action=action.size if robot is None else UNIFIED,
                text=self.text.channels, hidden=experts, layers=self.backbone.layers(), observation=observation, actions=action,
                slots=None if robot is None else robot.action_slots(action))

        def check(self, observation: ObservationSpec, action: ActionSpec) -> None:
            """Raise `MisfitError` where two parts do not fit."""
            names = [MAIN, *(part.name for part in self.beside)]
            if len(set(names)) != len(names) or {"frame", "state", "action", "tap", "view"} & set(names):
                raise ConfigError("each part of the future has a name of its own", where="model.beside", found=names,
                                  accepted="names other than video, frame, state, action, tap and view")
            agreement.of_backbone(self.backbone, self.coupling)
            agreement.of_view(self.seen_through)
            agreement.of_visual_state(self.visual_state, self.backbone)
            agreement.of_regime(self.regime, self.coupling)
            agreement.of_mean(self.regime, action)
            agreement.of_codes(self.parts, self.coupling, observation)
            agreement.of_fold(self._learnt_from, self.coupling)
            dimensions = self.dimensions(observation, action)
            layout = self.coupling.layout(dimensions)
            if self.alignment is not None:
                agreement.of_alignment(self.alignment.stream, self.alignment.teacher, self.backbone, layout, dimensions,
                                       times=len(self.coupling.future_offsets))
            if self.temporal is not None:
                agreement.of_temporal(self.backbone, layout, times=len(self.coupling.future_offsets))

        def without_future(self) -> WorldActionModel.Config:
            """The no-future baseline of this model: everything equal, nothing predicted but the action.

            Where the future has a space of its own, only the one that the present is seen through is left.
            """
            return replace(self, coupling=self.coupling.without_future(), beside=(), substrate=self.seen_through, view=None,
                           alignment=None, temporal=None)

    def __init__(self, config: Config, observation: ObservationSpec, action: ActionSpec) -> None:
        config.check(observation, action)
        super().__init__()
        self.config, self.observation, self.action = config, observation, action
        self.running: Callable[[], AbstractContextManager[object]] = nullcontext  # around every plan: see `acting.execution`
        dimensions = config.dimensions(observation, action)
        self.substrate = config.substrate.build(observation)
        self.beside = nn.ModuleDict({part.name: part.substrate.build(observation) for part in config.beside})
        self.view = None if config.view is None else config.view.build(observation)
        own = config.visual_state not in (None, config.seen_through)
        self.visual_state = config.visual_state.build(observation) if own else None
        self.text = config.text.build()
        seen = {} if config.visual_state is None else {"visual_channels": config.visual_state.form(observation).channels}
        layout = config.coupling.layout(dimensions)
        self._lengths = {stream.name: stream.length for stream in layout.streams}
        self._places = {name: layout.where(name) for name in ("frame", *dimensions.forms)}
        self.backbone = config.backbone.build(layout, self.text.channels, **seen)
        self.coupling = config.coupling.build(dimensions)
        self.teacher, self.alignment = self._aligned(config, observation, dimensions)
        self.temporal = self._over_time(config, dimensions)
        self.regime = config.regime.build(config.coupling.horizon)
        self.regime.action = action
        robot = config.robot(observation, action)
        self.state_scaler = Scaler(dimensions.state, None if robot is None else robot.state_slots(observation))
        self.action_scaler = Scaler(dimensions.action, dimensions.slots)

    def _aligned(self, config: Config, observation: ObservationSpec, dimensions: Dimensions) -> tuple[Substrate | None, Alignment | None]:
        """The teacher and the projections onto it."""
        if config.alignment is None:
            return None, None
        expert = config.coupling.layout(dimensions)[self._places[config.alignment.stream][0]].expert
        form, teacher = agreement.aligned_form(config.alignment.stream, dimensions), config.alignment.teacher
        found = config.alignment.build(form, teacher.form(observation), dimensions.hidden[expert], dimensions.layers)
        return teacher.build(observation), found

    def _over_time(self, config: Config, dimensions: Dimensions) -> TemporalConsistency | None:
        """The projections of present and future into the space in which they are compared."""
        if config.temporal is None:
            return None
        layout = config.coupling.layout(dimensions)
        sizes = [(len(places) // times, dimensions.hidden[layout[stream].expert])
                 for (stream, places), times in ((self._places["frame"], 1), (self._places[MAIN], len(config.coupling.future_offsets)))]
        return config.temporal.build(dimensions.view, dimensions.forms[MAIN], *zip(*sizes, strict=True), dimensions.layers)

    @property
    def device(self) -> torch.device:
        return self.action_scaler.scale.device

    @property
    def parts(self) -> dict[str, Substrate]:
        """The substrate of each part of the future, the main one first."""
        return {MAIN: self.substrate, **self.beside}

    @property
    def eye(self) -> Substrate:
        """The substrate in which the present is seen."""
        return self.substrate if self.view is None else self.view

    @property
    def glance(self) -> Substrate | None:
        """The substrate of the visual state; the eye, where both are the same."""
        return self.eye if self.visual_state is None and self.config.visual_state is not None else self.visual_state

    @property
    def substrates(self) -> dict[str, Substrate]:
        """Everything that is fitted before the model and then frozen, by the name that its weights have."""
        found = {"substrate": self.substrate, **{f"beside.{name}": part for name, part in self.beside.items()}}
        further = {"view": self.view, "visual_state": self.visual_state, "teacher": self.teacher}
        return found | {name: substrate for name, substrate in further.items() if substrate is not None}

    def fit_normalisation(self, state: FeatureStatistics, action: FeatureStatistics) -> None:
        self.state_scaler.fit(state, self.config.state_scaling)
        self.action_scaler.fit(action, self.config.action_scaling)

    def parameters_to_train(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Named parameters outside the substrates, which are learnt before and then frozen."""
        frozen = tuple(f"{name}." for name in self.substrates)
        return ((n, p) for n, p in self.named_parameters() if p.requires_grad and not n.startswith(frozen))

    # --- training -----------------------------------------------------------------------------------------------------

    def losses(self, window: Window, *, train: frozenset[str], generator: torch.Generator) -> dict[str, Tensor]:
        """One scalar loss per stream that this stage trains; their weighted sum is what is minimised.

        Where hidden states are aligned, or asked to be consistent over time, "alignment" and "temporal" are among them whenever
        video is trained.
        """
        encoded = self.encode_window(window)
        if (self.alignment is None and self.temporal is None) or "video" not in train:
            return self.coupling.losses(self.backbone, encoded, train=train, generator=generator)
        wanted = {} if self.temporal is None else dict.fromkeys(("frame", MAIN), self.temporal.layers)
        if self.alignment is not None:
            aligned = self.alignment.config.stream
            wanted[aligned] = (*wanted.get(aligned, ()), *self.alignment.layers)
        heard = FirstPass({self._places[part][0]: self._lengths[self._places[part][0]] for part in wanted},
                          (layer for layers in wanted.values() for layer in layers))
        with overheard(self.backbone, heard.tap):
            found = dict(self.coupling.losses(self.backbone, encoded, train=train, generator=generator))
        inside = encoded.future_is_pad.logical_not()
        if self.alignment is not None:
            keep = inside if aligned != "frame" else inside.new_ones(encoded.batch, 1)
            states = heard.states(*self._places[aligned], self.alignment.layers)
            found["alignment"] = self.alignment(states, self._taught(window, aligned), keep)
        if self.temporal is not None:
            now, later = (heard.states(*self._places[part], self.temporal.layers) for part in ("frame", MAIN))
            found["temporal"] = self.temporal(now, later, inside)
        return found

    def _taught(self, window: Window, stream: str) -> Tensor:
        """The teacher's features of the frames of the stream, (batch, time, places, features)."""
        stored = window.encoded.get("teacher_of_present" if stream == "frame" else "teacher")
        if stored is not None:
            return stored.float()
        if stream == "frame":
            return self.teacher.encode(window.context.scene.at(slice(-1, None)))
        return self.teacher.encode(window.scene_for(self.teacher.fold))[:, 1:]

    def encode_window(self, window: Window, *, through: Through | None = None) -> Encoded:
        """A window in the model's own units. `through`: see `plan`."""
        stored = window.encoded
        history = stored["view"].float() if "view" in stored else self.eye.encode(window.context.scene)
        future = {}
        if window.future_offsets:
            future = {name: stored[name].float() if name in stored else part.encode(window.scene_for(part.fold))[:, 1:]
                      for name, part in self.parts.items()}
        executed = window.actions if window.executed is None else window.executed
        return replace(
            self._encode_context(window.context, history, stored.get("visual_state"), through),
            future=future, future_is_pad=window.future_is_pad,
            future_state=None if window.future_state is None else self.state_scaler(window.future_state),
            actions=self.action_scaler(window.actions), executed=self.action_scaler(executed), action_is_pad=window.action_is_pad,
            has_action=window.has_action, value=window.value, imitated=window.imitated, extras=window.extras)

    def _visual(self, context: Context, history: Tensor, stored: Tensor | None) -> Tensor | None:
        """Features of the present, (batch, places, features), where the model has them."""
        if self.glance is None or (stored is None and self.glance is self.eye):
            return None if self.glance is None else history[:, -1]
        return (self.glance.encode(context.scene.at(slice(-1, None))) if stored is None else stored.float())[:, -1]

    def _encode_context(self, context: Context, history: Tensor, visual: Tensor | None, through: Through | None) -> Encoded:
        text, text_mask = self.text(context.instruction, device=self.device)
        states = self.state_scaler(context.state)
        past, parts = context.past_actions, self.parts
        masks = (scaler.used for scaler in (self.action_scaler, self.state_scaler))
        action_mask, state_mask = (None if used is None else used.expand(context.batch, -1) for used in masks)
        plain = Reader(expose=lambda name, values: parts[name].expose(values))
        return Encoded(
            frame=history[:, -1], history=history, state=states[:, -1], states=states, text=text, text_mask=text_mask,
            raw_state=context.state[:, -1], visual_state=self._visual(context, history, visual), history_is_pad=context.history_is_pad,
            past_actions=None if past is None else self.action_scaler(past), past_is_pad=context.past_is_pad,
            bounds=self.action_scaler(states.new_tensor([self.action.low, self.action.high])).expand(context.batch, -1, -1),
            action_mask=action_mask, state_mask=state_mask,
            committed=None if context.committed is None else self.action_scaler(context.committed),
            commitment=None if context.commitment is None else context.commitment[..., None],
            reader=plain if through is None else replace(plain, through=through))

    # --- control ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def plan(self, context: Context, *, noise: Noise | None = None, session: Session | None = None, through: Through | None = None,
             selector: Selector | None = None, came_true: CameTrue | None = None) -> Plan:
        """Propose a plan for each batch element; raises `SpecError` where the context is not what was trained on.

        noise: by default seeded with 0 for every element; pass `SeededNoise(seeds)` for independent draws.
        session: the memory of the one episode that the context is of, from `coupling.begin()`.
        through: what stands between the imagined future and the action, for a diagnosis; see `Reader`.
        selector: chooses among several candidates, of which the first is the plan without it. came_true: see `Measures`.
        """
        context.check(self.observation)
        self._require_committable(context)
        start, noise = time.perf_counter(), noise or SeededNoise([0] * context.batch, self.device)
        with self.running(), once_per_plan(), self._counting() as evaluations:
            context = context.to(self.device)
            with lap(ENCODING):
                encoded = self._encode_context(context, self.eye.encode(context.scene), None, through)
            if selector is None:
                proposal = self._proposed(encoded, session, noise)
            else:
                proposal = self._selected(encoded, session, noise, selector, came_true)
        future = None
        if proposal.future:
            future = Future(parts=proposal.future, offsets=self.config.coupling.future_offsets,
                            substrates={name: type(self.parts[name]).__name__ for name in proposal.future})
        return Plan(actions=proposal.actions, future=future, value=proposal.value, candidates=proposal.candidates,
                    cost=Cost(evaluations=dict(evaluations), seconds=time.perf_counter() - start))

    def _require_committable(self, context: Context) -> None:
        """Raise `SpecError` where a plan cannot be held to what is committed."""
        held, wanted = context.committed, (context.batch, self.config.coupling.horizon, self.action.size)
        if held is not None and not (self.config.coupling.inpaints and context.commitment is not None and held.shape == wanted):
            raise SpecError("this plan cannot be held to the committed actions", where="context.committed",
                            found=f"{tuple(held.shape)}; coupling {type(self.coupling).__name__}",
                            accepted=f"{wanted} with a commitment for each step, and a coupling that denoises its actions")

    def _proposed(self, encoded: Encoded, session: Session | None, noise: Noise) -> Proposal:
        """What the coupling samples, with actions in the units of the robot."""
        with lap(TOGETHER) as work:  # but for what the coupling knows to tell apart
            found = self.coupling.propose(self.backbone, encoded, session=session, noise=noise)
            work.name = TOGETHER if found.future else ACTION
        unscaled, every = self.action_scaler.inverse, found.candidates
        every = None if every is None else replace(every, actions=unscaled(every.actions.float()))
        return replace(found, actions=unscaled(found.actions.float()), candidates=every)

    @lap(SELECTION)
    def _selected(self, encoded: Encoded, session: Session | None, noise: Noise, selector: Selector,
                  came_true: CameTrue | None) -> Proposal:
        """The same of the chosen one among several candidates, which share all that does not depend on noise."""
        def draw(count: int) -> Drawn:
            branches = Branches(noise, count)
            found = self._proposed(encoded.repeated(count), session, branches)
            if count > 1 and not branches.asked:
                raise ConfigError("nothing in this model's plans is left to chance, so all candidates are equal", where="selector",
                                  found=type(self.coupling).__name__, accepted="a model that draws its future or its actions",
                                  next_step="selector=null")
            return Drawn(actions=found.actions.unflatten(0, (-1, count)),
                         value=None if found.value is None else found.value.unflatten(0, (-1, count)),
                         future={name: x.unflatten(0, (-1, count)) for name, x in found.future.items()})

        found = selector.select(draw, Measures(futures=self._apart, actions=self._actions_apart, noise=noise, spec=self.action,
                                               came_true=came_true))
        return Proposal(actions=found.actions, future=found.future, value=found.value, candidates=found.candidates)

    def _apart(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Tensor:
        """The distance of futures, (batch, candidate): each part's in its own substrate, averaged over frames and parts."""
        found = []
        for name in one:
            a, b = torch.broadcast_tensors(one[name], other[name])
            found.append(self.parts[name].distance(a.flatten(0, 1), b.flatten(0, 1)).mean(dim=1).unflatten(0, a.shape[:2]))
        return torch.stack(found).mean(dim=0)

    def _actions_apart(self, one: Tensor, other: Tensor) -> Tensor:
        """Mean square over the steps and the robot's entries, (batch, candidate), in the model's units of action."""
        square = (self.action_scaler(one) - self.action_scaler(other)).square()
        return square.sum(dim=-1).mean(dim=-1) / self.action.size

    @contextmanager
    def _counting(self) -> Iterator[Mapping[str, int]]:
        """Count the evaluations of each network while the block runs: measured, not declared."""
        counts: Counter[str] = Counter()

        parts = {"backbone": self.backbone, **{f"coupling.{n}": m for n, m in self.coupling.named_children()}}
        handles = [part.register_forward_pre_hook(lambda *_, name=name: counts.update([name])) for name, part in parts.items()]
        try:
            yield counts
        finally:
            for handle in handles:
                handle.remove()
