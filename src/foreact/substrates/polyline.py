"""The path of the hand in the picture: future hand positions projected into calibrated cameras (survey, section 4.2.3).

    s in R^{H x cameras x 4}: (u_{t+o} - u_t, v_{t+o} - v_t, u_t, v_t) in pixels, before scaling

One token for each frame and camera: a vertex of the polyline, as far as it is from where the line begins, and where that is, which
the last two channels say so that the line can be drawn and read without the state. So a future at five offsets is ICLR-VR's
five-point polyline of the gripper. The paper reads one keypoint off a rendered third view; here the hand's recorded position is
projected, which needs a camera that stands still and is calibrated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from foreact.contract.axes import Substrate, SubstrateForm
from foreact.contract.context import Scene
from foreact.contract.errors import MisfitError
from foreact.contract.specs import CameraSpec, ObservationSpec
from foreact.flow.cameras import project
from foreact.flow.drawing import draw_segments
from foreact.nets.units import Units, first_scenes
from foreact.substrates.pose_stream import state_columns, state_of

__all__ = ["Polyline"]

_FIT_BATCHES = 32
_COLOUR = (1.0, 0.3, 0.9)


class Polyline(Substrate):
    """A vertex for each calibrated camera and each future."""

    kind = "Geometric"
    decodable = per_frame = False
    watchable = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Substrate.Config):
        """`hand`: the entries of the state that are its position in the world in m. cameras: which; empty for all that are calibrated.
        floor: pixels below which motion is not scaled up."""

        hand: tuple[str, str, str] = ("hand_x", "hand_y", "hand_z")
        cameras: tuple[str, ...] = ()
        floor: float = 0.1

        def chosen(self, observation: ObservationSpec) -> tuple[CameraSpec, ...]:
            """The cameras that it draws in."""
            wanted = [observation.camera(name) for name in self.cameras or observation.camera_names]
            calibrated = tuple(camera for camera in wanted if camera.calibration is not None)
            if not calibrated or (self.cameras and len(calibrated) < len(wanted)):
                raise MisfitError("cameras and substrate do not fit", where="model.substrate.cameras",
                                  found=", ".join(c.name for c in wanted if c.calibration is None) + ", not calibrated",
                                  accepted=", ".join(c.name for c in observation.cameras if c.calibration) or "a calibrated camera",
                                  next_step="state the calibration of a camera that stands still, in its `CameraSpec`")
            return calibrated

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            state_columns(observation, self.hand, where="model.substrate.hand")
            return SubstrateForm(grid=(len(self.chosen(observation)), 1, 1), channels=4)

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return ()

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form, self.cameras = config, config.form(observation), config.chosen(observation)
        self._hand = list(state_columns(observation, config.hand, where="model.substrate.hand"))
        self.move, self.start = Units(len(self.cameras), 1), Units(len(self.cameras), 2)

    def _pixels(self, scene: Scene) -> Float[Tensor, "batch time camera 2"]:
        """Where the hand is, no further than one picture beyond the border."""
        hand, found = state_of(scene)[..., self._hand], []
        for camera in self.cameras:
            pixels, _ = project(camera.calibration, hand, height=camera.height, width=camera.width)
            size = pixels.new_tensor([camera.width, camera.height])
            found.append(torch.minimum(torch.maximum(pixels, -size), 2 * size))
        return torch.stack(found, dim=2)

    @torch.no_grad()
    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        pixels = self._pixels(scene)
        values = torch.cat([self.move(pixels - pixels[:, :1]), self.start(pixels[:, :1]).expand_as(pixels)], dim=-1)
        values[:, 0] = 0  # the present is not part of a future
        return values

    def pixels(self, values: Float[Tensor, "*any tokens channels"],
               ) -> tuple[Float[Tensor, "*any tokens 2"], Float[Tensor, "*any tokens 2"]]:
        """Where the line begins, and the vertex, in pixels of each camera."""
        start = self.start.inverse(values[..., 2:])
        return start, start + self.move.inverse(values[..., :2])

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return values

    @torch.no_grad()
    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        """The path up to each future, drawn over the present of each camera that it lives in."""
        start, vertex = self.pixels(values.float())
        path = torch.cat([start.mean(dim=1, keepdim=True), vertex], dim=1)
        later = torch.ones(values.shape[1], values.shape[1], dtype=torch.bool, device=values.device).triu(1)[None, :, :, None]
        found = {}
        for index, camera in enumerate(self.cameras):
            begin, end = (x[:, None, :, index].expand(-1, values.shape[1], -1, -1) for x in (path[:, :-1], path[:, 1:]))
            end = end.masked_fill(later, torch.nan).flatten(0, 1)
            under = present[camera.name].repeat_interleave(values.shape[1], dim=0)
            colours = end.new_tensor(_COLOUR).expand(*end.shape[:2], 3)
            found[camera.name] = draw_segments(under, begin.flatten(0, 1), end, colours).unflatten(0, values.shape[:2])
        return found

    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        """Scales for each camera from at most 32 batches. Returns displacement_px: the root mean square length from the start."""
        pixels = torch.cat([self._pixels(scene) for scene in first_scenes(batches, min(steps, _FIT_BATCHES))])
        moves = pixels[:, 1:] - pixels[:, :1]
        self.move.fit(moves, centred=False, floor=self.config.floor)
        self.start.fit(pixels[:, 0], centred=True, floor=self.config.floor)
        return {"displacement_px": float(moves.square().sum(-1).mean().sqrt())}
