"""The whole resolved config of a training run: saved as config.json and read back identically."""

from __future__ import annotations

from dataclasses import dataclass, field

from foreact.contract.errors import ConfigError
from foreact.model import WorldActionModel
from foreact.training.settings import (
    Average,
    Checkpoints,
    Optimiser,
    Precision,
    Schedule,
    ScheduleKind,
    Stage,
    SubstrateFit,
    Training,
    Validation,
)

__all__ = ["Average", "Checkpoints", "Optimiser", "Precision", "Run", "Schedule", "ScheduleKind", "Stage", "SubstrateFit",
           "Training", "Validation", "WindowSettings"]


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """What is cut from an episode: `cameras` (empty: all of the dataset).

    image_size: (height, width) to which all cameras are resized, or None to leave them.
    encode_once: keep the substrate's encoding of every frame on disk and read that instead of images.
    share: of the training episodes, how many are learnt from, the same share of every task; fewer are the first ones of more.
    action_free: share of the training episodes whose actions are hidden, as in video without action labels.
    discount: gamma of the return that a value is trained on.
    The horizon, the history and the future offsets belong to the model's coupling.
    """

    cameras: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    encode_once: bool = True
    share: float = 1.0
    action_free: float = 0.0
    discount: float = 0.99

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError("a share of the episodes", where="windows.share", found=self.share, accepted="above 0, up to 1")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A recipe at a size, fully resolved. `decode(Run, encode(run)) == run`."""

    recipe: str
    size: str
    model: WorldActionModel.Config
    training: Training
    windows: WindowSettings = field(default_factory=WindowSettings)
