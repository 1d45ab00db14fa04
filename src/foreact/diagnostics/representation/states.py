"""Hidden states while a model acts: of one stream, after some layers, at one of its evaluations.

The model plans as it would act, each observation with noise of its own, and is stopped as soon as the states are there. A stream that
is denoised is evaluated several times: the first is at the highest noise level, where most recipes that act from hidden states read
them. The noise level is told as the backbone was told it, not as anybody declares it. Frames may be only some tokens of a stream
(`Layout.holds`); the tokens of a frame are camera-major.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foreact.contract import agreement
from foreact.contract.axes import SeededNoise, Tap
from foreact.contract.context import Context
from foreact.contract.errors import ConfigError, MisfitError, nearest
from foreact.contract.progress import meter
from foreact.model import WorldActionModel
from foreact.nets.overhearing import overheard

__all__ = ["States", "acted_on", "layers_shown", "states_of"]


@dataclass(frozen=True, kw_only=True)
class States:
    """by_layer: of one frame of the stream. grid: cameras, rows, columns. sigma: the noise level of the frame at that evaluation."""

    by_layer: dict[int, Float[np.ndarray, "samples tokens width"]]
    grid: tuple[int, int, int]
    sigma: float


class _Heard(Exception):
    """The states are there; the rest of the plan need not be made."""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a frame lies: the stream and its whole length, and which of its tokens; grid: cameras, rows, columns."""

    stream: str
    length: int
    tokens: tuple[int, ...]
    first: bool
    grid: tuple[int, int, int]


class _Ear:
    """Keeps the states of a frame the `evaluation`-th time (from 1) that the backbone runs its stream, then ends the plan."""

    def __init__(self, place: _Place, layers: Sequence[int], evaluation: int) -> None:
        self.place, self.evaluation, self.count = place, evaluation, 0
        self.states: dict[int, Tensor] = {}
        self.sigma = 0.0
        self._layers = tuple(sorted(layers))
        self.tap = Tap((place.stream,), self._layers, taken=self._take)

    def before(self, module: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        inputs = arguments[0] if arguments else options["inputs"]
        if self.place.stream in inputs:
            self.count += 1
            level = options["sigma"].get(self.place.stream)
            if level is not None and self.count == self.evaluation:
                self.sigma = float((level if level.ndim == 1 or level.shape[1] == 1 else self._own(level)).float().mean())

    def _take(self, stream: str, layer: int, states: Tensor) -> None:
        if self.count == self.evaluation:
            self.states[layer] = self._own(states)
            if layer == self._layers[-1]:
                raise _Heard

    def _own(self, tokens: Tensor) -> Tensor:
        """The frame's tokens; a pass may hold all of the stream, or the first frame alone."""
        if tokens.shape[1] == self.place.length:
            return tokens[:, list(self.place.tokens)]
        if tokens.shape[1] == len(self.place.tokens) and self.place.first and self.evaluation == 1:
            return tokens
        raise MisfitError("this model makes its future frame by frame", where="time", found=f"{tokens.shape[1]} tokens of "
                          f"{self.place.length} at once", accepted="time=1 and evaluation=1", next_step="time=1 evaluation=1")


def layers_shown(depth: int, *, asked: Sequence[int], besides: int, most: int = 6) -> tuple[int, ...]:
    """`asked` or, where none are, all of a shallow network and `most` of a deep one; `besides` is always among them."""
    if any(not 1 <= layer <= depth for layer in [*asked, besides]):
        raise ConfigError("no such layer", where="layer", found=", ".join(str(layer) for layer in [*asked, besides]),
                          accepted=f"1 to {depth}")
    spread = np.linspace(1, depth, min(depth, most)).round().astype(int).tolist()
    return tuple(sorted({*(asked or spread), besides}))


@torch.no_grad()
def acted_on(model: WorldActionModel, context: Context) -> tuple[str, ...]:
    """Parts of the future, and the present ("frame"), that lie on a grid and that the backbone runs when the model acts."""
    ran: set[str] = set()

    def before(module: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        ran.update(arguments[0] if arguments else options["inputs"])

    handle = model.backbone.register_forward_pre_hook(before, with_kwargs=True)
    try:
        model.plan(context, noise=SeededNoise([0] * context.batch, model.device))
    finally:
        handle.remove()
    shown = _on_grid(model)
    return tuple(name for name in (*model.parts, "frame") if name in shown and shown[name].stream in ran)


def _on_grid(model: WorldActionModel, time: int = 0) -> dict[str, _Place]:
    """By part, where its frame at `time` lies; parts without a grid are not among them."""
    config = model.config
    dimensions = config.dimensions(model.observation, model.action)
    layout, found = config.coupling.layout(dimensions), {}
    for part in ("frame", *dimensions.forms):
        times = 1 if part == "frame" else len(config.coupling.future_offsets)
        form, where = agreement.aligned_form(part, dimensions), layout.where(part)
        if where is None or times == 0 or len(where[1]) != times * form.tokens or time >= times:
            continue
        found[part] = _Place(stream=where[0], length=layout[where[0]].length, grid=form.grid, first=time == 0,
                             tokens=tuple(where[1][time * form.tokens:(time + 1) * form.tokens]))
    return found


@torch.no_grad()
def states_of(model: WorldActionModel, contexts: Iterable[Context], *, count: int, stream: str, layers: Sequence[int], time: int = 0,
              evaluation: int = 1, seed: int = 0) -> States:
    """Of `count` observations in the order of `contexts`. stream: a part of the future, or "frame"; time: which of its frames, from 0.

    Raises `MisfitError` where the states cannot be had, have no grid, or are not evaluated so often when the model acts.
    """
    if "taps" not in type(model.backbone).provides:
        raise MisfitError("this backbone shows no hidden states", where="model.backbone", found=type(model.backbone).__name__,
                          accepted="a run of another recipe")
    shown = _on_grid(model, time)
    if stream not in shown:
        raise MisfitError("the states of this stream do not lie on a grid of frames", where="stream", found=stream,
                          accepted=", ".join(shown), next_step=nearest(stream, shown))
    model.eval()
    found: dict[int, list[np.ndarray]] = {layer: [] for layer in layers}
    sigma, done = 0.0, 0
    with meter("hidden states", count) as bar:
        for context in contexts:
            ear = _Ear(shown[stream], layers, evaluation)
            _listen(model, context, ear, stream, SeededNoise(range(seed + done, seed + done + context.batch), model.device))
            for layer, states in ear.states.items():  # candidates of an observation stand in a row: the first
                found[layer].append(states.unflatten(0, (context.batch, -1))[:, 0].float().cpu().numpy())
            sigma, done = ear.sigma, done + context.batch
            bar.advance(context.batch)
    return States(by_layer={layer: np.concatenate(parts) for layer, parts in found.items()}, grid=shown[stream].grid, sigma=sigma)


def _listen(model: WorldActionModel, context: Context, ear: _Ear, stream: str, noise: SeededNoise) -> None:
    handle = model.backbone.register_forward_pre_hook(ear.before, with_kwargs=True)
    try:
        with overheard(model.backbone, ear.tap):
            model.plan(context, noise=noise)
    except _Heard:
        return
    finally:
        handle.remove()
    raise MisfitError("the stream is not evaluated so often when the model acts", where="stream", found=f"{stream}, {ear.count} times",
                      accepted=f"{ear.evaluation} or more",
                      next_step=f"stream={' or '.join(acted_on(model, context))}" if ear.count == 0 else "evaluation=1")
