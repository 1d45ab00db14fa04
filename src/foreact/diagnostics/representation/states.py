"""Hidden states while a model acts: of one stream, after some layers, at one of its evaluations.

The model plans as it would act, each observation with noise of its own, and is stopped as soon as the states are there. A stream that
is denoised is evaluated several times: the first is at the highest noise level, where most recipes that act from hidden states read
them. The noise level is told as the backbone was told it, not as anybody declares it. Where a stream lies on a grid of frames
(`agreement.of_states`), tokens come frame after frame, camera-major.
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
from foreact.contract.errors import ConfigError, MisfitError
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


class _Ear:
    """Keeps the states of the `evaluation`-th time (from 1) that the backbone runs `stream`, then ends the plan."""

    def __init__(self, stream: str, layers: Sequence[int], evaluation: int) -> None:
        self.stream, self.evaluation, self.count = stream, evaluation, 0
        self.states: dict[int, Tensor] = {}
        self.sigma: Tensor | None = None
        self._layers = tuple(sorted(layers))
        self.tap = Tap((stream,), self._layers, taken=self._take)

    def before(self, module: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        inputs = arguments[0] if arguments else options["inputs"]
        if self.stream in inputs:
            self.count += 1
            self.sigma = options["sigma"].get(self.stream)

    def _take(self, stream: str, layer: int, states: Tensor) -> None:
        if self.count == self.evaluation:
            self.states[layer] = states
            if layer == self._layers[-1]:
                raise _Heard


def layers_shown(depth: int, *, asked: Sequence[int], besides: int, most: int = 6) -> tuple[int, ...]:
    """`asked` or, where none are, all of a shallow network and `most` of a deep one; `besides` is always among them."""
    if any(not 1 <= layer <= depth for layer in [*asked, besides]):
        raise ConfigError("no such layer", where="layer", found=", ".join(str(layer) for layer in [*asked, besides]),
                          accepted=f"1 to {depth}")
    spread = np.linspace(1, depth, min(depth, most)).round().astype(int).tolist()
    return tuple(sorted({*(asked or spread), besides}))


@torch.no_grad()
def acted_on(model: WorldActionModel, context: Context) -> tuple[str, ...]:
    """Streams that lie on a grid of frames and that the backbone runs when the model acts."""
    ran: set[str] = set()

    def before(module: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        ran.update(arguments[0] if arguments else options["inputs"])

    handle = model.backbone.register_forward_pre_hook(before, with_kwargs=True)
    try:
        model.plan(context, noise=SeededNoise([0] * context.batch, model.device))
    finally:
        handle.remove()
    return tuple(name for name in ("video", "frame", *model.beside) if name in ran and _on_grid(model, name))


def _on_grid(model: WorldActionModel, stream: str) -> bool:
    try:
        _grid(model, stream)
    except MisfitError:
        return False
    return True


def _grid(model: WorldActionModel, stream: str) -> tuple[int, int, int]:
    config = model.config
    dimensions = config.dimensions(model.observation, model.action)
    agreement.of_states(stream, config.backbone, config.coupling.layout(dimensions), dimensions,
                        times=len(config.coupling.future_offsets), where="stream")
    return agreement.aligned_form(stream, dimensions).grid


@torch.no_grad()
def states_of(model: WorldActionModel, contexts: Iterable[Context], *, count: int, stream: str, layers: Sequence[int], time: int = 0,
              evaluation: int = 1, seed: int = 0) -> States:
    """Of `count` observations in the order of `contexts`. time: which of the stream's frames, from 0.

    Raises `MisfitError` where the stream has no grid or is not evaluated so often when the model acts.
    """
    grid = _grid(model, stream)
    places = int(np.prod(grid))
    model.eval()
    found: dict[int, list[np.ndarray]] = {layer: [] for layer in layers}
    sigma, done = 0.0, 0
    with meter("hidden states", count) as bar:
        for context in contexts:
            ear = _Ear(stream, layers, evaluation)
            _listen(model, context, ear, SeededNoise(range(seed + done, seed + done + context.batch), model.device))
            for layer, states in ear.states.items():
                if len(states) != context.batch:
                    raise MisfitError("this coupling runs several candidates at once", where="model.coupling",
                                      found=f"{len(states)} rows for {context.batch} observations", accepted="one row an observation")
                found[layer].append(states.unflatten(1, (-1, places))[:, time].float().cpu().numpy())
            sigma = 0.0 if ear.sigma is None else _level(ear.sigma, places, time)
            done += context.batch
            bar.advance(context.batch)
    return States(by_layer={layer: np.concatenate(parts) for layer, parts in found.items()}, grid=grid, sigma=sigma)


def _listen(model: WorldActionModel, context: Context, ear: _Ear, noise: SeededNoise) -> None:
    handle = model.backbone.register_forward_pre_hook(ear.before, with_kwargs=True)
    try:
        with overheard(model.backbone, ear.tap):
            model.plan(context, noise=noise)
    except _Heard:
        return
    finally:
        handle.remove()
    raise MisfitError("the stream is not evaluated so often when the model acts", where="stream",
                      found=f"{ear.stream}, {ear.count} times", accepted=f"{ear.evaluation} or more",
                      next_step=f"stream={', stream='.join(acted_on(model, context))}" if ear.count == 0 else "evaluation=1")


def _level(sigma: Tensor, places: int, time: int) -> float:
    """One level for a sample, or one for each token."""
    if sigma.ndim == 1:
        return float(sigma.float().mean())
    return float(sigma.unflatten(1, (-1, places))[:, time].float().mean() if sigma.shape[1] > 1 else sigma.float().mean())
