"""RoboCasa's GR1 tabletop as papers measure on it: its 24 tasks, the robot's numbers, the protocol, and success rates that are printed.

The rates stand in `robocasa_published.csv`, one row for a method and a task in percent, as printed, the average ("average") among them.
GR00T N1.5 and N1.6: tables of NVIDIA's repository Isaac-GR00T (examples/RoboCasa; examples/robocasa-gr1-tabletop-tasks), by task. AGRA:
66.4 over all 24 tasks, 18.8 points above GR00T, which is N1.6's printed average; of it no rates by task are published. FLARE, DiT4DiT and
LDA-1B are said to lie more than 10 points below AGRA, without figures. None of it was measured by us.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import numpy as np
from jaxtyping import Float

from foreact.contract.errors import ConfigError, SpecError, nearest

__all__ = ["ARTICULATED", "DATASET", "NAMES", "PARTS", "PICK_AND_PLACE", "PROTOCOL", "TASKS", "Published", "Rule", "from_dataset",
           "methods", "published", "to_dataset"]

PARTS: dict[str, int] = {"left_arm": 7, "right_arm": 7, "left_hand": 6, "right_hand": 6, "waist": 3}
"""The 29 numbers of action and state, in the order in which GR00T takes them."""
_FINGERS = ("pinky", "ring", "middle", "index", "thumb", "thumb_turn")
NAMES: tuple[str, ...] = (
    *(f"{side}_joint_{i + 1}" for side in ("left", "right") for i in range(7)),
    *(f"{side}_{finger}" for side in ("left", "right") for finger in _FINGERS), "waist_yaw", "waist_pitch", "waist_roll")
"""Shoulder pitch, roll, yaw, elbow, wrist yaw, roll, pitch are the joints of an arm."""
DATASET: dict[str, int] = {"left_arm": 7, "left_hand": 6, "left_leg": 6, "neck": 3,
                           "right_arm": 7, "right_hand": 6, "right_leg": 6, "waist": 3}
"""The 44 numbers of state and action in the published demonstrations, in order; legs and neck stand still."""

_PICK = {"Cuttingboard": ("Basket", "Cardboardbox", "Pan", "Pot", "Tieredbasket"), "Placemat": ("Basket", "Bowl", "Plate", "Tieredshelf"),
         "Plate": ("Bowl", "Cardboardbox", "Pan", "Plate"), "Tray": ("Cardboardbox", "Plate", "Pot", "Tieredbasket", "Tieredshelf")}
ARTICULATED: tuple[str, ...] = ("PnPCupToDrawerClose", "PnPPotatoToMicrowaveClose", "PnPMilkToMicrowaveClose", "PnPBottleToCabinetClose",
                                "PnPWineToCabinetClose", "PnPCanToDrawerClose")
"""Put it in and close the door or the drawer."""
PICK_AND_PLACE: tuple[str, ...] = tuple(f"PosttrainPnPNovelFrom{source}To{target}SplitA" for source, targets in _PICK.items()
                                        for target in targets)
TASKS: tuple[str, ...] = (*ARTICULATED, *PICK_AND_PLACE)
"""In the order of RoboCasa's list, by the names of their classes."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How the tasks are evaluated.

    horizon: most control steps, rate_hz of them a second. episodes: rollouts per task of N1.5's table; N1.6's note says 20 and that the
    variance is large. demonstrations: per task, of which AGRA uses all.
    """

    rate_hz: float = 20.0
    horizon: int = 720
    episodes: int = 50
    demonstrations: int = 1000
    pick_and_place: frozenset[str] = field(default_factory=lambda: frozenset(PICK_AND_PLACE))


@dataclass(frozen=True, kw_only=True)
class Published:
    """Success rates in percent of one method: by task, where they are printed, and the printed average."""

    method: str
    source: str
    tasks: dict[str, float]
    average: float


@cache
def _rows() -> tuple[dict[str, str], ...]:
    with files("foreact.envs").joinpath("robocasa_published.csv").open() as file:
        return tuple(csv.DictReader(file))


def methods() -> tuple[str, ...]:
    return tuple(dict.fromkeys(row["method"] for row in _rows()))


def published(method: str = "AGRA") -> Published:
    """What is printed for `method`; raises `ConfigError` naming the methods that there are."""
    rows = [row for row in _rows() if row["method"] == method]
    if not rows:
        raise ConfigError("no such row is published", where="robocasa.published", found=method, accepted=", ".join(methods()),
                          next_step=nearest(method, methods()))
    rates = {row["task"]: float(row["success"]) for row in rows}
    return Published(method=method, source=rows[0]["source"], average=rates.pop("average"), tasks=rates)


def from_dataset(numbers: Float[np.ndarray, "*rows numbers"]) -> Float[np.ndarray, "*rows 29"]:
    """State or action of the published demonstrations as the 29 numbers here."""
    if numbers.shape[-1] != sum(DATASET.values()):
        raise SpecError("not a row of the published demonstrations", where="robocasa.from_dataset", found=numbers.shape[-1],
                        accepted=sum(DATASET.values()))
    parts = dict(zip(DATASET, np.split(numbers, np.cumsum(list(DATASET.values()))[:-1], axis=-1), strict=True))
    return np.concatenate([parts[name] for name in PARTS], axis=-1)


def to_dataset(numbers: Float[np.ndarray, "*rows 29"]) -> Float[np.ndarray, "*rows 44"]:
    """The 29 numbers as a row of the published demonstrations, legs and neck at 0."""
    parts = dict(zip(PARTS, np.split(numbers, np.cumsum(list(PARTS.values()))[:-1], axis=-1), strict=True))
    still = {name: np.zeros((*numbers.shape[:-1], count), numbers.dtype) for name, count in DATASET.items() if name not in parts}
    return np.concatenate([{**parts, **still}[name] for name in DATASET], axis=-1)


PROTOCOL = Rule()
