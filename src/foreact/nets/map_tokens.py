"""Maps over pictures as tokens: a token is a patch of a camera's picture, its channels are the cells of the patch.

A map has a few layers (one for each class, say) on a fine grid of cells; each patch of detail x detail cells of all layers is
one token, channels by layer, then row, then column. Affordances share this form (survey, section 4.2.4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.contract.axes import SubstrateForm
from foreact.contract.context import Scene
from foreact.contract.errors import MisfitError, SpecError
from foreact.contract.specs import CameraSpec, ObservationSpec
from foreact.nets.units import Units

__all__ = ["MapTokens", "annotated", "calibrated", "hand_entries", "hand_places", "map_form"]


def calibrated(observation: ObservationSpec) -> tuple[CameraSpec, ...]:
    """The cameras in which a place in the world can be drawn; refuses where there is none."""
    found = tuple(camera for camera in observation.cameras if camera.calibration is not None)
    if not found:
        raise MisfitError("cameras and substrate do not fit", where="model.substrate",
                          found="no camera of which it is known where it stands", accepted="one calibrated camera or more",
                          next_step="give CameraSpec.calibration, or choose a substrate made from images")
    return found


def hand_entries(observation: ObservationSpec, names: Sequence[str]) -> list[int]:
    """Where the state holds the hand's place; refuses a state that does not name it."""
    lacking = [name for name in names if name not in observation.state.names]
    if lacking:
        raise MisfitError("the state does not say where the hand is", where="model.substrate.hand", found=", ".join(lacking),
                          accepted=", ".join(observation.state.names) or "a state with the hand's place",
                          next_step="name the three entries in model.substrate.hand, or choose a substrate made from images")
    return [observation.state.names.index(name) for name in names]


def hand_places(scene: Scene, entries: Sequence[int]) -> Float[Tensor, "batch time 3"]:
    """The hand in the world in m, from proprioception."""
    if scene.state is None:
        raise SpecError("a map about the hand is made from proprioception", where="scene.state", found="none",
                        accepted="the state at every time")
    return scene.state[..., list(entries)].float()


def annotated(scene: Scene, name: str) -> Tensor:
    """An annotation of the scene, which only training has."""
    if name not in scene.annotations:
        raise SpecError("an annotation is missing from which a future is made", where="scene.annotations", found=name,
                        accepted=", ".join(scene.annotations) or "none is there",
                        next_step=f"collect with annotations.{name.partition('.')[0]}=true")
    return scene.annotations[name]


def map_form(cameras: Sequence[CameraSpec], grid: tuple[int, int], detail: int, layers: int) -> SubstrateForm:
    """The form of what is laid out so; refuses cells that are finer than pixels."""
    cells = tuple(detail * side for side in grid)
    small = [camera for camera in cameras if camera.height < cells[0] or camera.width < cells[1]]
    if small or not cameras:
        sizes = ", ".join(f"{c.height} x {c.width}" for c in small) or "no camera"
        raise MisfitError("cameras and substrate do not fit", where="model.substrate.grid",
                          found=f"{cells[0]} x {cells[1]} cells in pictures of {sizes}",
                          accepted="at most one cell a pixel", next_step="use larger images, or fewer cells")
    return SubstrateForm(grid=(len(cameras), *grid), channels=layers * detail**2)


class MapTokens(nn.Module):
    """Packs maps into tokens of about unit variance and unpacks them; one mean and one scale for each layer."""

    def __init__(self, cameras: Sequence[CameraSpec], grid: tuple[int, int], detail: int, layers: int) -> None:
        super().__init__()
        self.cameras, self.grid, self.detail, self.layers = tuple(cameras), grid, detail, layers
        self.cells = tuple(detail * side for side in grid)
        self.units = Units(layers, 1)

    def centres(self, camera: CameraSpec, device: torch.device) -> Float[Tensor, "rows columns 2"]:
        """Middle of each cell in pixels of the camera, (column, row)."""
        rows, columns = self.cells
        row, column = torch.meshgrid((torch.arange(rows, device=device) + 0.5) * camera.height / rows,
                                     (torch.arange(columns, device=device) + 0.5) * camera.width / columns, indexing="ij")
        return torch.stack([column, row], dim=-1)

    def shares(self, picture: Float[Tensor, "*any height width"]) -> Float[Tensor, "*any rows columns"]:
        """Mean of a picture over each cell."""
        flat = F.adaptive_avg_pool2d(picture.flatten(0, -3)[:, None], self.cells)
        return flat.view(*picture.shape[:-2], *self.cells)

    def pack(self, maps: Float[Tensor, "batch time camera layer rows columns"]) -> Float[Tensor, "batch time tokens channels"]:
        tokens = F.pixel_unshuffle(maps.flatten(0, 2), self.detail).flatten(2).transpose(1, 2)
        tokens = self.units(tokens.unflatten(-1, (self.layers, -1))).flatten(-2)
        return tokens.reshape(*maps.shape[:2], -1, tokens.shape[-1])

    def future(self, maps: Float[Tensor, "batch time camera layer rows columns"]) -> Float[Tensor, "batch time tokens channels"]:
        """Packed, with zeros at the present, which is not part of a future."""
        values = self.pack(maps)
        values[:, 0] = 0
        return values

    def unpack(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time camera layer rows columns"]:
        tokens = self.units.inverse(values.float().unflatten(-1, (self.layers, -1))).flatten(-2)
        grids = tokens.unflatten(2, (len(self.cameras), *self.grid)).permute(0, 1, 2, 5, 3, 4)
        return F.pixel_shuffle(grids.flatten(0, 2), self.detail).unflatten(0, grids.shape[:3])

    def fit(self, maps: Float[Tensor, "batch time camera layer rows columns"], *, floor: float) -> None:
        """Units from many maps; a layer that varies less than `floor` is not scaled up to one."""
        self.units.fit(maps.transpose(2, 3).flatten(3).flatten(0, 1), centred=True, floor=floor)

    def painted(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
                colours: Sequence[tuple[float, float, float]]) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        """The present, dimmed, with each layer in its colour over it; where a map is 1 nothing else is seen."""
        maps, found = self.unpack(values).clamp(0, 1), {}
        paint = torch.tensor(colours, device=values.device, dtype=torch.float32)
        for index, camera in enumerate(self.cameras):
            cover = F.interpolate(maps[:, :, index].flatten(0, 1), (camera.height, camera.width), mode="bilinear", align_corners=False)
            under = 0.5 * present[camera.name].float().repeat_interleave(values.shape[1], dim=0)
            for layer, colour in enumerate(paint):
                share = cover[:, layer, None]
                under = (1 - share) * under + share * 255 * colour[:, None, None]
            found[camera.name] = under.round().clamp(0, 255).to(torch.uint8).unflatten(0, values.shape[:2])
        return found
