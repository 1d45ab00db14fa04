"""A small vision transformer learnt by matching images with instructions, with no labels of places and no download.

The sigmoid loss of SigLIP (arXiv 2303.15343, equation 1) between the class token of an image and the words of an instruction:

    L = - 1/B sum_ij log sigma( l_ij (exp(t) z_i u_j + b) ),    l_ij = 1 where image i was seen under instruction j, else -1

over the B images of a batch and the instructions that occur in it. What such an encoder must know is which task a picture is of, so its
features say it everywhere alike, where those of self-distillation say what is where (AGRA compares DINOv2 with SigLIP as teachers).
Differences from SigLIP: a few instructions in place of millions of captions, so several images share one; words are averaged rows of a
table; the image is summarised by a class token and not by an attention head. The words are left behind.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.contract.errors import TrainingError
from foreact.nets.augmentation import cropped, recoloured
from foreact.nets.text import HashedWords
from foreact.nets.vision import Captioned
from foreact.nets.vision_trunk import TrunkEncoder, unit_range

__all__ = ["TextMatched"]


class TextMatched(TrunkEncoder):
    """The trunk; `fit` brings in the words and leaves nothing of them behind."""

    @dataclass(frozen=True, kw_only=True)
    class Config(TrunkEncoder.Config):
        """crop: least area of a view. temperature, bias: exp(t) and b at the start, SigLIP's."""

        learning_rate: float = 1e-3
        crop: float = 0.5
        temperature: float = 10.0
        bias: float = -10.0

    def fit(self, batches: Iterable[Captioned], *, steps: int, seed: int) -> None:
        """Raises `TrainingError` where instructions are not known or there is only one: then nothing tells images apart."""
        config, device = self.config, self.trunk.place.device
        words = HashedWords.Config(width=config.width).build().to(device)
        out = nn.Linear(config.width, config.width).to(device)
        scale = nn.Parameter(torch.tensor([math.log(config.temperature), config.bias], device=device))
        learnt = [*self.trunk.parameters(), *words.parameters(), *out.parameters(), scale]
        optimiser = torch.optim.AdamW(learnt, lr=config.learning_rate, weight_decay=0.04)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, total_steps=steps, pct_start=0.1)
        seen: set[str] = set()
        for images, texts in batches:
            seen.update(texts)
            told = sorted(set(texts))
            if len(texts) != len(images):
                raise _too_few(seen)
            with torch.autocast(images.device.type, dtype=torch.bfloat16):
                whole = self.trunk(cropped(unit_range(recoloured(images)), (config.crop, 1.0)))[:, 0]
            loss = self._loss(out(whole.float()), *words(told, device), torch.tensor([told.index(text) for text in texts], device=device),
                              scale)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learnt, 1.0)
            optimiser.step()
            schedule.step()
        if len(seen) < 2:
            raise _too_few(seen)

    @staticmethod
    def _loss(whole: Float[Tensor, "image channels"], tokens: Float[Tensor, "text words channels"], mask: Tensor, which: Tensor,
              scale: Tensor) -> Tensor:
        sentence = (tokens * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        logits = scale[0].exp() * F.normalize(whole, dim=-1) @ F.normalize(sentence, dim=-1).T + scale[1]
        sign = 2 * F.one_hot(which, len(sentence)) - 1
        return -F.logsigmoid(sign * logits).sum(dim=1).mean()


def _too_few(seen: set[str]) -> TrainingError:
    return TrainingError("an encoder that matches images with instructions needs several of them", where="teacher.encoder",
                         found=", ".join(sorted(seen)) or "no instructions", accepted="a dataset of two tasks or more",
                         next_step="SelfDistilled, which needs no instructions")
