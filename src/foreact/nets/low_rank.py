"""Low-rank adapters on a network that others have trained: W x + (alpha / rank) B A x, W frozen, B zero at the start.

LoRA, arXiv 2106.09685, equation 3, through `peft` (extra "pretrained").
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from foreact.contract.errors import ConfigError, MissingExtraError

__all__ = ["LowRank", "adapt"]


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """`targets`: ends of the names of the linear layers that get an adapter; empty for the attention of the network at hand."""

    rank: int = 16
    alpha: float = 16.0
    targets: tuple[str, ...] = ()


def adapt(net: nn.Module, config: LowRank, usual: tuple[str, ...]) -> None:
    """Put adapters into `net` in place; all its other parameters no longer learn. usual: the targets where none are named."""
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError("peft", "pretrained", "a low-rank adapter") from error
    targets = list(config.targets or usual)
    try:
        peft.inject_adapter_in_model(peft.LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=targets), net)
    except ValueError as error:
        linear = sorted({name.rpartition(".")[2] for name, module in net.named_modules() if isinstance(module, nn.Linear)})
        raise ConfigError("no adapter can be put there", where="model.backbone.adapter.targets", found=targets,
                          accepted=", ".join(linear), next_step=str(error).splitlines()[0]) from error
