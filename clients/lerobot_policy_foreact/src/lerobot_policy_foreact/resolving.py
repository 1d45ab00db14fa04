"""From what is written on LeRobot's command line to a run of foreact, and a resolved run as text that a policy's config.json holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from foreact.contract.config import apply_overrides, decode, encode
from foreact.contract.errors import CheckpointError, ConfigError
from foreact.contract.specs import ActionSpec, ObservationSpec
from foreact.data.windows import Offsets
from foreact.recipes import catalogue
from foreact.training.checkpoint import load_run
from foreact.training.members import import_members
from foreact.training.run import Run
from foreact.training.specs import specs_of

__all__ = ["Resolved", "offsets_of", "run_of", "stage_ends"]

_OURS = ("model.", "windows.cameras", "windows.image_size", "windows.discount", "training.optimiser.", "training.schedule.",
         "training.substrate.", "training.stages.")
_THEIRS = {
    "training.batch_size": "--batch_size", "training.seed": "--policy.seed", "training.precision": "--policy.use_amp",
    "training.checkpoints": "--save_freq", "training.log_every": "--log_freq", "training.validation": "--dataset.eval_split",
    "windows.share": "--dataset.episodes",
}


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A run and the specs that its model was built for: what a saved policy is rebuilt from, without its dataset."""

    run: Run
    observation: ObservationSpec
    action: ActionSpec

    def text(self) -> str:
        """JSON in one line."""
        return json.dumps({"run": encode(self.run), "observation": encode(self.observation), "action": encode(self.action)})

    @classmethod
    def of(cls, text: str) -> Resolved:
        """The inverse of `text`; raises `CheckpointError` where it is something else."""
        import_members()
        try:
            data = json.loads(text)
            observation, action = specs_of(data)
            return cls(run=decode(Run, data["run"], where="policy.resolved.run"), observation=observation, action=action)
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError("the resolved run cannot be read", where="config.json: resolved", found=error,
                                  next_step="leave --policy.resolved alone: it is written when the policy is made") from error


def run_of(recipe: str, size: str, settings: Sequence[str], start_from: str | None) -> Run:
    """The run that is asked for. Settings are `key=value` words as of `foreact train`; what LeRobot decides is refused among them.

    The validation share is 0: LeRobot says which episodes are learnt from.
    """
    import_members()
    for word in settings:
        if not word.startswith(_OURS):
            theirs = next((option for key, option in _THEIRS.items() if word.startswith(key)), None)
            raise ConfigError("this is not decided by the policy", where="policy.settings", found=word,
                              accepted=", ".join(f"{name}*" if name.endswith(".") else name for name in _OURS),
                              next_step=f"LeRobot's own option: {theirs}" if theirs else "leave it out")
    run = load_run(start_from) if start_from else catalogue.recipe(recipe).run(size)
    run = apply_overrides(run, settings)
    training = replace(run.training, validation=replace(run.training.validation, fraction=0.0))
    return replace(run, training=training, windows=replace(run.windows, share=1.0, action_free=0.0))


def offsets_of(run: Run) -> Offsets:
    """The steps that the run's model reads, as foreact's own training has them."""
    coupling = run.model.coupling
    return Offsets(horizon=coupling.horizon, future=coupling.future_offsets, past_actions=coupling.past_actions,
                   history=tuple(range(-(coupling.history - 1) * coupling.history_stride, 1, coupling.history_stride)))


def stage_ends(run: Run, stage_steps: Sequence[int] | None) -> tuple[int, ...]:
    """The step at which each stage but the last ends; by default the recipe's own counts.

    Raises `ConfigError` where those are not counted in steps, or where `stage_steps` has another number of them.
    """
    *early, _ = run.training.stages
    counts = [stage.steps for stage in early] if stage_steps is None else list(stage_steps)
    if len(counts) != len(early) or any(count is None or count < 0 for count in counts):
        raise ConfigError("one count of steps for each stage but the last", where="policy.stage_steps", found=counts,
                          accepted=", ".join(f"{stage.name} ({'+'.join(stage.train)})" for stage in early) or "no counts: one stage",
                          next_step=f"--policy.stage_steps='{[stage.steps or 100 for stage in early]}'")
    return tuple(sum(counts[: i + 1]) for i in range(len(counts)))
