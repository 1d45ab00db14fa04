"""A scene in which the things of several instructions stand at once, and which pixels are of the thing that an instruction names.

The scene is that of the first instruction's task under `semantic`, with the things of the others beside its own; the object of the
segmentation is then whichever thing is asked for. Meta-World's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from foreact.contract.errors import ConfigError, SpecError, nearest
from foreact.envs.instructions import INSTRUCTIONS
from foreact.envs.metaworld import MetaWorld
from foreact.envs.semantics import BACKGROUND, CLUTTER, OBJECT, classes_of
from foreact.envs.things import THINGS

__all__ = ["classes_naming", "scene_of", "task_of"]


def task_of(instruction: str) -> str:
    """The task that a sentence asks for, in any of its words."""
    found = next((task for task, texts in INSTRUCTIONS.items() if instruction in texts), None)
    if found is None:
        known = [texts[0] for texts in INSTRUCTIONS.values()]
        raise ConfigError("no task of Meta-World is told so", where="instructions", found=instruction,
                          accepted="a sentence of foreact.envs.instructions", next_step=nearest(instruction, known))
    return found


def scene_of(instructions: Sequence[str], *, cameras: Sequence[str], size: int) -> MetaWorld.Config:
    """The scene in which the things of all these instructions stand; the first one's is the task's own."""
    task, *beside = (task_of(text) for text in instructions)
    kinds = [THINGS[name].kind for name in (task, *beside) if name in THINGS]
    if len(set(kinds)) != len(instructions):
        raise ConfigError("the instructions do not name things of different kinds", where="instructions",
                          found=", ".join(f"{t}: {THINGS[n].kind if n in THINGS else 'nothing that can stand beside another'}"
                                          for t, n in zip(instructions, (task, *beside), strict=True)),
                          accepted="tasks of: " + ", ".join(THINGS))
    return MetaWorld.Config(task=task, cameras=tuple(cameras), size=size, condition="semantic", distractors=tuple(beside),
                            standing=len(beside))


def classes_naming(env: MetaWorld, camera: str, task: str) -> UInt8[np.ndarray, "height width"]:
    """The classes of what the camera sees now, with the thing of `task` as the only object; it may be hidden, or not stand there."""
    model, ids = env.simulation.model, env.draw_geoms(camera)
    classes = classes_of(model, ids)
    if task == env.task:
        return classes
    roots = [model.body(int(root)).name for root in model.body_rootid[model.geom_bodyid]]
    own = np.array([name.startswith(f"{CLUTTER}{task}/") for name in roots])
    if not own.any():
        raise SpecError("the thing of this task is not in the scene", where="env.distractors", found=task,
                        accepted=", ".join((env.task, *env.config.distractors)))
    classes = np.where(classes == OBJECT, BACKGROUND, classes).astype(np.uint8)
    classes[(ids >= 0) & own[np.maximum(ids, 0)]] = OBJECT
    return classes
