"""The four axes as abstract classes: substrate, backbone, coupling, regime.

A World Action Model is a 4-tuple over them (survey, equation 37). Each member declares its place in the survey's words
as class attributes, and what it requires of the others, so that a misfit is refused before a weight is allocated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self

import numpy as np
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from foreact.contract.config import Buildable, Config
from foreact.contract.context import Scene
from foreact.contract.encoded import Dimensions, Encoded, Noise, Proposal, Reader, SeededNoise, SubstrateForm
from foreact.contract.errors import ConfigError
from foreact.contract.layout import Layout
from foreact.contract.specs import ActionSpec, ObservationSpec

__all__ = ["Backbone", "Cache", "Chunk", "Coupling", "Dimensions", "Encoded", "Memory", "Noise", "Proposal", "Reader", "Regime",
           "RollingCache", "SeededNoise", "Session", "Substrate", "SubstrateForm", "Tap"]


# --- axis 1 -----------------------------------------------------------------------------------------------------------

class Substrate(nn.Module, Buildable, ABC):
    """Where the future lives: phi maps observations to the space S (survey, section 4.2)."""

    kind: ClassVar[str]
    """The survey's word: "Pixel (decoded)", "Pixel (latent)", "Feature (teacher)", "Geometric", "Affordance", "Audio (latent)"."""
    decodable: ClassVar[bool]
    """Whether a fixed decoder maps values back to the observation: the survey's line between pixels and features."""
    watchable: ClassVar[bool]
    """Whether `decode` gives pictures for people: of the observation itself, or drawn over the present."""
    per_frame: ClassVar[bool]
    """Whether a frame's values depend on that frame's images alone; then they are stored once per frame, and the substrate can
    also be what the model sees the present through."""
    fold: ClassVar[int] = 1
    """Frames of a scene that become one time: with 4, a scene has the present and then four frames for each time of the future, of which
    the last is at its offset."""

    class Config(Config):
        """`build(observation)` makes the substrate for these cameras."""

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            """The form of its frames, known before anything is allocated."""
            raise NotImplementedError

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            """Annotations of the dataset from which the true future is made, such as "segmentation.scene"; only training has them."""
            raise NotImplementedError

    form: SubstrateForm

    @abstractmethod
    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        """phi: what was seen, to about unit-variance tokens, camera-major. No gradient flows into the substrate.

        Time 0 of the scene is the present and the others are the future; a substrate that is not per frame measures them
        from the present (displacements since then, say) and gives zeros at time 0. One that folds frames is given `fold` of them for
        each time of the future and gives the present by itself at time 0.
        """

    @abstractmethod
    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        """What the action side reads of a predicted future: the values themselves, or what a decoder makes of them."""

    @abstractmethod
    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        """Pictures of `values` as a person would look at them; raises `SpecError` where there are none."""

    @abstractmethod
    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        """Learn the substrate from scenes alone, before and apart from the model; returns what was measured.

        Scenes hold one time where the substrate is per frame, else the present and the future. A substrate that comes
        trained returns an empty mapping and reads nothing.
        """

    def distance(self, predicted: Float[Tensor, "batch time tokens channels"], true: Float[Tensor, "batch time tokens channels"],
                 ) -> Float[Tensor, "batch time"]:
        """Mean square over tokens and channels, in the substrate's own units."""
        return (predicted.float() - true.float()).square().mean(dim=(-2, -1))


# --- axis 2 -----------------------------------------------------------------------------------------------------------

class Cache(ABC):
    """Keys and values of streams already run, so that streams run later can see them without running them again."""

    @abstractmethod
    def forget(self, streams: Iterable[str]) -> None:
        """Drop these streams, as when their noise level has changed."""

    @abstractmethod
    def repeated(self, count: int) -> Self:
        """A copy in which every batch element stands `count` times in a row, for that many candidates of its."""


class RollingCache(Cache):
    """A cache that moves along with time: what backbones that provide "rolling" give."""

    @property
    @abstractmethod
    def tokens(self) -> int:
        """How many tokens it holds."""

    @abstractmethod
    def append(self, newer: Cache, *, by: float = 0.0, keep: Mapping[str, int] | None = None) -> None:
        """Move what is held `by` units of time into the past, put the streams of `newer` behind it, and of each stream named in
        `keep` hold only so many of the newest tokens."""


class Tap:
    """Asks a backbone for hidden states: of which streams, after which layers (counted from 1; the last is the depth).

    through: what the states become for the layers that follow, where a diagnosis stands inside the network; identity if None.
    taken: is called with (stream, layer, states) in place of keeping them.
    beside: another tap that is served as well, and before this one: a diagnosis listens without taking the place of the coupling's.
    """

    def __init__(self, streams: Iterable[str], layers: Iterable[int], through: Callable[[Tensor], Tensor] | None = None,
                 beside: Tap | None = None, taken: Callable[[str, int, Tensor], None] | None = None) -> None:
        self.streams, self.layers, self.through, self.beside, self.taken = tuple(streams), tuple(layers), through, beside, taken
        self.states: dict[tuple[str, int], Float[Tensor, "batch tokens width"]] = {}

    def take(self, layer: int, states: Mapping[str, Tensor]) -> None:
        """Called by the backbone after each of its layers, with what the next one sees."""
        if self.beside is not None:
            self.beside.take(layer, states)
        for name in self.streams if layer in self.layers else ():
            if name in states and self.taken is not None:
                self.taken(name, layer, states[name])
            elif name in states:
                self.states[name, layer] = states[name]

    def give(self, layer: int, states: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The states with which a backbone that provides "embed" goes on."""
        states = dict(states) if self.beside is None else self.beside.give(layer, states)
        if self.through is None or layer not in self.layers:
            return states
        return {name: self.through(x) if name in self.streams else x for name, x in states.items()}


class Backbone(nn.Module, Buildable, ABC):
    """What predicts the future: takes streams under a layout, gives a prediction for each stream that has a target."""

    family: ClassVar[Literal["Diffusion", "Autoregressive", "Joint-embedding", "Hybrid", "LLM/VLM"]]
    provides: ClassVar[frozenset[str]]
    """What couplings may rely on: "denoise" (conditioned on a noise level), "deterministic", "causal" (a cache over time),
    "queries" (a stream with `query` is asked for by learnt tokens, in one pass; its cache can be repeated over candidates),
    "rolling" (a `RollingCache`), "experts" (several widths), "taps", "embed" (queries
    that leave a prediction on the way)."""

    class Config(Config):
        """`build(layout, text_channels)` allocates for the streams and experts of that layout."""

        def hidden(self, expert: str) -> int:
            """The width of the hidden states of streams in `expert`: what a tap gives."""
            raise NotImplementedError

        def layers(self) -> int:
            """How many layers can be tapped."""
            raise NotImplementedError

    @abstractmethod
    def forward(self, inputs: Mapping[str, Float[Tensor, "batch _ _"]], layout: Layout, *,
                sigma: Mapping[str, Float[Tensor, "batch *token"]], text: Float[Tensor, "batch words width"],
                text_mask: Bool[Tensor, "batch words"], cache: Cache | None = None, tap: Tap | None = None,
                ) -> dict[str, Float[Tensor, "batch _ _"]]:
        """Run the streams in `inputs`; a stream that they see must be among them or in `cache`.

        sigma: per stream name one noise level, or one per token; a stream that is absent is clean (sigma = 0).
        With a cache, the keys and values of the streams run now are added to it.
        """

    @abstractmethod
    def new_cache(self) -> Cache:
        """An empty cache for one control step."""


# --- axis 3 -----------------------------------------------------------------------------------------------------------

class Session(ABC):
    """What a coupling remembers of one episode between its calls (survey, equation 36: the state M(t))."""

    @property
    @abstractmethod
    def tokens(self) -> int:
        """How many tokens are held: what must stay bounded."""


class Coupling(nn.Module, Buildable, ABC):
    """How action enters and leaves (survey, section 4.3): lays out streams, trains them, samples them in order."""

    family: ClassVar[Literal["Joint generation", "Post-prediction head", "Cond. rollout"]]
    persistent: ClassVar[bool]
    """Whether it can carry a `Session` through an episode."""
    discrete: ClassVar[bool] = False
    """Whether it can learn and draw futures that are codes (`SubstrateForm.discrete`)."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Config):
        """`build(dimensions)`; `horizon` action steps, futures at `future_offsets` control steps.

        history: observations up to the present that are seen, `history_stride` control steps apart, which must be how often
            the regime calls. past_actions: executed actions before the present that are seen.
        """

        inpaints: ClassVar[bool] = False
        """Whether its actions are denoised, so that a plan can be held to those that are committed, `Encoded.committed`."""
        horizon: int
        future_offsets: tuple[int, ...]
        history: int = 1
        history_stride: int = 1
        past_actions: int = 0

        def __post_init__(self) -> None:
            if any(b <= a for a, b in pairwise((0, *self.future_offsets))):
                raise ConfigError("future offsets must rise from above zero", where="model.coupling.future_offsets",
                                  found=self.future_offsets, accepted="for instance (8, 16)")
            if self.history < 1 or self.history_stride < 1 or self.past_actions < 0:
                raise ConfigError("a history has at least the present in it", where="model.coupling.history",
                                  found=f"history = {self.history}, history_stride = {self.history_stride}, "
                                        f"past_actions = {self.past_actions}")

        def requires(self) -> frozenset[str]:
            """What the backbone must provide."""
            raise NotImplementedError

        def layout(self, dimensions: Dimensions) -> Layout:
            """The streams, as plain data."""
            raise NotImplementedError

        def without_future(self) -> Any:
            """The no-future baseline: the same coupling and size, trained and run without predicting anything but action."""
            raise NotImplementedError

    config: Config

    @abstractmethod
    def losses(self, backbone: Backbone, encoded: Encoded, *, train: frozenset[str], generator: torch.Generator) -> dict[str, Tensor]:
        """One scalar per trained stream; `train` says which sides this stage trains: "video" (all futures), "action"."""

    @abstractmethod
    def propose(self, backbone: Backbone, encoded: Encoded, *, noise: Noise, session: Session | None = None) -> Proposal:
        """Sample a future and an action chunk for each batch element; with a session, for the one episode that it is of."""

    @abstractmethod
    def respond(self, backbone: Backbone, encoded: Encoded, actions: Float[Tensor, "batch horizon action"], *, noise: Noise,
                ) -> Mapping[str, Float[Tensor, "batch time _ _"]]:
        """The futures that follow from these actions, by stream name; empty where they are not predicted from given actions."""

    @abstractmethod
    def begin(self) -> Session | None:
        """The memory of a new episode, or None where the coupling has none."""


# --- axis 4 -----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A plan that is still in use, and how many control steps ago its observation was taken."""

    actions: Float[np.ndarray, "horizon action"]
    age: int


@dataclass
class Memory:
    """What a regime keeps for one episode.

    queue: the actions to come. since_call: steps since the observation of the newest plan at hand. waited: steps since the observation of
    a plan that is being made; 0 where none is, or where it was made at once. committed: actions of the queue that will be over when the
    plan that is asked for comes, where the plan is held to them. chunks: plans that are mixed, oldest first, where they are. value: what
    the model expects of the plan that is received next, told before it is, None where it says nothing; value_before: of the one before.
    """

    queue: list[Float[np.ndarray, " action"]] = field(default_factory=list)
    steps: int = 0
    calls: int = 0
    since_call: int = 0
    waited: int = 0
    committed: int = 0
    chunks: list[Chunk] = field(default_factory=list)
    value: float | None = None
    value_before: float | None = None

    def tick(self) -> None:
        """A control step passes."""
        self.steps, self.since_call = self.steps + 1, self.since_call + 1


class Regime(Buildable, ABC):
    """When the model is called, and with what memory (survey, section 4.5)."""

    name: ClassVar[Literal["Open-loop", "Chunked", "Single-step", "Interactive"]]
    persistent: ClassVar[bool]
    """Whether it carries a coupling's session from call to call."""
    concurrent: ClassVar[bool] = False
    """Whether it goes on acting on its queue while a plan is being made; `receive` then finds in `waited` how many steps that took."""
    averages: ClassVar[bool] = False
    """Whether it hands out means of planned actions, which actions must bear."""
    by_value: ClassVar[bool] = False
    """Whether it goes by the value of each plan, which the model must then give."""
    action: ActionSpec | None = None
    """What its actions mean, told by the model; None where nobody did."""

    class Config(Config):
        """`build(horizon)`; `check` refuses a horizon that this regime cannot use."""

        inpaints: ClassVar[bool] = False
        """Whether actions that will be executed while a plan is made are given to the model as a condition."""

        def check(self, horizon: int) -> None:
            raise NotImplementedError

        def period(self) -> int | None:
            """Control steps from call to call, or None where there is one call only."""
            raise NotImplementedError

    @abstractmethod
    def due(self, memory: Memory) -> bool:
        """Whether a plan is needed before the next action."""

    @abstractmethod
    def receive(self, memory: Memory, actions: Float[np.ndarray, "horizon action"]) -> None:
        """Take in a new plan."""

    @abstractmethod
    def act(self, memory: Memory) -> Float[np.ndarray, " action"]:
        """The next action; advances the memory by one control step."""
