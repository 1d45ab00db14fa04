"""Motion vectors of a video codec: which block of the present each block of the future was copied from (survey, section 4.2.3).

    s in R^{H x h x w x 2}: one vector (u, v) in pixels for each macroblock of 16 x 16, pointing the way the content moved

HiF-VLA reads them off the compressed stream, where they cost nothing. Here the present and each future are encoded as a clip of two
frames with H.264, the second predicted from the first, and the decoder is asked for its vectors, so that any images serve. A
macroblock that is cut into smaller partitions gets their mean by area; one that was drawn anew instead of copied gets zero. The
picture is scaled so that its macroblocks are the declared grid. Unlike `OpticalFlow`, blocks are those of the future picture,
and a vector is whatever compresses best, which on flat ground need not be motion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from foreact.contract.axes import Substrate, SubstrateForm
from foreact.contract.context import Scene
from foreact.contract.errors import MisfitError
from foreact.contract.specs import ObservationSpec
from foreact.flow.drawing import by_direction, draw_segments
from foreact.nets.units import Units, first_scenes

__all__ = ["MotionVectors"]

_FIT_BATCHES, _BLOCK = 4, 16
_X264 = {"preset": "medium", "tune": "zerolatency", "qp": "18",
         "x264-params": "scenecut=0:bframes=0:ref=1:me=umh:merange=16:weightp=0:aq-mode=0:keyint=250:cpu-independent=1:threads=1"}


class MotionVectors(Substrate):
    """A token for each macroblock of each camera."""

    kind = "Geometric"
    decodable = per_frame = False
    watchable = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Substrate.Config):
        """`grid`: rows and columns of macroblocks, to which a camera's picture is scaled. floor: pixels below which motion is not
        scaled up."""

        grid: tuple[int, int] = (8, 8)
        floor: float = 0.05

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            small = [c for c in observation.cameras if c.height < self.grid[0] or c.width < self.grid[1]]
            if small or not observation.cameras:
                raise MisfitError("cameras and substrate do not fit", where="model.substrate.grid",
                                  found=f"{self.grid[0]} x {self.grid[1]} blocks in pictures of " + (
                                      ", ".join(f"{c.height} x {c.width}" for c in small) or "no camera"),
                                  accepted="at most one block a pixel", next_step="use larger images, or fewer blocks")
            return SubstrateForm(grid=(len(observation.cameras), *self.grid), channels=2)

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return ()

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form, self.cameras = config, config.form(observation), observation.cameras
        self.units = Units(len(self.cameras), 1, 1)

    @torch.no_grad()
    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        return self.units(self._pixels(scene)).flatten(2, 3)

    def _pixels(self, scene: Scene) -> Float[Tensor, "batch time camera block 2"]:
        """Vectors in pixels of each camera; zero at the present."""
        height, width = (_BLOCK * side for side in self.config.grid)
        cameras = []
        for camera in self.cameras:
            images = scene.images[camera.name]
            large = images.flatten(0, 1).float()
            if large.shape[-2:] != (height, width):
                large = F.interpolate(large, (height, width), mode="bilinear", align_corners=False, antialias=True)
            clips = large.round().clamp(0, 255).to(torch.uint8).unflatten(0, images.shape[:2]).movedim(2, -1).cpu().numpy()
            found = np.zeros((*images.shape[:2], *self.config.grid, 2), np.float32)
            for b, clip in enumerate(clips):
                for t in range(1, len(clip)):
                    found[b, t] = _vectors(np.ascontiguousarray(clip[0]), np.ascontiguousarray(clip[t]))
            scale = torch.tensor([camera.width / width, camera.height / height])
            cameras.append((torch.from_numpy(found).flatten(2, 3) * scale).to(images.device))
        return torch.stack(cameras, dim=2)

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return values

    @torch.no_grad()
    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        """The present, dimmed, with a line to the middle of each block from where its content is now; what rests is not drawn."""
        moves = self.units.inverse(values.float().unflatten(2, (len(self.cameras), -1)))
        rows, columns = self.config.grid
        found = {}
        for index, camera in enumerate(self.cameras):
            move = moves[:, :, index].flatten(0, 1)
            row, column = torch.meshgrid((torch.arange(rows, device=move.device) + 0.5) * camera.height / rows,
                                         (torch.arange(columns, device=move.device) + 0.5) * camera.width / columns, indexing="ij")
            end = torch.stack([column, row], dim=-1).reshape(1, -1, 2).expand(len(move), -1, -1)
            rests = move.norm(dim=-1, keepdim=True) < 0.25 * self.units.scale[index, 0, 0]
            under = (present[camera.name] * 0.6).to(torch.uint8).repeat_interleave(values.shape[1], dim=0)
            lines = draw_segments(under, torch.where(rests, torch.nan, end - move), end, by_direction(move))
            found[camera.name] = lines.unflatten(0, values.shape[:2])
        return found

    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        """One scale per camera from at most 4 batches. Returns displacement_px, root mean square, and moving, the share of blocks
        that a codec found to move."""
        moves = torch.cat([self._pixels(scene)[:, 1:] for scene in first_scenes(batches, min(steps, _FIT_BATCHES))])
        self.units.fit(moves, centred=False, floor=self.config.floor)
        return {"displacement_px": float(moves.square().sum(-1).mean().sqrt()), "moving": float(moves.any(dim=-1).float().mean())}


def _vectors(now: UInt8[np.ndarray, "height width 3"], then: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "rows columns 2"]:
    """Encode (now, then), decode, and average over each macroblock of `then` how far its content moved, in pixels of the clip."""
    import av
    from av.sidedata.sidedata import Type

    height, width, _ = now.shape
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.options, encoder.thread_count = Fraction(1, 25), Fraction(25, 1), _X264, 1
    packets = []
    for index, picture in enumerate((now, then)):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
        frame.pts = index
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder = av.CodecContext.create("h264", "r")
    decoder.options, decoder.thread_count = {"flags2": "+export_mvs"}, 1
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    total = np.zeros((height // _BLOCK, width // _BLOCK, 2), np.float32)
    side = frames[-1].side_data.get(Type.MOTION_VECTORS)
    if side is None:  # no block was copied
        return total
    found = side.to_ndarray()
    # libavcodec: where a block of `w` x `h` about (dst_x, dst_y) came from is (motion_x, motion_y) / motion_scale away
    row, column = found["dst_y"] // _BLOCK, found["dst_x"] // _BLOCK
    area = (found["w"].astype(np.float32) * found["h"]) / _BLOCK**2
    vectors = -np.stack([found["motion_x"], found["motion_y"]], axis=-1) / found["motion_scale"][:, None]
    inside = (row >= 0) & (row < total.shape[0]) & (column >= 0) & (column < total.shape[1])
    np.add.at(total, (row[inside], column[inside]), (vectors * area[:, None])[inside].astype(np.float32))
    return total
