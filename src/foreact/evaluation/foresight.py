"""What the action reads in closed loop in place of the future that the model imagines: the true one, noise, or nothing.

    own     what the model imagined
    expert  pictures of what comes when the scripted expert takes over at this instant, in the substrate of each part of the future
    noise   standard Gaussian noise at every level
    zero    the substrate's zero, at the level at which the future is read

`expert` bounds what foresight could give: no imagination can know the expert's future better. Where futures are read at a noise level,
the true one is noised to it, with one noise for a whole plan. It needs a future made of pictures, and a model whose action reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from foreact.acting.rehearsal import rehearsal
from foreact.contract.axes import Noise
from foreact.contract.context import Context, Scene
from foreact.contract.errors import ConfigError
from foreact.contract.stand_ins import at_level, in_form_of, of_parts, reads_changes
from foreact.model import Through, WorldActionModel

__all__ = ["FORESIGHTS", "Foresight", "require_read", "stand_in"]

Foresight = Literal["own", "expert", "noise", "zero"]
FORESIGHTS: tuple[Foresight, ...] = ("own", "expert", "noise", "zero")


def require_read(model: WorldActionModel, foresight: Foresight) -> None:
    """Raise `ConfigError` where this model's action reads no future that could be replaced so."""
    read: set[str] = set()

    def watch(name: str, values: Tensor, sigma: Tensor | None) -> Tensor:
        read.add(name)
        return values

    model.plan(rehearsal(model), through=watch)
    parts = sorted(read & set(model.parts))
    if not parts:
        raise ConfigError("the action of this model reads no future that could be replaced", where="evaluation.foresight",
                          found=", ".join(sorted(read)) or "nothing is read", accepted="a model that reads what it imagined",
                          next_step="foresight=own")
    if foresight == "expert":
        for name in parts:
            needs = model.parts[name].config.needs(model.observation)
            if needs or model.parts[name].fold > 1:
                raise ConfigError("a true future is made of the pictures at its times, and this one needs more",
                                  where="evaluation.foresight", found=f"{name}: {', '.join(needs) or 'several pictures for each time'}",
                                  accepted="a substrate of single pictures", next_step="foresight=own, noise or zero")


def stand_in(model: WorldActionModel, foresight: Foresight, context: Context, coming: Sequence[Mapping[str, np.ndarray]] | None,
             noise: Noise) -> Through | None:
    """What stands between future and action for one batch; `coming`: by row and camera, (time, 3, height, width), for `expert`."""
    if foresight == "own":
        return None
    drawn: dict[str, Tensor] = {}

    def noise_of(name: str, x: Tensor) -> Tensor:
        if name not in drawn:
            drawn[name] = noise(f"foresight.{name}", tuple(x.shape[1:])).to(x)
        return drawn[name]

    true = _true(model, context, coming) if foresight == "expert" and coming is not None else {}

    def through(name: str, x: Tensor, sigma: Tensor | None) -> Tensor:
        if name not in model.parts:
            return x
        if foresight == "noise":
            return noise_of(name, x)
        clean = torch.zeros_like(x) if foresight == "zero" else in_form_of(x, *true[name])
        if clean is None:
            raise ConfigError("this coupling reads its future in a form into which a true one cannot be brought",
                              where="evaluation.foresight", found=tuple(x.shape), next_step="foresight=own, noise or zero")
        return at_level(clean.to(x), sigma, noise_of(name, x))

    return through


@torch.no_grad()
def _true(model: WorldActionModel, context: Context, coming: Sequence[Mapping[str, np.ndarray]]) -> dict[str, tuple[Tensor, Tensor | None]]:
    """The clean future of each part, with what is taken off it."""
    images = {name: torch.cat([context.images[name][:, -1:], torch.from_numpy(np.stack([row[name] for row in coming]))], dim=1)
              for name in model.observation.camera_names}
    scene = Scene(images=images).to(model.device)
    future = {name: part.encode(scene)[:, 1:] for name, part in model.parts.items()
              if not part.config.needs(model.observation) and part.fold == 1}
    present = model.eye.encode(context.scene.at(slice(-1, None)).to(model.device))[:, -1]
    return of_parts(future, present, changes=reads_changes(model.config.coupling))
