"""The four axes as abstract classes: substrate, backbone, coupling, regime.

A World Action Model is a 4-tuple over them (survey, equation 37). Each member declares its place in the survey's words
as class attributes, and what it requires of the others, so that a misfit is refused before a weight is allocated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from foreact.contract.config import Buildable, Config
from foreact.contract.errors import ConfigError
from foreact.contract.layout import Layout, Position
from foreact.contract.specs import ObservationSpec

__all__ = ["Backbone", "Cache", "Coupling", "Dimensions", "Encoded", "Memory", "Noise", "Proposal", "Regime", "SeededNoise",
           "Substrate", "SubstrateForm"]


# --- axis 1 -----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True, kw_only=True)
class SubstrateForm:
    """The form of one frame in a substrate: tokens of `channels` numbers on a (camera, row, column) grid."""

    grid: tuple[int, int, int]
    channels: int

    @property
    def tokens(self) -> int:
        cameras, rows, columns = self.grid
        return cameras * rows * columns

    def positions(self, time: float) -> tuple[Position, ...]:
        """(time, row, column) of each token of one frame; the cameras lie side by side."""
        cameras, rows, columns = self.grid
        return tuple((time, float(row), float(column + camera * columns))
                     for camera in range(cameras) for row in range(rows) for column in range(columns))


class Substrate(nn.Module, Buildable, ABC):
    """Where the future lives: phi maps observations to the space S (survey, section 4.2)."""

    kind: ClassVar[str]
    """The survey's word: "Pixel (decoded)", "Pixel (latent)", "Feature (teacher)", ..."""
    decodable: ClassVar[bool]
    """Whether `decode` gives images back."""

    class Config(Config):
        """`build(observation)` makes the substrate for these cameras."""

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            """The form of its frames, known before anything is allocated."""
            raise NotImplementedError

    form: SubstrateForm

    @abstractmethod
    def encode(self, images: Mapping[str, UInt8[Tensor, "batch time 3 height width"]]) -> Float[Tensor, "batch time tokens channels"]:
        """phi: images of every camera to about unit-variance tokens, camera-major. No gradient flows into the substrate."""

    @abstractmethod
    def decode(self, values: Float[Tensor, "batch time tokens channels"]) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        """The images that `values` stand for; raises `SpecError` where the substrate has no decoder."""

    @abstractmethod
    def fit(self, batches: Iterable[Mapping[str, UInt8[Tensor, "batch 3 height width"]]], *, steps: int, seed: int) -> dict[str, float]:
        """Learn the substrate from frames alone, before and apart from the model; returns what was measured.

        A substrate that comes trained returns an empty mapping and reads nothing.
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


class Backbone(nn.Module, Buildable, ABC):
    """What predicts the future: takes streams under a layout, gives a prediction for each stream that has a target."""

    family: ClassVar[Literal["Diffusion", "Autoregressive", "Joint-embedding", "Hybrid", "LLM/VLM"]]
    provides: ClassVar[frozenset[str]]
    """What couplings may rely on: "denoise" (conditioned on a noise level), "deterministic", "experts" (several)."""

    class Config(Config):
        """`build(layout, text_channels)` allocates for the streams and experts of that layout."""

    @abstractmethod
    def forward(self, inputs: Mapping[str, Float[Tensor, "batch _ _"]], layout: Layout, *,
                sigma: Mapping[str, Float[Tensor, " batch"]], text: Float[Tensor, "batch words width"],
                text_mask: Bool[Tensor, "batch words"], cache: Cache | None = None) -> dict[str, Float[Tensor, "batch _ _"]]:
        """Run the streams in `inputs`; a stream that they see must be among them or in `cache`.

        sigma: one noise level per stream name; a stream that is absent is clean (sigma = 0).
        With a cache, the keys and values of the streams run now are added to it.
        """

    @abstractmethod
    def new_cache(self) -> Cache:
        """An empty cache for one control step."""


# --- axis 3 -----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True, kw_only=True)
class Dimensions:
    """The sizes that a coupling needs to lay out its streams; `text` is the width of a token of the instruction."""

    form: SubstrateForm
    state: int
    action: int
    text: int


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A window in the model's own units: what couplings work on.

    frame: the present in the substrate; future: s at the coupling's offsets (training only).
    state, actions: normalised. Pads mark entries past the end of the episode, which no loss may count.
    """

    frame: Float[Tensor, "batch tokens channels"]
    state: Float[Tensor, "batch state"]
    text: Float[Tensor, "batch words width"]
    text_mask: Bool[Tensor, "batch words"]
    future: Float[Tensor, "batch time tokens channels"] | None = None
    future_is_pad: Bool[Tensor, "batch time"] | None = None
    actions: Float[Tensor, "batch horizon action"] | None = None
    action_is_pad: Bool[Tensor, "batch horizon"] | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def batch(self) -> int:
        return self.state.shape[0]


class Noise(Protocol):
    """Where sampling gets its randomness: `noise("video", (96, 48))` gives (batch, 96, 48)."""

    def __call__(self, name: str, shape: tuple[int, ...]) -> Tensor: ...


class SeededNoise:
    """Noise of each batch element from its own seed, so that what shares its batch never changes a result."""

    def __init__(self, seeds: Iterable[int], device: torch.device | str = "cpu") -> None:
        self._seeds, self._device = tuple(seeds), device

    def __call__(self, name: str, shape: tuple[int, ...]) -> Tensor:
        rows = []
        for seed in self._seeds:
            words = np.random.SeedSequence([seed, *name.encode()]).generate_state(2)
            g = torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))
            rows.append(torch.randn(shape, generator=g))
        return torch.stack(rows).to(self._device)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a coupling samples, in the model's own units: the plan before it is given back its units."""

    actions: Float[Tensor, "batch horizon action"]
    future: Float[Tensor, "batch time tokens channels"] | None = None
    value: Float[Tensor, " batch"] | None = None


class Coupling(nn.Module, Buildable, ABC):
    """How action enters and leaves (survey, section 4.3): lays out streams, trains them, samples them in order."""

    family: ClassVar[Literal["Joint generation", "Post-prediction head", "Cond. rollout"]]
    requires: ClassVar[frozenset[str]]
    """What the backbone must provide."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Config):
        """`build(dimensions)`; `horizon` action steps, futures at `future_offsets` control steps."""

        horizon: int
        future_offsets: tuple[int, ...]

        def __post_init__(self) -> None:
            if any(b <= a for a, b in pairwise((0, *self.future_offsets))):
                raise ConfigError("future offsets must rise from above zero", where="model.coupling.future_offsets",
                                  found=self.future_offsets, accepted="for instance (8, 16)")

        def layout(self, dimensions: Dimensions) -> Layout:
            """The streams, as plain data."""
            raise NotImplementedError

        def without_future(self) -> Any:
            """The no-future baseline: the same coupling and size, trained and run without predicting anything but action."""
            raise NotImplementedError

    config: Config

    @abstractmethod
    def losses(self, backbone: Backbone, encoded: Encoded, *, train: frozenset[str], generator: torch.Generator) -> dict[str, Tensor]:
        """One scalar per trained stream; `train` names the streams that this stage trains ("video", "action", ...)."""

    @abstractmethod
    def propose(self, backbone: Backbone, encoded: Encoded, *, noise: Noise) -> Proposal:
        """Sample a future and an action chunk for each batch element."""


# --- axis 4 -----------------------------------------------------------------------------------------------------------

@dataclass
class Memory:
    """What a regime keeps for one episode."""

    queue: list[Float[np.ndarray, " action"]] = field(default_factory=list)
    steps: int = 0
    calls: int = 0
    since_call: int = 0


class Regime(Buildable, ABC):
    """When the model is called, and with what memory (survey, section 4.5)."""

    name: ClassVar[Literal["Open-loop", "Chunked", "Single-step", "Interactive"]]

    class Config(Config):
        """`build(horizon)`; `check` refuses a horizon that this regime cannot use."""

        def check(self, horizon: int) -> None:
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
