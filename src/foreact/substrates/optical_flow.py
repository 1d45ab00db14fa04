"""Optical flow: how the content of the picture moves from the present to each future frame (survey, section 4.2.3).

    s in R^{H x 2 x h x w}: two channels carrying the displacement (u, v) in pixels                   (survey, equation 15)

The flow from the present to every future frame is found by dense inverse search (Kroeger et al., 2016, as OpenCV has it)
from the images alone, so that any video serves, and is averaged over the cells of a grid on the present picture: a token is
a patch of the present, its channels say where that patch goes. Moving objects are neither segmented nor tracked, as
Im2Flow2Act does with a detector and a point tracker: a patch carries whatever moves in it, the robot among it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from foreact.contract.axes import Substrate, SubstrateForm
from foreact.contract.context import Scene
from foreact.contract.errors import MissingExtraError
from foreact.contract.specs import ObservationSpec
from foreact.flow.drawing import by_direction, draw_segments
from foreact.nets.map_tokens import map_form
from foreact.nets.units import Units, first_scenes

__all__ = ["OpticalFlow"]

_FIT_BATCHES = 8
_LEAST_SIDE = 64
_GREY = (0.299, 0.587, 0.114)


class OpticalFlow(Substrate):
    """A grid of patches for each camera; the channels of a token are (u, v) for each cell of its patch."""

    kind = "Geometric"
    decodable = per_frame = False
    watchable = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Substrate.Config):
        """`grid`: rows and columns of patches per camera. detail: each patch is cut into detail x detail cells, whose mean
        flows are its channels: u of every cell by row, then v. floor: pixels below which motion is not scaled up."""

        grid: tuple[int, int] = (8, 8)
        detail: int = 1
        floor: float = 0.05

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            return map_form(observation.cameras, self.grid, self.detail, 2)

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return ()

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form, self.cameras = config, config.form(observation), observation.cameras
        self.units = Units(len(self.cameras), 1, 1)  # one scale per camera: u and v of all places share it

    @torch.no_grad()
    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        return self.units(self._pixels(scene)).flatten(2, 3)

    def _pixels(self, scene: Scene) -> Float[Tensor, "batch time camera patch channels"]:
        """Displacements in pixels of each camera."""
        cells, cameras = tuple(self.config.detail * side for side in self.config.grid), []
        for camera in self.cameras:
            images = scene.images[camera.name]
            flow = torch.from_numpy(_flows(images.cpu().numpy())).to(images.device)
            mean = F.adaptive_avg_pool2d(flow.flatten(0, 1), cells)
            cameras.append(F.pixel_unshuffle(mean, self.config.detail).flatten(2).transpose(1, 2).unflatten(0, images.shape[:2]))
        return torch.stack(cameras, dim=2)

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return values

    @torch.no_grad()
    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        """The present, dimmed, with a line from the middle of each cell to where it goes, coloured by direction."""
        found = {}
        for index, (camera, cells) in enumerate(zip(self.cameras, self._cells(values.float()).unbind(2), strict=True)):
            flow = cells.flatten(0, 1)  # image 2 rows columns
            rows, columns = flow.shape[-2:]
            row, column = torch.meshgrid((torch.arange(rows, device=flow.device) + 0.5) * camera.height / rows,
                                         (torch.arange(columns, device=flow.device) + 0.5) * camera.width / columns, indexing="ij")
            start = torch.stack([column, row], dim=-1).reshape(1, -1, 2).expand(len(flow), -1, -1)
            move = flow.flatten(2).transpose(1, 2)
            # what rests is not drawn: less than a quarter of a usual motion
            rests = move.norm(dim=-1, keepdim=True) < 0.25 * self.units.scale[index, 0, 0]
            under = (present[camera.name] * 0.6).to(torch.uint8).repeat_interleave(values.shape[1], dim=0)
            lines = draw_segments(under, start, torch.where(rests, torch.nan, start + move), by_direction(move))
            found[camera.name] = lines.unflatten(0, values.shape[:2])
        return found

    def _cells(self, values: Tensor) -> Float[Tensor, "batch time camera 2 rows columns"]:
        """Tokens to pixels of displacement on the grid of cells."""
        moves = self.units.inverse(values.unflatten(2, (len(self.cameras), -1)))
        grids = moves.transpose(-2, -1).unflatten(-1, self.config.grid)
        return F.pixel_shuffle(grids.flatten(0, 2), self.config.detail).unflatten(0, grids.shape[:3])

    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        """One scale per camera from the first batches.

        Returns displacement_px, the root mean square motion of a cell, and explained, the share of the change between present
        and future that goes away when each pixel of the present is looked for where its cell went. Reads at most 8 batches.
        """
        scenes = first_scenes(batches, min(steps, _FIT_BATCHES))
        with torch.no_grad():
            moves = torch.cat([self._pixels(scene)[:, 1:] for scene in scenes])
            self.units.fit(moves, centred=False, floor=self.config.floor)
            return {"displacement_px": float(moves.square().sum(-1).mean().div(self.config.detail**2).sqrt()),
                    "explained": self._explained(scenes[0])}

    def _explained(self, scene: Scene) -> float:
        before, after = 0.0, 0.0
        for camera, cells in zip(self.cameras, self._cells(self.encode(scene)[:, 1:]).unbind(2), strict=True):
            images = scene.images[camera.name].float()
            now, then = images[:, :1].expand_as(images[:, 1:]).flatten(0, 1), images[:, 1:].flatten(0, 1)
            flow = F.interpolate(cells.flatten(0, 1), now.shape[-2:], mode="bilinear", align_corners=False)
            before += float((then - now).square().mean())
            after += float((_looked_up(then, flow) - now).square().mean())
        return 1 - after / max(before, 1e-9)


def _looked_up(images: Float[Tensor, "image 3 height width"], flow: Float[Tensor, "image 2 height width"]) -> Tensor:
    """images[p + flow(p)], bilinear, with the border repeated."""
    height, width = images.shape[-2:]
    row, column = torch.meshgrid(torch.arange(height, device=flow.device) + 0.5, torch.arange(width, device=flow.device) + 0.5,
                                 indexing="ij")
    places = torch.stack([(column + flow[:, 0]) * 2 / width - 1, (row + flow[:, 1]) * 2 / height - 1], dim=-1)
    return F.grid_sample(images, places, mode="bilinear", padding_mode="border", align_corners=False)


def _flows(images: np.ndarray) -> np.ndarray:
    """uint8 (batch, time, 3, height, width) -> float32 (batch, time, 2, height, width): (u, v) in pixels from time 0; there zero.

    Small pictures are enlarged to 64 pixels on their shorter side, which the search needs to have levels to search over.
    """
    cv2 = _opencv()
    height, width = images.shape[-2:]
    factor = max(1, -(-_LEAST_SIDE // min(height, width)))
    grey = np.einsum("btchw,c->bthw", images, np.array(_GREY, np.float32)).round().astype(np.uint8)
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found = np.zeros((*images.shape[:2], 2, height, width), np.float32)
    for b, times in enumerate(grey):
        large = [cv2.resize(x, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC) if factor > 1 else x for x in times]
        for t in range(1, len(large)):
            flow = search.calc(large[0], large[t], None)
            if factor > 1:
                flow = cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA) / factor
            found[b, t] = flow.transpose(2, 0, 1)
    return found


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError("opencv-python-headless", "geometry", "optical flow") from error
    return cv2
