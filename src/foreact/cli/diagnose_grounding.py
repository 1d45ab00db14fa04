"""`foreact diagnose grounding`: the same observation under several instructions, for one model or for two beside each other."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from foreact.cli.parsing import Parser
from foreact.cli.result import Result
from foreact.cli.seen_frames import SeenSettings, camera_of, figures, seen
from foreact.contract.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from foreact.contract.context import Context

__all__ = ["KEYS", "SETTINGS", "TEXT", "GroundingSettings", "add_options", "main"]

TEXT = """AGRA's apple and banana: a scene in which the things of several instructions stand at once, planned from the same observation
under each of them. Where does the action look, and what is it sensitive to: what is named, or what stands there?

  named      weight on the thing that is named, over chance; unnamed: on the other things that stand there. A model that sees things and
             does not listen has the same in both; the controls are those of foreact diagnose attention

Several runs (before and after alignment, say) are shown the same scenes and stand below each other on one picture; of the last against the
first, the differences are paired by scene. Scenes are Meta-World's, from `seed` on; with --data, frames of a dataset with segmentation,
whose own instruction is the only one with a mask.

examples
  foreact diagnose grounding runs/plain runs/aligned --names "not aligned" aligned \\
    --instructions "press the button from above" "slide the window open" --out runs/naming.html --picture runs/naming.png
  foreact diagnose grounding runs/agra --data runs/seen --instructions "press the button from above" "slide the window open"

settings
  frames=8 (scenes)   shown=2 (of them, on the picture)   looked=both|attention|sensitivity   margin=4 pixels   camera=null   seed=500000
  stream=video   layer=null (a third of the depth) and replace=mean: of the intervention   noise=0"""
SETTINGS = True
KEYS = ("frames", "shown", "looked", "margin", "camera", "seed", "stream", "layer", "replace", "noise")


@dataclass(frozen=True, kw_only=True)
class GroundingSettings(SeenSettings):
    """See the words of the command."""

    frames: int = 8
    seed: int = 500_000
    shown: int = 2
    looked: Literal["both", "attention", "sensitivity"] = "both"
    stream: str = "video"
    layer: int | None = None
    replace: Literal["mean", "noise"] = "mean"
    noise: int = 0


@dataclass(frozen=True)
class _Scene:
    """One observation and what may be told of it. masks: of the thing that each instruction names, or None; told: where it comes from."""

    context: Context
    picture: np.ndarray
    masks: list[np.ndarray | None]
    told: dict[str, int]


def add_options(parser: Parser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="runs or checkpoint folders that look through the same cameras")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="of the runs, on the picture (default: their folders)")
    parser.add_argument("--instructions", nargs="+", required=True, metavar="TEXT", help="two or more, each naming another thing")
    parser.add_argument("--data", type=Path, metavar="DATASET", help="frames of this dataset in place of scenes")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write an HTML page")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="also write the picture alone, as PNG")


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.contract.config import apply_overrides, encode
    from foreact.diagnostics.naming import NAMING, naming
    from foreact.reporting.side_by_side import Row, write_picture, write_side_by_side_page
    from foreact.training.checkpoint import load_model

    config = apply_overrides(GroundingSettings(), settings)
    names = _names(options)
    kinds = ("attention", "sensitivity") if config.looked == "both" else (config.looked,)
    measured: dict[str, dict[str, list[dict[str, float | None]]]] = {}
    rows: list[list[Row]] = [[] for _ in range(config.shown)]
    scenes: list[_Scene] = []
    for path, name in zip(options.runs, names, strict=True):
        model, measured[name] = load_model(path), {kind: [] for kind in kinds}
        camera = camera_of(model, config.camera)
        found = list(_framed(options, path, config, camera) if options.data else _staged(model, options.instructions, config, camera))
        if scenes and [scene.told for scene in found] != [scene.told for scene in scenes]:
            raise ConfigError("the runs do not see the same frames", where="runs", found=f"{names[0]} and {name}",
                              accepted="runs that look equally often", next_step="leave --data out, for scenes that any run can be shown")
        scenes = found
        for index, scene in enumerate(scenes):
            heats = {kind: _HEATS[kind](model, scene.context, options.instructions, config, camera) for kind in kinds}
            for kind, heat in heats.items():
                measured[name][kind].append(naming(heat, [_on_grid(mask, heat[0].shape) for mask in scene.masks]))
            if index < config.shown:
                rows[index].append(Row(name=name, heats=heats, ratios={kind: measured[name][kind][-1] for kind in kinds}))
    of = [scene.told.get("episode", index) for index, scene in enumerate(scenes)]
    data = {"runs": dict(zip(names, map(str, options.runs), strict=True)), "instructions": options.instructions, "settings": encode(config),
            "figures": {name: {kind: figures(each, NAMING, of=of) for kind, each in one.items()} for name, one in measured.items()},
            "differences": _differences(measured, names, kinds, of), "scenes": [scene.told for scene in scenes]}
    text, shown = _text(data), [(scene.picture, scene.masks, row) for scene, row in zip(scenes, rows, strict=False)]
    if options.picture is not None:
        write_picture(shown, options.instructions, options.picture)
        data["picture"] = str(options.picture)
        text += f"\npicture: {options.picture}"
    if options.out is not None:
        write_side_by_side_page(data, shown, options.out, written=date.today().isoformat())
        data["page"] = str(options.out)
        text += f"\npage: {options.out}"
    return Result(data=data, text=text)


def _names(options: argparse.Namespace) -> list[str]:
    names = options.names or [str(path) for path in options.runs]
    if len(names) != len(options.runs) or len(set(names)) != len(names):
        raise ConfigError("each run has a name of its own", where="names", found=names, accepted=f"{len(options.runs)} names")
    if len(set(options.instructions)) < 2:
        raise ConfigError("one observation is told two things or more", where="instructions", found=options.instructions)
    return names


# --- observations -----------------------------------------------------------------------------------------------------

def _staged(model: Any, instructions: Sequence[str], config: GroundingSettings, camera: str) -> Iterator[_Scene]:
    """Seeded starts in which every thing is seen."""
    import numpy as np

    from foreact.contract.errors import SpecError
    from foreact.diagnostics.grounding import thing_mask
    from foreact.envs.metaworld import MetaWorld
    from foreact.envs.named_things import classes_naming, scene_of, task_of
    from foreact.envs.semantics import OBJECT
    from foreact.evaluation.controller import Seat, context_of

    spec, coupling = model.observation, model.config.coupling
    env = MetaWorld(scene_of(instructions, cameras=spec.camera_names, size=spec.cameras[0].height))
    found = 0
    for seed in range(config.seed, config.seed + 10 * config.frames):
        observation, _ = env.reset(seed=seed)
        classes = [classes_naming(env, camera, task_of(text)) for text in instructions]
        if not all((one == OBJECT).any() for one in classes):
            continue
        context = context_of([Seat(seed=seed, seen=[observation])], history=coupling.history, past=coupling.past_actions,
                             width=model.action.size)
        yield _Scene(context, np.transpose(observation["images"][camera], (1, 2, 0)),
                     [thing_mask(one, margin=config.margin) for one in classes], {"seed": seed})
        found += 1
        if found == config.frames:
            break
    env.close()
    if found < config.frames:
        raise SpecError("not all things are seen in enough scenes", where="frames", found=found, accepted=config.frames,
                        next_step="another camera, or fewer things")


def _framed(options: argparse.Namespace, run: Path, config: GroundingSettings, camera: str) -> Iterator[_Scene]:
    """Frames of a dataset; what another instruction than the frame's own names is not known."""
    from foreact.cli.seen_frames import pictures
    from foreact.contract.errors import DatasetError
    from foreact.diagnostics.grounding import thing_mask
    from foreact.training.checkpoint import load_run

    asked = argparse.Namespace(run=run, data=options.data)
    frames = [f for f in seen(load_run(run), asked, config, camera) if f.context.instruction[0] in options.instructions]
    if len(frames) < 2:
        raise DatasetError("few frames have one of these instructions", where=str(options.data), found=len(frames), accepted="2 or more",
                           next_step="one of the dataset's own instructions among them, or more frames")
    for frame, picture in zip(frames, pictures(frames, camera), strict=True):
        own, mask = frame.context.instruction[0], thing_mask(frame.classes, margin=config.margin)
        yield _Scene(frame.context, picture, [mask if text == own else None for text in options.instructions],
                     {"episode": frame.episode, "frame": frame.frame})


# --- heats ------------------------------------------------------------------------------------------------------------

def _looked(model: Any, context: Context, instructions: Sequence[str], config: GroundingSettings, camera: str) -> list[np.ndarray]:
    from foreact.diagnostics.attention import attention

    told = replace(context.repeat(len(instructions)), instruction=tuple(instructions))
    return list(attention(model, told, seed=config.noise).heat()[:, model.observation.camera_names.index(camera)])


def _sensitive(model: Any, context: Context, instructions: Sequence[str], config: GroundingSettings, camera: str) -> list[np.ndarray]:
    from foreact.diagnostics.sensitivity import sensitivity
    from foreact.objectives.representation import aligned_layers

    layer = aligned_layers((1 / 3,), model.config.backbone.layers())[0] if config.layer is None else config.layer
    return [sensitivity(model, replace(context, instruction=(text,)), stream=config.stream, layer=layer, kind=config.replace,
                        seed=config.noise).heat[model.observation.camera_names.index(camera)] for text in instructions]


_HEATS = {"attention": _looked, "sensitivity": _sensitive}


def _on_grid(mask: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    from foreact.diagnostics.grounding import on_grid

    return None if mask is None else on_grid(mask, *shape)


# --- figures ----------------------------------------------------------------------------------------------------------

def _differences(measured: dict[str, Any], names: Sequence[str], kinds: Sequence[str], of: Sequence[int]) -> dict[str, Any]:
    """The last run less the first, scene by scene."""
    from foreact.diagnostics.naming import NAMING

    if len(names) < 2:
        return {}
    first, last = measured[names[0]], measured[names[-1]]
    return {kind: figures([{n: None if a[n] is None or b[n] is None else b[n] - a[n] for n in NAMING}
                           for a, b in zip(first[kind], last[kind], strict=True)], NAMING, of=of) for kind in kinds}


def _text(data: dict[str, Any]) -> str:
    from foreact.diagnostics.naming import NAMING

    lines = [f"{len(data['scenes'])} observations, each under: " + "; ".join(data["instructions"])]
    lines.append(" " * 28 + "".join(f"{name:>24}" for name in NAMING))
    groups = dict(data["figures"])
    if data["differences"]:
        groups[f"{list(groups)[-1]} less {next(iter(groups))}"] = data["differences"]
    for name, kinds in groups.items():
        lines.append(name)
        lines += [f"  {kind:<26}" + "".join(f"{_span(one.get(n)):>24}" for n in NAMING) for kind, one in kinds.items()]
    return "\n".join(lines)


def _span(one: dict[str, float] | None) -> str:
    return "?" if one is None else f"{one['value']:.2f} ({one['low']:.2f} to {one['high']:.2f})"
