"""Measure scripted experts under the shifts of the scene, and draw the pictures of `shifts.md`: `python docs/publish_shifts.py [TASK ...]`.

With tasks, all variants of their things are measured anew on ten development seeds and written to `instances.csv`, the evidence for what
a task offers; a variant is given up after its third failure. Without, only the pictures are drawn.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from foreact.envs.base import DEVELOPMENT_SEEDS
from foreact.envs.embodiments import EMBODIMENTS, OWN
from foreact.envs.episodes import Expert, record
from foreact.envs.instances import VARIANTS, reshaping
from foreact.envs.metaworld import MetaWorld
from foreact.envs.worlds import World

ROOT = Path(__file__).resolve().parents[1]
TABLE, IMAGES = ROOT / "src/foreact/envs/instances.csv", ROOT / "docs/images"
SEEDS, PLAIN = range(DEVELOPMENT_SEEDS.start, DEVELOPMENT_SEEDS.start + 10), Expert(noise_std=0.0)
SHOWN = ("button-press-topdown", "window-open", "faucet-close")
CONDITIONS = ("clean", "random", "semantic", "instance")


def measured(task: str, variant: str) -> tuple[int, int]:
    """Successes of the expert, and seeds tried."""
    env = MetaWorld.Config(task=task, size=16, horizon=300).build()
    env._worlds[""] = env._world = World(env.task, (reshaping(env.task, variant),), True)  # a variant that is not offered yet
    env._use(env.simulation.model, env.simulation.data)
    outcomes: list[bool] = []
    for seed in SEEDS:
        outcomes.append(record(env, seed, PLAIN).succeeded)
        if outcomes.count(False) > 2:
            break
    env.close()
    return sum(outcomes), len(outcomes)


def measure(tasks: list[str]) -> None:
    """Replace the rows of `tasks` in the table."""
    with TABLE.open() as file:
        rows = {(row["task"], row["variant"]): row for row in csv.DictReader(file) if row["task"] not in tasks}
    for task in tasks:
        for variant in VARIANTS:
            successes, n = measured(task, variant)
            print(task, variant, successes, "of", n, flush=True)
            rows[task, variant] = {"task": task, "variant": variant, "successes": successes, "n": n}
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, ("task", "variant", "successes", "n"), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[key] for key in sorted(rows, key=lambda key: (key[0], list(VARIANTS).index(key[1]))))


def picture() -> None:
    """Three tasks, four conditions, two seeds each."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(SHOWN), 2 * len(CONDITIONS), figsize=(16, 6.4), dpi=80)
    for place, (row, task) in enumerate(zip(axes, SHOWN, strict=True)):
        for index, condition in enumerate(CONDITIONS):
            env = MetaWorld.Config(task=task, size=160, cameras=("scene",), condition=condition, distractors=SHOWN).build()
            for column in (0, 1):
                env.start(SEEDS[3 * column])
                env.advance(np.zeros(4, np.float32))  # Meta-World draws what it has placed one step late
                axis = row[2 * index + column]
                axis.imshow(env.draw("scene").transpose(1, 2, 0))
                axis.set(xticks=[], yticks=[], title="" if place else f"{condition}, seed {SEEDS[3 * column]}")
                axis.set_ylabel(task if axis is row[0] else "")
            env.close()
    _save(figure, "shifts.png")


def looks() -> None:
    """The robot's own look and the others, from both cameras, at two moments of one episode."""
    import matplotlib.pyplot as plt

    names = (OWN, *EMBODIMENTS)
    figure, axes = plt.subplots(len(names), 4, figsize=(8, 6.4), dpi=80)
    for row, name in zip(axes, names, strict=True):
        env = MetaWorld.Config(task="window-open", size=160, embodiment=name).build()
        recording = record(env, SEEDS[3], PLAIN)
        for index, moment in enumerate((0, -1)):
            with env.on_stage(recording.stages[moment]):
                for column, camera in enumerate(("scene", "gripper")):
                    axis = row[2 * index + column]
                    axis.imshow(env.draw(camera).transpose(1, 2, 0))
                    axis.set(xticks=[], yticks=[], ylabel=name if axis is row[0] else "")
        env.close()
    _save(figure, "embodiments.png")


def _save(figure: object, name: str) -> None:
    figure.tight_layout(pad=0.3)
    figure.savefig(IMAGES / name)


if __name__ == "__main__":
    if sys.argv[1:]:
        measure(sys.argv[1:])
    else:
        picture()
        looks()
