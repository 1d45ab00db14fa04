"""The axes of `foreact budget` as data: where each recipe's knob is, which words turn it, and which points make the grid.

Couplings keep their knobs in places of their own, so an axis is a list of places in the model's config; what has none of them is not
varied along it. Chunk length changes the weights, and means another training; precision and selectors are words of the evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

from foreact.acting.execution import Precision
from foreact.contract.config import apply_overrides
from foreact.contract.errors import ConfigError, ForeactError
from foreact.contract.specs import ActionSpec, ObservationSpec

__all__ = ["AXES", "BudgetGrid", "Point", "Skipped", "points"]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """places: dotted, in the model's config; all that are there are set to the same value. of: what the words are for.

    without: words of the evaluation, with {} for the value, where the model has none of the places; empty for none.
    own: the value that a model without places stands at.
    """

    name: str
    title: str
    places: tuple[str, ...] = ()
    of: Literal["running", "training"] = "running"
    without: tuple[str, ...] = ()
    own: Any = None


AXES = (
    Axis(name="denoising", title="denoising steps",
         places=("coupling.steps", "coupling.action_steps", "coupling.imagination.steps", "coupling.head.steps")),
    Axis(name="candidates", title="candidates", places=("coupling.candidates",),
         without=("selector={selector}", "selector.candidates={}"), own=1),
    Axis(name="replan", title="replan period", places=("regime.replan",)),
    Axis(name="precision", title="precision", without=("precision={}",), own="float32"),
    Axis(name="chunk", title="chunk length", places=("coupling.horizon",), of="training"),
)


@dataclass(frozen=True, kw_only=True)
class BudgetGrid:
    """denoising, candidates, replan, precision, chunk: values tried along each axis beside the recipe's own. cross: the product of all
    axes in place of one axis at a time.

    selector: what chooses among candidates where the recipe does not. baseline: the recipe whose no-future baseline is drawn in.
    steps: of optimisation for what is trained here, over the stages of the recipe; training: further words for it.
    episodes: seeds per task, from seed_start on. rounds: plans of each point that are timed. charge: evaluate points once more with
    their own median latency charged to the world: none, each recipe's own point, or all. on: where evaluations run.
    """

    denoising: tuple[int, ...] = (1, 2, 8)
    candidates: tuple[int, ...] = (4,)
    replan: tuple[int, ...] = (4, 16)
    precision: tuple[Precision, ...] = ()
    chunk: tuple[int, ...] = ()
    cross: bool = False
    selector: str = "ActionConsensus"
    baseline: str = "joint"
    size: str = "tiny"
    tasks: tuple[str, ...] = ("button-press-topdown", "window-open")
    conditions: tuple[str, ...] = ("clean",)
    demonstrations: int = 20
    steps: int = 300
    seed: int = 0
    training: tuple[str, ...] = ()
    episodes: int = 10
    seed_start: int = 1_000_000
    horizon: int = 200
    rounds: int = 24
    charge: Literal["none", "own", "all"] = "none"
    workers: int = 2
    on: Literal["local", "ray"] = "local"

    def __post_init__(self) -> None:
        for name in ("demonstrations", "steps", "episodes", "horizon", "rounds", "workers"):
            if getattr(self, name) < 1:
                raise ConfigError("must be at least 1", where=name, found=getattr(self, name))
        for axis in AXES:
            if any(value < 1 for value in self.values(axis) if isinstance(value, int)):
                raise ConfigError("a value of an axis is at least 1", where=axis.name, found=self.values(axis))

    def values(self, axis: Axis) -> tuple[Any, ...]:
        found: tuple[Any, ...] = getattr(self, axis.name)
        return found


@dataclass(frozen=True, kw_only=True)
class Point:
    """One way to run a recipe. at: its value on each axis that it has; moved: the axes on which it is not the recipe's own.

    training, model, evaluation: the words that make it so.
    """

    at: Mapping[str, Any]
    moved: Mapping[str, Any] = field(default_factory=dict)
    training: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    evaluation: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Short, and fit for a folder."""
        return "+".join(f"{axis}-{value}" for axis, value in self.moved.items()) or "own"

    @property
    def trained(self) -> str:
        """The name of its training, beside the recipe's own."""
        return "+".join(f"{axis.name}-{self.moved[axis.name]}" for axis in AXES if axis.of == "training" and axis.name in self.moved)


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """What is not varied, and why."""

    axis: str
    value: Any
    why: str


def points(model: Any, grid: BudgetGrid, specs: tuple[ObservationSpec, ActionSpec], *, retrain: bool = True,
           ) -> tuple[list[Point], list[Skipped]]:
    """The recipe's own point first, then what the grid asks for and the model can do; and what it cannot.

    model: its config. retrain: whether it is trained here, so that axes of training can be varied.
    """
    own = {axis.name: _own(model, axis) for axis in AXES}
    at = {name: value for name, value in own.items() if value is not None}
    found, skipped = [Point(at=at)], []
    offered: dict[str, list[Any]] = {}
    for axis in AXES:
        wanted = [value for value in grid.values(axis) if value != own[axis.name]]
        if wanted and own[axis.name] is None:
            skipped.append(Skipped(axis=axis.name, value=None, why="it has no such knob"))
        elif wanted and axis.of == "training" and not retrain:
            skipped.append(Skipped(axis=axis.name, value=None, why="another value is another training, and this run was given"))
        elif wanted:
            offered[axis.name] = wanted
    for moved in _moves(offered, grid.cross):
        try:
            point = _point(model, grid, at, moved)
            apply_overrides(model, [w.removeprefix("model.") for w in (*point.training, *point.model)]).check(*specs)
        except ForeactError as error:
            skipped.append(Skipped(axis="+".join(moved), value="+".join(map(str, moved.values())),
                                   why=f"{error.what}{f' ({error.found})' if error.found else ''}"))
        else:
            found.append(point)
    return found, skipped


def _moves(offered: Mapping[str, Sequence[Any]], cross: bool) -> Iterator[dict[str, Any]]:
    """Which axes leave the recipe's own point: one at a time, or every combination."""
    if not cross:
        yield from ({name: value} for name, values in offered.items() for value in values)
        return
    for chosen in product(*([None, *values] for values in offered.values())):
        moved = {name: value for name, value in zip(offered, chosen, strict=True) if value is not None}
        if moved:
            yield moved


def _point(model: Any, grid: BudgetGrid, own: Mapping[str, Any], moved: Mapping[str, Any]) -> Point:
    training: list[str] = []
    running: list[str] = []
    evaluation: list[str] = []
    for axis in (axis for axis in AXES if axis.name in moved):
        value, places = moved[axis.name], _places(model, axis)
        if not places:
            evaluation += [word.format(value, selector=grid.selector) for word in axis.without]
        elif axis.of == "training":
            training += _another_chunk(model, value)
        else:
            running += [f"model.{place}={value}" for place in places]
    return Point(at={**own, **moved}, moved=dict(moved), training=tuple(training), model=tuple(running), evaluation=tuple(evaluation))


def _another_chunk(model: Any, horizon: int) -> list[str]:
    """A chunk of another length with its frames at the same shares of it, and no replanning past its end."""
    coupling = model.coupling
    offsets = [round(offset * horizon / coupling.horizon) for offset in coupling.future_offsets]
    words = [f"model.coupling.horizon={horizon}", f"model.coupling.future_offsets={offsets}"]
    replan = _read(model, "regime.replan")
    return words if replan is None or replan <= horizon else [*words, f"model.regime.replan={horizon}"]


def _own(model: Any, axis: Axis) -> Any:
    """Where the model itself stands; None where it has no such knob. Several knobs that differ are told together."""
    found = [_read(model, place) for place in _places(model, axis)]
    if not found:
        return axis.own
    return found[0] if len(set(found)) == 1 else "+".join(map(str, found))


def _places(model: Any, axis: Axis) -> list[str]:
    return [place for place in axis.places if _read(model, place) is not None]


def _read(config: Any, place: str) -> Any:
    for name in place.split("."):
        config = getattr(config, name, None)
    return config
