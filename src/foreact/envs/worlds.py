"""Meta-World's own environments, seedable, on a scene that may have been edited before it is compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from foreact.envs.snapshots import capture

__all__ = ["Edit", "World"]

Edit = Callable[[Any], None]
"""Changes an `MjSpec` in place."""
_GOAL_GROUP = 5


class World:
    """Meta-World's environment of one task on one compiled scene, and the instant at which it was made."""

    def __init__(self, task: str, edits: Sequence[Edit], goal_visible: bool) -> None:
        self.raw = _raw_environment(task, edits)
        if not goal_visible:
            for site in range(self.raw.model.nsite):
                if "goal" in self.raw.model.site(site).name:
                    self.raw.model.site_group[site] = _GOAL_GROUP
        self.pristine = capture(self.raw)


def _raw_environment(task: str, edits: Sequence[Edit]) -> Any:
    """Meta-World's class for `task`, seedable, with the goal in its observation for the experts.

    Its classes look bodies, joints and sites up by name and write positions by size, so an edit may add what has no joint and
    may change shapes. It stands in a class derived on the spot, since the model is made in the constructor.
    """
    from metaworld.env_dict import ENV_CLS_MAP  # imports mujoco, which reads MUJOCO_GL once

    kind = ENV_CLS_MAP[f"{task}-v3"]
    raw = (type(kind.__name__, (kind,), {"_initialize_simulation": _compiling(edits)}) if edits else kind)()
    raw._freeze_rand_vec, raw.seeded_rand_vec, raw._set_task_called = False, True, True
    # The observation space caches its goal bounds; left in place it clips every goal to zero.
    raw.__dict__.pop("sawyer_observation_space", None)
    raw._partially_observable = False
    return raw


def _compiling(edits: Sequence[Edit]) -> Callable[[Any], tuple[Any, Any]]:
    def compiled(self: Any) -> tuple[Any, Any]:
        import mujoco

        spec = mujoco.MjSpec.from_file(self.fullpath)
        for edit in edits:
            edit(spec)
        model = spec.compile()
        return model, mujoco.MjData(model)

    return compiled
