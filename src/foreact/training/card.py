"""The model card that travels with every checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

from foreact.contract.config import config_hash
from foreact.contract.specs import ActionSpec, ObservationSpec
from foreact.training.loop import Place
from foreact.training.run import Run

__all__ = ["model_card"]


def model_card(run: Run, observation: ObservationSpec, action: ActionSpec, *, parameters: Mapping[str, int], dataset: str,
               place: Place) -> str:
    """README.md in the form that model hubs read: a YAML head, then what a person must know before use.

    parameters: counts by part of the model. dataset: its name and fingerprint.
    """
    parts = {name: type(getattr(run.model, name)).owner.__name__ for name in ("substrate", "backbone", "coupling", "regime")}
    cameras = ", ".join(f"{c.name} ({c.height} x {c.width})" for c in observation.cameras)
    states = ", ".join(f"{name} [{unit}]" for name, unit in zip(observation.state.names, observation.state.units, strict=True))
    entries = zip(action.names, action.low, action.high, strict=True)
    actions = ", ".join(f"{name} in [{low:g}, {high:g}]" for name, low, high in entries)
    gripper = "none" if action.gripper is None else (f"entry {action.gripper.index}, open at {action.gripper.open:g}, "
                                                     f"closed at {action.gripper.closed:g}")
    stages = [f"| {s.name} | {', '.join(s.train)} | {s.steps or ''} | {s.seconds or ''} |" for s in run.training.stages]
    measured = {"training": place.losses, "held-out episodes": place.validation}
    losses = [f"| {name} | {', '.join(f'{stream} {value:.5f}' for stream, value in values.items())} |"
              for name, values in measured.items() if values]
    return "\n".join([
        "---", "library_name: foreact", "pipeline_tag: robotics", "tags: [robotics, world-action-model]", "---", "",
        f"# {run.recipe} ({run.size}), step {place.step}", "",
        "| Part | Class | Parameters |", "| --- | --- | --- |",
        *[f"| {name} | {owner} | {parameters.get(name, 0):,} |" for name, owner in parts.items()], "",
        f"Total parameters: {sum(parameters.values()):,}. Config: `{config_hash(run)}`.", "",
        "## What it is shown and what it does", "",
        f"- Cameras: {cameras}, uint8 RGB", f"- State: {states}",
        f"- Instruction: {'yes' if observation.instruction else 'no'}",
        f"- Action: {actions}; {action.reference} in the {action.frame} frame at {action.rate_hz:g} Hz, rotation {action.rotation}",
        f"- Gripper: {gripper}", "",
        "## Training", "",
        f"Dataset: {dataset}. Batch {run.training.batch_size}, {run.training.precision}, seed {run.training.seed}, "
        f"{place.step} steps in {place.seconds:.0f} s.", "",
        "| Stage | Streams | Steps | Seconds |", "| --- | --- | --- | --- |", *stages, "",
        *(["| Losses at this step | |", "| --- | --- |", *losses, ""] if losses else []),
        "## Use", "",
        "```python", "from foreact.training.checkpoint import load_model", "", 'model = load_model("this/folder")',
        "plan = model.plan(context)", "```", "",
        "It knows only the tasks, cameras and conventions of its dataset. A simulation success rate is not a safety statement.", ""])
