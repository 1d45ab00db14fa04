"""How plans are computed: the numbers they are computed in, and whether the networks are compiled. Everything else stays the same.

    model = Execution(precision="bfloat16", compile="default").prepare(load_model("RUN"))

What is prepared is the backbone and the coupling, which run at every denoising step; encoders keep the precision that their configs
name. A prepared model is for planning: it is made of a float32 model in memory, shares with it whatever stays as it is, and is never saved.
"""

from __future__ import annotations

import copy
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Literal, get_args

import torch
from torch import nn

from foreact.contract.errors import ConfigError
from foreact.model import WorldActionModel
from foreact.nets.int8 import with_int8_weights
from foreact.nets.region import Region

__all__ = ["Compile", "Execution", "Precision"]

Precision = Literal["float32", "bfloat16", "int8"]
Compile = Literal["off", "default", "graphs"]
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""What autocast computes in bfloat16; their weights are kept so, and not turned at every call."""
_SHAPES = 256
"""Shapes of one block that are kept compiled; past them the compiler would give up without a word."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """precision: "float32"; "bfloat16", weights and products, as in training with bf16; "int8", the weights of linear layers as 8-bit
    integers with one factor for each output, computed in float32.

    compile: "off"; "default", torch.compile; "graphs", the same with CUDA graphs, on a GPU.
    """

    precision: Precision = "float32"
    compile: Compile = "off"

    def __post_init__(self) -> None:
        for name, accepted in (("precision", get_args(Precision)), ("compile", get_args(Compile))):
            if getattr(self, name) not in accepted:
                raise ConfigError("no such choice", where=name, found=getattr(self, name), accepted=", ".join(accepted))

    @property
    def fixed_shapes(self) -> bool:
        """Whether batches must always be of one size, because every other would be compiled anew."""
        return self.compile != "off"

    @property
    def rules(self) -> dict[str, str]:
        """What of this can change a plan, as fields of a protocol: nothing by default."""
        return {name: value for name, value, plain in (("precision", self.precision, "float32"), ("compile", self.compile, "off"))
                if value != plain}

    def prepare(self, model: WorldActionModel) -> WorldActionModel:
        """The model run so; `model` itself is left as it is. Raises `ConfigError` where this machine cannot compile."""
        self._require(model.device)
        if not self.rules:
            return model
        made = _copied(model)
        for part in (made.backbone, made.coupling):
            if self.precision == "bfloat16":
                _to_bfloat16(part)
            elif self.precision == "int8":
                with_int8_weights(part)
        if self.compile != "off":
            for part in (made.backbone, made.coupling):
                self.compile_blocks(part)
        made.running = partial(self._running, model.device.type)
        return made.eval().requires_grad_(False)

    def compile_blocks(self, net: nn.Module) -> None:
        """Have the blocks inside `net` compiled when they are first run, once for each shape."""
        with warnings.catch_warnings():  # the compiler's own imports meet what its makers deprecate
            warnings.simplefilter("ignore", DeprecationWarning)
            for region in net.modules():
                for name in region.compiles if isinstance(region, Region) else ():
                    setattr(region, name, torch.compile(getattr(region, name), dynamic=False, fullgraph=True,
                                                        mode="reduce-overhead" if self.compile == "graphs" else None))

    @contextmanager
    def _running(self, device: str) -> Iterator[None]:
        """Around every plan."""
        with ExitStack() as stack:
            if self.precision == "bfloat16":
                stack.enter_context(torch.autocast(device, torch.bfloat16))
            if self.compile != "off":
                stack.enter_context(torch._dynamo.config.patch(recompile_limit=_SHAPES))
            if self.compile == "graphs":
                torch.compiler.cudagraph_mark_step_begin()
            yield

    def _require(self, device: torch.device) -> None:
        if self.compile == "graphs" and device.type != "cuda":
            raise ConfigError("CUDA graphs need a GPU of NVIDIA's", where="compile", found=f"compile = graphs on {device.type}",
                              accepted="off, default", next_step="compile=default, or --device cuda")
        compiler = os.environ.get("CXX", "g++")
        if self.compile != "off" and device.type == "cpu" and shutil.which(compiler) is None:
            raise ConfigError("compiling for the CPU needs a C++ compiler", where="compile", found=f"no {compiler} on the PATH",
                              accepted="off, or a compiler named by CXX", next_step="compile=off, or install g++")


def _copied(model: WorldActionModel) -> WorldActionModel:
    """The model's structure anew over the same tensors; its encoders are the same modules."""
    encoders = [model.text, *model.substrates.values()]
    shared = [*encoders, *chain(model.parameters(), model.buffers())]
    return copy.deepcopy(model, {id(each): each for each in shared})


def _to_bfloat16(part: nn.Module) -> None:
    """Round the weights of linear layers and convolutions; norms and the rest stay in float32, as under autocast."""
    for layer in part.modules():
        if isinstance(layer, _LAYERS):
            for name, parameter in layer.named_parameters(recurse=False):
                setattr(layer, name, nn.Parameter(parameter.detach().to(torch.bfloat16).contiguous(), requires_grad=False))
