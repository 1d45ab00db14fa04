"""Where the action looks: its attention over the picture, by layer, head and denoising step (AGRA, "action head attention maps").

    m_{l,k,h}(p) = mean_i sum_t P_{l,k,h}(i, (t, p)),   P = softmax(Q K^T / sqrt(D))

i runs over the action's tokens, t over the frames of the stream that is looked at, p over the places of its grid; l is the layer, k the
evaluation of it, h the head. m is a mass: what is left to 1 goes to other keys of the same softmax (state, the action itself, words),
and is told by name. Where hidden states are pooled to a few tokens first (VPP), the action's weights on these are multiplied by where
each of them looks, the mean over the resampler's heads and layers (attention rollout, arXiv 2005.00928).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foreact.contract.axes import SeededNoise, SubstrateForm
from foreact.contract.context import Context
from foreact.contract.errors import ConfigError, MisfitError, nearest
from foreact.contract.layout import Layout, Position, Stream
from foreact.model import WorldActionModel
from foreact.nets.attention import Gaze, Spans, attended
from foreact.nets.resampler import POOLED

__all__ = ["Attention", "attention"]

_ACTION = "action"


@dataclass(frozen=True, kw_only=True)
class Attention:
    """mass: m as above. streams: the mean mass on everything that is looked at, by name and batch element; they add to 1."""

    mass: Float[np.ndarray, "layer step batch head camera row column"]
    stream: str
    layers: tuple[int, ...]
    streams: dict[str, Float[np.ndarray, " batch"]]

    def heat(self, *, layer: int | None = None, step: int | None = None, head: int | None = None,
             ) -> Float[np.ndarray, "batch camera row column"]:
        """The mean over layers, steps and heads, or at one of them; layers by their number, steps and heads from 0."""
        sizes = {"step": self.mass.shape[1], "head": self.mass.shape[3]}
        for name, index in {"step": step, "head": head}.items():
            if index is not None and not 0 <= index < sizes[name]:
                raise ConfigError(f"no such {name}", where=name, found=index, accepted=f"0 to {sizes[name] - 1}, or null for all")
        if layer is not None and layer not in self.layers:
            raise ConfigError("no such layer", where="layer", found=layer, accepted=", ".join(map(str, self.layers)) + ", or null for all")
        mass = self.mass if layer is None else self.mass[[self.layers.index(layer)]]
        mass = mass if step is None else mass[:, [step]]
        mass = mass if head is None else mass[:, :, :, [head]]
        return mass.mean(axis=(0, 1, 3))


@torch.no_grad()
def attention(model: WorldActionModel, context: Context, *, stream: str | None = None, seed: int = 0) -> Attention:
    """Where the action looks in each observation of `context` while it is planned, all with the same noise.

    stream: of which frames; None for the imagined ones where the action looks at them, else for the present.
    Raises `MisfitError` where no action is drawn by attention over tokens that lie on a picture's grid.
    """
    layout = model.coupling.layout
    if _ACTION in layout and layout[_ACTION].target is None and not layout[_ACTION].query:
        raise _nowhere(model, "the action is given to the predictor and chosen by a planner")
    heard = _Heard(layout, _grids(model), context.batch)
    model.eval()
    with attended((heard.query, POOLED), heard):
        model.plan(context, noise=SeededNoise([seed] * context.batch, model.device))
    layers = tuple(sorted(heard.found))
    every = [one for layer in layers for one in heard.found[layer]]
    totals = {name: np.sum([one[name].sum(dim=-1).mean(dim=1).numpy() for one in every if name in one], axis=0) / len(every)
              for name in dict.fromkeys(name for one in every for name in one)}
    looked = [name for name in totals if totals[name].max() > 0]
    seen = sorted((name for name in looked if name in heard.grids), key=lambda name: name == "frame")
    if not seen:
        raise _nowhere(model, f"it looks at {', '.join(looked)}" if looked else "no attention")
    chosen = stream or seen[0]
    if chosen not in seen:
        raise MisfitError("the action does not look at the frames of this stream", where="stream", found=chosen,
                          accepted=", ".join(seen), next_step=nearest(chosen, seen))
    assert len({len(heard.found[layer]) for layer in layers}) == 1, "every layer is evaluated as often as any other"
    nothing = torch.zeros_like(next(one[chosen] for one in every if chosen in one))
    mass = torch.stack([torch.stack([one.get(chosen, nothing) for one in heard.found[layer]]) for layer in layers])
    return Attention(mass=mass.unflatten(-1, heard.grids[chosen]).numpy().astype(np.float64), stream=chosen, layers=layers, streams=totals)


class _Heard:
    """Keeps, for each layer and evaluation, the mass by stream: (batch, head, place), or (batch, head, 1) off the picture.

    query: the stream that is listened to. grids: (camera, row, column) of each stream of pictures as it was heard.
    """

    def __init__(self, layout: Layout, known: dict[str, tuple[int, int, int]], batch: int) -> None:
        self.query, self._own = layout.holds.get(_ACTION, (_ACTION, None))
        self._layout, self._known, self._batch = layout, known, batch
        self._pools: dict[int, Gaze] = {}
        self.found: dict[int, list[dict[str, Tensor]]] = defaultdict(list)
        self.grids: dict[str, tuple[int, int, int]] = {}

    def __call__(self, gaze: Gaze) -> None:
        if gaze.query == POOLED:
            self._pools[gaze.layer] = gaze
            return
        weights = gaze.weights if self._own is None else gaze.weights[:, :, list(self._own)]
        weights = weights.mean(dim=2).unflatten(0, (self._batch, -1)).mean(dim=1)  # over the action's tokens, and its candidates
        mass: dict[str, Tensor] = {}
        for name, piece in self._parted(*self._through(gaze.keys, weights)):
            summed = self._laid(name, piece, gaze.places.get(name))
            mass[name] = mass[name] + summed if name in mass else summed
        self.found[gaze.layer].append({name: x.float().cpu() for name, x in mass.items()})

    def _parted(self, keys: Spans, weights: Float[Tensor, "batch head key"]) -> Iterator[tuple[str, Tensor]]:
        """Weights by stream; where frames and the action are some tokens of another stream, each by its own name."""
        for (name, count), piece in zip(keys, weights.split([count for _, count in keys], dim=-1), strict=True):
            inside = {part: places for part, (stream, places) in self._layout.holds.items() if stream == name != part}
            left = sorted(set(range(count)) - {i for places in inside.values() for i in places})
            for part, places in inside.items():
                yield part, piece[..., list(places)]
            if left:
                yield name, piece[..., left]

    def _laid(self, name: str, piece: Float[Tensor, "batch head key"], places: tuple[Position, ...] | None) -> Tensor:
        """Weights on a picture's places, summed over frames; off the picture, on all tokens."""
        grid = self._known.get(name)
        if grid is not None and places is not None:
            (row, column), cameras = torch.from_numpy(_ranks(np.array([p[1:] for p in places])).T).long(), grid[0]
            grid = (cameras, int(row.max()) + 1, (int(column.max()) + 1) // cameras)  # the cameras lie side by side
            index = (column // grid[2] * grid[1] + row) * grid[2] + column % grid[2]
            self.grids[name] = grid
            return piece.new_zeros(*piece.shape[:-1], int(np.prod(grid))).index_add(-1, index.to(piece.device), piece)
        if grid is None or piece.shape[-1] % int(np.prod(grid)):
            return piece.sum(dim=-1, keepdim=True)
        self.grids[name] = grid
        return piece.unflatten(-1, (-1, int(np.prod(grid)))).sum(dim=-2)

    def _through(self, keys: Spans, weights: Float[Tensor, "batch head key"]) -> tuple[Spans, Tensor]:
        """Weights on pooled tokens as weights on what those look at."""
        if not self._pools:
            return keys, weights
        looked = next(iter(self._pools.values())).keys
        pool = torch.stack([gaze.weights.mean(dim=1) for gaze in self._pools.values()]).mean(dim=0)
        spans, pieces = [], []
        for (name, _), piece in zip(keys, weights.split([count for _, count in keys], dim=-1), strict=True):
            spans += looked if name == POOLED else [(name, piece.shape[-1])]
            pieces.append(piece @ pool if name == POOLED else piece)
        return tuple(spans), torch.cat(pieces, dim=-1)


def _nowhere(model: WorldActionModel, found: str) -> MisfitError:
    return MisfitError("no action is drawn by attention over frames", where="model.coupling",
                       found=f"{type(model.coupling).__name__}: {found}",
                       accepted="an action stream, or an ActionExpert, that looks at frames on a grid, as in joint, mv-wam, agra, vpp",
                       next_step="foreact diagnose intervention asks the same of any model whose states can be replaced")


def _grids(model: WorldActionModel) -> dict[str, tuple[int, int, int]]:
    """The (camera, row, column) grid of every stream whose tokens lie on one, time by time."""
    dimensions, layout = model.coupling.dimensions, model.coupling.layout
    forms = {**dimensions.forms, "frame": dimensions.view}
    inside = {part for part, (stream, _) in layout.holds.items() if part != stream}
    found = {name: form.grid for name, form in forms.items() if name in inside or name not in layout}
    for stream in layout.streams:
        own = forms.get(stream.name)
        lying = next((form for form in ([own] if own else forms.values()) if _lies_on(stream, form)), None)
        if lying is not None:
            found[stream.name] = lying.grid
    return {name: grid for name, grid in found.items() if min(grid[1:]) > 1}


def _lies_on(stream: Stream, form: SubstrateForm) -> bool:
    """Whether its tokens have the order of the form's grid in every frame, whatever the grid's spacing."""
    if stream.length % form.tokens:
        return False
    places = np.array([position[1:] for position in stream.positions]).reshape(-1, form.tokens, 2)
    wanted = _ranks(np.array([position[1:] for position in form.positions(0.0)]))
    return all(np.array_equal(_ranks(frame), wanted) for frame in places)


def _ranks(places: Float[np.ndarray, "token 2"]) -> Float[np.ndarray, "token 2"]:
    return np.stack([np.unique(places[:, i], return_inverse=True)[1] for i in (0, 1)], axis=1).astype(np.float64)
