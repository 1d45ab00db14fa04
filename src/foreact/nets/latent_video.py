"""A layout as a latent video: where each token of its streams lies in (time, rows, columns).

Video transformers that others have trained take one video of latents, not streams of tokens. The given frame comes first
and the frames of each future follow in the layout's order; cameras lie side by side, as their positions say. Such a
network attends everywhere, so a layout is carried only where each future may see every stream. Hidden states of a patch
are given to every token in it, so that a tap has the form that it has elsewhere.

Legend: B batch, C channels, T frames, R rows, K columns, M words, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from foreact.contract.axes import Cache
from foreact.contract.errors import MisfitError
from foreact.contract.layout import Layout, Stream, Target
from foreact.flow.targets import to_noise, to_sample

__all__ = ["LatentVideo", "Raster", "ValueCache", "filled", "predicted_as", "rasters"]


class ValueCache(Cache):
    """Values of streams already given: a network that attends everywhere has no keys that could be kept."""

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}

    def forget(self, streams: Iterable[str]) -> None:
        for name in streams:
            self.values.pop(name, None)

    def repeated(self, count: int) -> ValueCache:
        copy = ValueCache()
        copy.values = {name: x.repeat_interleave(count, dim=0) for name, x in self.values.items()}
        return copy


class Raster:
    """Where the tokens of one stream lie: `frames` at `times`, `rows`, `columns`; a stream may have its tokens in any order."""

    def __init__(self, stream: Stream) -> None:
        order = sorted(range(stream.length), key=lambda i: stream.positions[i])
        frames = [(time, [stream.positions[i][1:] for i in group]) for time, group in groupby(order, key=lambda i: stream.positions[i][0])]
        rows, columns = ({place[axis] for place in frames[0][1]} for axis in (0, 1))
        whole = [(r, c) for r in sorted(rows) for c in sorted(columns)]
        if any(frame != whole for _, frame in frames):
            raise _misfit("a stream does not fill a grid of rows and columns", f"stream '{stream.name}' of the coupling has "
                          f"{stream.length} tokens at {len(frames)} times")
        self.times = tuple(time for time, _ in frames)
        self.frames, self.rows, self.columns = len(frames), len(rows), len(columns)
        self._raster = torch.tensor(order)
        self._tokens = self._raster.argsort()

    def video(self, values: Float[Tensor, "B tokens C"]) -> Float[Tensor, "B C T R K"]:
        """The tokens' values as a video."""
        return values[:, self._raster.to(values.device)].unflatten(1, (self.frames, self.rows, self.columns)).permute(0, 4, 1, 2, 3)

    def tokens(self, video: Float[Tensor, "B C T R K"]) -> Float[Tensor, "B tokens C"]:
        """The inverse of `video`."""
        return video.permute(0, 2, 3, 4, 1).flatten(1, 3)[:, self._tokens.to(video.device)]

    def hidden(self, states: Float[Tensor, "B patches width"], patch: int) -> Float[Tensor, "B tokens width"]:
        """Hidden states of patches as states of tokens."""
        video = states.unflatten(1, (self.frames, self.rows // patch, self.columns // patch)).permute(0, 4, 1, 2, 3)
        return self.tokens(video.repeat_interleave(patch, dim=3).repeat_interleave(patch, dim=4))


def rasters(streams: Sequence[Stream], patch: int) -> dict[str, Raster]:
    """The rasters of streams that are frames of one video; raises `MisfitError` where they are not."""
    for stream in streams:
        _check(stream)
    found = {stream.name: Raster(stream) for stream in streams}
    if len({(found[s.name].rows, found[s.name].columns, s.channels) for s in streams}) != 1:
        raise _misfit("streams of several forms are no video", ", ".join(f"'{s.name}' has {found[s.name].rows} x {found[s.name].columns} "
                      f"tokens of {s.channels} channels" for s in streams))
    rows, columns = found[streams[0].name].rows, found[streams[0].name].columns
    if rows % patch or columns % patch:
        raise MisfitError("the frames do not divide into patches", where="model.backbone.patch",
                          found=f"{rows} x {columns} tokens, cameras side by side; patch = {patch}",
                          accepted=f"a divisor of {rows} and {columns}", next_step="model.backbone.patch=1")
    return found


class LatentVideo:
    """`patch`: rows and columns that the network takes together; raises `MisfitError` for a layout that is no video."""

    def __init__(self, layout: Layout, patch: int) -> None:
        self.layout, self.patch = layout, patch
        self.given = tuple(s.name for s in layout.streams if s.target is None)
        self._rasters = rasters(layout.streams, patch)
        for stream in layout.streams:
            _check_sight(stream, layout)
        one = layout.streams[0]
        self.rows, self.columns, self.channels = self._rasters[one.name].rows, self._rasters[one.name].columns, one.channels
        self.frames = {name: raster.frames for name, raster in self._rasters.items()}

    def join(self, values: Mapping[str, Tensor]) -> Float[Tensor, "B C T R K"]:
        """The streams' values one after the other in time; what is given beside them is left out."""
        return torch.cat([self._rasters[name].video(values[name][..., : self.channels]) for name in self.layout.names], dim=2)

    def split(self, video: Float[Tensor, "B C T R K"]) -> dict[str, Tensor]:
        """What `join` put together, by stream, its tokens in the stream's own order."""
        parts = video.split([self.frames[name] for name in self.layout.names], dim=2)
        return {name: self._rasters[name].tokens(part) for name, part in zip(self.layout.names, parts, strict=True)}

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
        patches = self.rows * self.columns // self.patch**2
        parts = states.split([self.frames[name] * patches for name in self.layout.names], dim=1)
        return {name: self._rasters[name].hidden(part, self.patch) for name, part in zip(self.layout.names, parts, strict=True)}


def filled(text: Float[Tensor, "B M W"], mask: Bool[Tensor, "B M"], words: int) -> Float[Tensor, "B words W"]:
    """Text with zeros for what is no word, filled up with zeros to `words` tokens, as the published pipelines give it."""
    return F.pad(text * mask[..., None].to(text.dtype), (0, 0, 0, max(words - text.shape[1], 0)))


def predicted_as(kind: Target, velocity: Tensor, noised: Tensor, sigma: Tensor) -> Tensor:
    """What the coupling trains, from the velocity that the network gives."""
    match kind:
        case "sample":
            return to_sample("velocity", velocity, noised, sigma)
        case "noise":
            return to_noise("velocity", velocity, noised, sigma)
        case _:
            return velocity


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
