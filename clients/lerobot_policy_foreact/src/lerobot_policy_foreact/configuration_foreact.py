"""What `--policy.type=foreact` is told: which recipe, at which size, with which settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from lerobot.configs.policies import PreTrainedConfig
from lerobot.configs.types import NormalizationMode
from lerobot.optim.optimizers import AdamWConfig

from foreact.contract.errors import ConfigError
from foreact.contract.specs import GripperConvention
from foreact.data.lerobot.batches import STATE, action_steps, observation_steps
from foreact.data.lerobot.conventions import StatedConventions
from foreact.training.run import Run
from lerobot_policy_foreact.resolving import Resolved, offsets_of, run_of, stage_ends
from lerobot_policy_foreact.scheduling import ForeactSchedulerConfig

__all__ = ["ForeactConfig"]


@PreTrainedConfig.register_subclass("foreact")
@dataclass
class ForeactConfig(PreTrainedConfig):
    """A recipe of foreact as a policy of LeRobot.

    recipe, size: as of `foreact train`. settings: `key=value` words, such as model.coupling.horizon=8. start_from: folder of a run of
    foreact whose weights are taken; recipe and size are then its own. stage_steps: steps of each stage but the last, None for the
    recipe's own. seed: of the first weights, of the noise in training and of acting. lanes: the batch that defines a plan, so that the
    number of environments changes no action; 0 takes every batch as it comes.

    action_reference to state_units: what the numbers of a dataset mean that does not say it itself, as of `foreact train`.
    bounds_of_data: take the smallest and the largest action of the dataset as bounds, where none are stated.

    resolved: the whole run and its specs, written when the policy is made; what a saved policy is rebuilt from.
    normalization_mapping: LeRobot normalises nothing. The model does it itself, by statistics that are saved with its weights.
    """

    recipe: str = "joint"
    size: str = "tiny"
    settings: list[str] = field(default_factory=list)
    start_from: str | None = None
    stage_steps: list[int] | None = None
    seed: int = 0
    lanes: int = 4

    action_reference: str | None = None
    action_frame: str | None = None
    action_rotation: str | None = None
    action_low: list[float] | None = None
    action_high: list[float] | None = None
    bounds_of_data: bool = False
    gripper: list[float] | None = None
    no_gripper: bool = False
    state_units: list[str] | None = None

    resolved: str = ""
    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: dict.fromkeys(("VISUAL", "STATE", "ACTION"), NormalizationMode.IDENTITY))

    @property
    def run(self) -> Run:
        """The run of foreact that this is."""
        if self.resolved:
            return Resolved.of(self.resolved).run
        return run_of(self.recipe, self.size, self.settings, self.start_from)

    @property
    def stated(self) -> StatedConventions:
        """What was said about the dataset's numbers."""
        gripper = self.gripper and GripperConvention(index=int(self.gripper[0]), open=self.gripper[1], closed=self.gripper[2])
        low, high, units = (None if x is None else tuple(x) for x in (self.action_low, self.action_high, self.state_units))
        return StatedConventions(action_reference=self.action_reference, action_frame=self.action_frame, action_low=low, action_high=high,
                                 action_rotation=self.action_rotation, gripper=gripper or None, no_gripper=self.no_gripper,
                                 state_units=units)

    @property
    def observation_delta_indices(self) -> list[int]:
        run = self.run
        return list(observation_steps(offsets_of(run), fold=run.model.fold))

    @property
    def action_delta_indices(self) -> list[int]:
        return list(action_steps(offsets_of(self.run)))

    @property
    def reward_delta_indices(self) -> None:
        return None

    def get_optimizer_preset(self) -> AdamWConfig:
        """The recipe's AdamW. LeRobot takes a norm of 0 for no clipping."""
        o = self.run.training.optimiser
        return AdamWConfig(lr=o.learning_rate, betas=o.betas, eps=o.eps, weight_decay=o.weight_decay, grad_clip_norm=o.clip or 0.0)

    def get_scheduler_preset(self) -> ForeactSchedulerConfig:
        run = self.run
        s = run.training.schedule
        return ForeactSchedulerConfig(num_warmup_steps=s.warmup_steps, kind=s.kind, constant_fraction=s.constant_fraction, final=s.final,
                                      ends=list(stage_ends(run, self.stage_steps)),
                                      factors=[stage.learning_rate for stage in run.training.stages])

    def validate_features(self) -> None:
        """Raise `ConfigError` where LeRobot would do what the model does itself, or where there is nothing to see or to do."""
        if any(mode is not NormalizationMode.IDENTITY for mode in self.normalization_mapping.values()):
            raise ConfigError("two would normalise", where="policy.normalization_mapping", found=self.normalization_mapping,
                              accepted="IDENTITY for each: the model scales state and action itself, and takes pictures as they are")
        if self.n_obs_steps != 1:
            raise ConfigError("the history belongs to the model", where="policy.n_obs_steps", found=self.n_obs_steps, accepted=1,
                              next_step="--policy.settings='[\"model.coupling.history=2\"]'")
        lacking = [name for name, there in (("a camera", self.image_features), (STATE, self.robot_state_feature),
                                            ("action", self.action_feature)) if not there]
        if lacking:
            raise ConfigError("the dataset or environment lacks what every recipe needs", where="policy.input_features",
                              found=f"no {', no '.join(lacking)}", accepted="RGB cameras, observation.state and action")
