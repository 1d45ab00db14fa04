"""A model of foreact behind the interface of LeRobot's policies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from safetensors.torch import load_model
from torch import Tensor

from foreact.contract.errors import CheckpointError, ConfigError
from foreact.data.lerobot.batches import STATE, camera_keys, window_of, with_what_rows_tell
from foreact.training.checkpoint import load_specs
from foreact.training.optimiser import decays
from foreact.training.randomness import derived_seed
from lerobot_policy_foreact.acting import Episodes
from lerobot_policy_foreact.configuration_foreact import ForeactConfig
from lerobot_policy_foreact.features import features_of
from lerobot_policy_foreact.fitting import built, fitted, material_of, rows_of
from lerobot_policy_foreact.resolving import Resolved, offsets_of, stage_ends

__all__ = ["ForeactPolicy"]


class ForeactPolicy(PreTrainedPolicy):
    """`model` is the foreact model; `step` counts the steps trained, by which the stage is found.

    Made anew it needs the dataset's metadata, from whose folder scaling and substrates are fitted, or `config.start_from`. Made from a
    saved config it needs neither. Recipes that learn from annotations or from success read those in the same folder, by the row.
    """

    config_class = ForeactConfig
    name = "foreact"

    def __init__(self, config: ForeactConfig, *, dataset_meta: Any = None, **_: Any) -> None:
        super().__init__(config)
        if config.start_from and not config.resolved and not config.input_features:
            config.input_features, config.output_features = features_of(*load_specs(config.start_from))
        config.validate_features()
        run = config.run
        material = None if dataset_meta is None else material_of(run, dataset_meta, config.stated, bounds_of_data=config.bounds_of_data)
        self._rows = None if material is None else rows_of(run, material)
        if config.resolved:
            resolved = Resolved.of(config.resolved)
            self.model = built(resolved, seed=config.seed, device=config.device)
        elif material is None and config.start_from is None:
            raise ConfigError("nothing to fit the model on", where="policy", found="no dataset, no saved policy, no run of foreact",
                              next_step="train with lerobot-train, load with from_pretrained, or give --policy.start_from=RUN")
        else:
            self.model, resolved = fitted(run, material, seed=config.seed, start_from=config.start_from, device=config.device)
            config.resolved = resolved.text()
        self._run, self._offsets, self._fold = resolved.run, offsets_of(resolved.run), resolved.run.model.fold
        self._ends = stage_ends(self._run, config.stage_steps)
        self._trained = dict(self.model.parameters_to_train())
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in self._trained)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self._only_what_is_read(config, resolved.observation.camera_names)
        self._episodes = Episodes(self.model, seed=config.seed, lanes=config.lanes)
        self.train(self.training)

    @staticmethod
    def _only_what_is_read(config: ForeactConfig, cameras: tuple[str, ...]) -> None:
        """The config names the features that the model reads, so that an environment needs no others."""
        keys = {key for name, key in camera_keys(tuple(config.input_features)).items() if name in cameras} | {STATE}
        config.input_features = {key: feature for key, feature in config.input_features.items() if key in keys}
        if len(config.input_features) != len(cameras) + 1:
            raise ConfigError("the cameras are not those of the model", where="policy.input_features", found=", ".join(sorted(keys)),
                              accepted=", ".join(cameras), next_step="rename them: --rename_map, or choose: windows.cameras=[...]")

    def train(self, mode: bool = True) -> ForeactPolicy:
        """Parts that are not trained stay in evaluation mode."""
        super().train(mode)
        for name, child in self.model.named_children():
            if not any(parameter.startswith(f"{name}.") for parameter in self._trained):
                child.eval()
        return self

    def get_optim_params(self) -> list[dict[str, Any]]:
        """Two groups, as the recipe's optimiser has them: no weight decay on biases, norms, tables and embeddings."""
        groups = [{"params": [p for n, p in self._trained.items() if decays(self.model, n, p)]},
                  {"params": [p for n, p in self._trained.items() if not decays(self.model, n, p)], "weight_decay": 0.0}]
        return [group for group in groups if group["params"]]

    # --- training -----------------------------------------------------------------------------------------------------

    def forward(self, batch: Mapping[str, Any], reduction: str = "mean") -> tuple[Tensor, dict[str, float]]:
        """The sum of the losses that the present stage trains, and each of them. Noise follows from the seed, the step and the process."""
        if reduction != "mean":
            raise ConfigError("the losses are means over the batch", where="reduction", found=reduction, accepted="mean",
                              next_step="train without --sample_weighting")
        window = window_of(batch, self.model.observation, offsets=self._offsets, fold=self._fold)
        if self._rows is not None:
            window = with_what_rows_tell(window, self._rows, batch)
        elif needs := self._run.model.needs(self.model.observation):
            raise ConfigError("what the recipe learns from is not in the batch", where="policy", found="no dataset's folder",
                              accepted=", ".join(needs), next_step="make the policy with dataset_meta, as lerobot-train does")
        step = int(self.step)
        train = frozenset(self._run.training.stages[sum(step >= end for end in self._ends)].train)
        generator = torch.Generator().manual_seed(derived_seed(self.config.seed, step, int(os.environ.get("RANK", "0"))))
        losses = self.model.losses(window.to(self.model.device), train=train, generator=generator)
        return torch.stack([value.float() for value in losses.values()]).sum(), {n: float(x.detach()) for n, x in losses.items()}

    def update(self) -> None:
        """`lerobot-train` calls this after each step of its optimiser."""
        self.step += 1

    # --- acting -------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """New episodes begin, in all environments."""
        self._episodes.begin()

    @torch.no_grad()
    def select_action(self, batch: Mapping[str, Any], **_: Any) -> Tensor:
        """The next action of each environment, (batch, action), in the units of the dataset; the recipe's regime says when to plan."""
        return torch.from_numpy(self._episodes.act(batch)).to(self.model.device)

    @torch.no_grad()
    def predict_action_chunk(self, batch: Mapping[str, Any], **_: Any) -> Tensor:
        """A new plan for each environment, (batch, horizon, action), in the units of the dataset."""
        return torch.from_numpy(self._episodes.chunk(batch)).to(self.model.device)

    # --- saving -------------------------------------------------------------------------------------------------------

    @classmethod
    def _load_as_safetensor(cls, model: ForeactPolicy, model_file: str, map_location: str, strict: bool) -> ForeactPolicy:
        """Every weight, whether LeRobot asks for it or not; raises `CheckpointError` where some are missing."""
        missing, unexpected = load_model(model, model_file, strict=False, device=map_location)
        if missing or unexpected:
            found = [*(f"lacks {name}" for name in list(missing)[:3]), *(f"unknown {name}" for name in list(unexpected)[:3])]
            raise CheckpointError("the file holds another model", where=model_file, found="; ".join(found),
                                  next_step="load a policy with its own config.json")
        return model
