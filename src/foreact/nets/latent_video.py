"""A layout as a latent video: where each token of its streams lies in (time, rows, columns).

Video transformers that others have trained take one video of latents, not streams of tokens. The given frame comes first
and the frames of each future follow in the layout's order; cameras lie side by side, as their positions say. Such a
network attends everywhere, so a layout is carried only where each future may see every stream. Hidden states of a patch
are given to every token in it, so that a tap has the form that it has elsewhere.

Legend: B batch, C channels, T frames, R rows, K columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby

import torch
from jaxtyping import Float
from torch import Tensor

from foreact.contract.axes import Cache
from foreact.contract.errors import MisfitError
from foreact.contract.layout import Layout, Stream

__all__ = ["LatentVideo", "ValueCache"]


class ValueCache(Cache):
    """Values of streams already given: a network that attends everywhere has no keys that could be kept."""

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}

    def forget(self, streams: Iterable[str]) -> None:
        for name in streams:
            self.values.pop(name, None)


class LatentVideo:
    """`patch`: rows and columns that the network takes together; raises `MisfitError` for a layout that is no video."""

    def __init__(self, layout: Layout, patch: int) -> None:
        self.layout, self.patch = layout, patch
        self.given = tuple(s.name for s in layout.streams if s.target is None)
        for stream in layout.streams:
            _check(stream)
        grids = {s.name: _grid(s) for s in layout.streams}
        self.frames = {name: grid[0] for name, grid in grids.items()}
        forms = {(*grids[s.name][1:3], s.channels) for s in layout.streams}
        if len(forms) != 1:
            raise _misfit("streams of several forms are no video", ", ".join(f"'{s.name}' has {grids[s.name][1]} x {grids[s.name][2]} "
                          f"tokens of {s.channels} channels" for s in layout.streams))
        for stream in layout.streams:
            _check_sight(stream, layout)
        (self.rows, self.columns, self.channels), = forms
        if self.rows % patch or self.columns % patch:
            raise MisfitError("the frames do not divide into patches", where="model.backbone.patch",
                              found=f"{self.rows} x {self.columns} tokens, cameras side by side; patch = {patch}",
                              accepted=f"a divisor of {self.rows} and {self.columns}", next_step="model.backbone.patch=1")
        self._raster = {name: grid[3] for name, grid in grids.items()}
        self._tokens = {name: grid[3].argsort() for name, grid in grids.items()}

    def join(self, values: Mapping[str, Tensor]) -> Float[Tensor, "B C T R K"]:
        """The streams' values one after the other in time; what is given beside them is left out."""
        parts = []
        for name in self.layout.names:
            tokens = values[name][..., : self.channels][:, self._raster[name].to(values[name].device)]
            parts.append(tokens.unflatten(1, (self.frames[name], self.rows, self.columns)))
        return torch.cat(parts, dim=1).permute(0, 4, 1, 2, 3)

    def split(self, video: Float[Tensor, "B C T R K"]) -> dict[str, Tensor]:
        """What `join` put together, by stream, its tokens in the stream's own order."""
        parts = video.permute(0, 2, 3, 4, 1).split([self.frames[name] for name in self.layout.names], dim=1)
        return {name: part.flatten(1, 3)[:, self._tokens[name].to(video.device)]
                for name, part in zip(self.layout.names, parts, strict=True)}

    def levels(self, sigma: Mapping[str, Tensor], like: Float[Tensor, "B C T R K"]) -> Float[Tensor, "B 1 T R K"]:
        """The noise level of every latent; what is given is clean."""
        found = {}
        for stream in self.layout.streams:
            level = sigma.get(stream.name) if stream.name not in self.given else None
            level = like.new_zeros(len(like)) if level is None else level.to(like)
            found[stream.name] = (level if level.ndim == 2 else level[:, None]).expand(-1, stream.length)[..., None]
        # `join` cuts to as many channels as a latent has; a level has one
        return self.join(found)

    def is_given(self, like: Float[Tensor, "B C T R K"]) -> Float[Tensor, "B 1 T R K"]:
        """1 in the frames that are given, else 0."""
        marks = torch.cat([torch.full((self.frames[n],), float(n in self.given)) for n in self.layout.names]).to(like)
        return marks[None, None, :, None, None].expand(len(like), 1, -1, self.rows, self.columns)

    def hidden(self, states: Float[Tensor, "B patches width"]) -> dict[str, Tensor]:
        """Hidden states of patches as states of tokens, by stream."""
        grid = (sum(self.frames.values()), self.rows // self.patch, self.columns // self.patch)
        video = states.unflatten(1, grid).permute(0, 4, 1, 2, 3)
        return self.split(video.repeat_interleave(self.patch, dim=3).repeat_interleave(self.patch, dim=4))


def _misfit(what: str, found: str) -> MisfitError:
    return MisfitError(what, where="model.backbone", found=found,
                       accepted="one stream of given frames, then denoised futures on the same grid that see all streams",
                       next_step="choose a coupling that predicts first and acts from it (PostPredictionHead), or another backbone")


def _check(stream: Stream) -> None:
    """Given and clean, or denoised."""
    if stream.query or (stream.noise is None) != (stream.target is None):
        raise _misfit("a video transformer takes frames that are given or denoised", f"stream '{stream.name}' of the coupling has noise "
                      f"{stream.noise!r} and target {stream.target!r}{', with nothing given' if stream.query else ''}")


def _check_sight(stream: Stream, layout: Layout) -> None:
    seen = {s.stream for s in layout.sees.get(stream.name, ()) if s.when == "all"}
    if stream.target is not None and seen != set(layout.names):
        raise _misfit("a video transformer attends everywhere", f"stream '{stream.name}' of the coupling sees {sorted(seen)} "
                      f"of {sorted(layout.names)} in full")


def _grid(stream: Stream) -> tuple[int, int, int, Tensor]:
    """Frames, rows and columns of a stream, and its tokens in the order of a raster."""
    order = sorted(range(stream.length), key=lambda i: stream.positions[i])
    frames = [[stream.positions[i][1:] for i in group] for _, group in groupby(order, key=lambda i: stream.positions[i][0])]
    rows, columns = ({place[axis] for place in frames[0]} for axis in (0, 1))
    whole = [(r, c) for r in sorted(rows) for c in sorted(columns)]
    if any(frame != whole for frame in frames):
        raise _misfit("a stream does not fill a grid of rows and columns", f"stream '{stream.name}' of the coupling has {stream.length} "
                      f"tokens at {len(frames)} times")
    return len(frames), len(rows), len(columns), torch.tensor(order)
