"""Pictures cut into square patches, the tokens of every code that is learnt here."""

from __future__ import annotations

from foreact.contract.errors import MisfitError
from foreact.contract.specs import ObservationSpec

__all__ = ["patch_grid"]


def patch_grid(observation: ObservationSpec, patch: int) -> tuple[int, int, int]:
    """(cameras, rows, columns) of patches of `patch` x `patch` pixels; raises `MisfitError` where the cameras do not divide into them."""
    sizes = {(camera.height, camera.width) for camera in observation.cameras}
    if len(sizes) != 1 or any(height % patch or width % patch for height, width in sizes):
        raise MisfitError("cameras and substrate do not fit", where="model.substrate.patch",
                          found=f"images of {sorted(sizes)}, tokens of {patch} x {patch} pixels",
                          accepted=f"cameras of one size, divisible by {patch}",
                          next_step="resize the images with windows.image_size, or change model.substrate.patch")
    (height, width), = sizes
    return len(observation.cameras), height // patch, width // patch
