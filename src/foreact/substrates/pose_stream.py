"""A stream of poses: how proprioception changes from the present to each future (survey, section 4.2.3).

    s in R^{H x C}: the state at t + o less the state at t, for each entry that is wanted

One token a frame. An entry is measured as it is recorded: positions in metres, a gripper in its fraction, angles and quaternions
by their numbers, whose difference is a rotation only where it is small. The future state is what the demonstrator's robot did; it
is not an action, since it is known without one, as in video of a robot whose commands were not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from foreact.contract.axes import Substrate, SubstrateForm
from foreact.contract.context import Scene
from foreact.contract.errors import MisfitError, SpecError
from foreact.contract.specs import ObservationSpec
from foreact.nets.units import Units, first_scenes

__all__ = ["PoseStream", "state_columns", "state_of"]

_FIT_BATCHES = 32


def state_columns(observation: ObservationSpec, names: tuple[str, ...], *, where: str) -> tuple[int, ...]:
    """Where these entries stand in the state; raises `MisfitError` where the robot has none of that name."""
    known = observation.state.names
    if lacking := [name for name in names if name not in known]:
        raise MisfitError("state and substrate do not fit", where=where, found=", ".join(lacking), accepted=", ".join(known))
    return tuple(known.index(name) for name in names)


def state_of(scene: Scene) -> Float[Tensor, "batch time state"]:
    """The state of a scene; raises `SpecError` where it is not known at every time."""
    if scene.state is None:
        raise SpecError("the state of the future is not known", where="scene.state", found=None, accepted="(batch, time, state)",
                        next_step="train on windows with their future state")
    return scene.state.float()


class PoseStream(Substrate):
    """One token for each frame; a channel for each entry of the state."""

    kind = "Geometric"
    decodable = watchable = per_frame = False

    @dataclass(frozen=True, kw_only=True)
    class Config(Substrate.Config):
        """`names`: entries of the state; empty for all. floor: the least motion, in an entry's own unit, that is scaled up."""

        names: tuple[str, ...] = ()
        floor: float = 1e-3

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            columns = state_columns(observation, self.names or observation.state.names, where="model.substrate.names")
            return SubstrateForm(grid=(1, 1, 1), channels=len(columns))

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return ()

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form = config, config.form(observation)
        self._columns = list(state_columns(observation, config.names or observation.state.names, where="model.substrate.names"))
        self.units = Units(self.form.channels)

    def _moves(self, scene: Scene) -> Float[Tensor, "batch time channels"]:
        state = state_of(scene)[..., self._columns]
        return state - state[:, :1]

    @torch.no_grad()
    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        return self.units(self._moves(scene))[:, :, None]

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return values

    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        raise SpecError("a change of pose has no decoder: it says how far, not from where", where="model.substrate", found="PoseStream",
                        accepted="a substrate with watchable = True", next_step="model.substrate=Polyline draws where the hand goes")

    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        """A scale for each entry from at most 32 batches. Returns change: the root mean square of all, in their own units."""
        moves = torch.cat([self._moves(scene)[:, 1:] for scene in first_scenes(batches, min(steps, _FIT_BATCHES))])
        self.units.fit(moves, centred=False, floor=self.config.floor)
        return {"change": float(moves.square().mean().sqrt())}
