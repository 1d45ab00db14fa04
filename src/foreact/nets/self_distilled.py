"""A small vision transformer learnt by self-distillation, with no labels and no download.

A student sees two views of a frame with some patches hidden; a teacher, the moving average of the student, sees both
whole. The student must give the teacher's distribution over prototypes: for the class token across the two views (DINO,
arXiv 2104.14294, equation 3), and for each hidden patch within a view (iBOT, arXiv 2111.07832, equation 2):

    L = - sum_k P_t(k) log P_s(k),   P_t = balance(softmax(g_t / tau_t)),   P_s = softmax(g_s / tau_s)

The balance, by Sinkhorn and Knopp's iteration as in DINOv2 (arXiv 2304.07193, section 4), takes the place of DINO's
centre: no prototype may take all frames, at any place of the image. The sharp tau_t keeps all from being alike. With a
running centre and tau_t = 0.05 the tokens collapsed within 200 steps (effective rank 1.8 of 128).
The teacher is what remains. Differences from the papers: two views and no small crops, a convolutional stem, one head
for both tokens, balance place by place, no schedule of the weight decay, hundreds of steps.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.nets.augmentation import cropped, recoloured
from foreact.nets.vision import Captioned
from foreact.nets.vision_trunk import TrunkEncoder, unit_range

__all__ = ["SelfDistilled"]

class _Prototypes(nn.Module):
    """Tokens to logits over prototypes: a bottleneck, brought to deviation 1 over the batch at each place, then cosines.

    Tokens of an untrained trunk hardly differ between frames; without that step the balanced teacher would say "all alike"
    and the student would learn it.
    """

    def __init__(self, width: int, prototypes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, 64))
        self.prototypes = nn.Parameter(torch.randn(prototypes, 64))

    def forward(self, tokens: Float[Tensor, "image place channels"]) -> Float[Tensor, "image place prototype"]:
        z = self.layers(tokens)
        z = (z - z.mean(dim=0)) / (z.var(dim=0, unbiased=False) + 1e-6).sqrt()
        return F.normalize(z, dim=-1) @ F.normalize(self.prototypes, dim=-1).T


class SelfDistilled(TrunkEncoder):
    """The teacher's trunk; `fit` brings in a student and the prototypes and leaves nothing of them behind."""

    @dataclass(frozen=True, kw_only=True)
    class Config(TrunkEncoder.Config):
        """`hidden`: share of patches hidden from the student; `momentum`: of the teacher, rising to 1; `crop`: least area of a view."""

        prototypes: int = 256
        learning_rate: float = 1e-3
        momentum: float = 0.96
        hidden: float = 0.4
        crop: float = 0.5
        student_temperature: float = 0.1
        teacher_temperature: float = 0.02

    def fit(self, batches: Iterable[Captioned], *, steps: int, seed: int) -> None:
        config, teacher = self.config, self.trunk
        teacher_head = _Prototypes(config.width, config.prototypes).to(teacher.place.device)
        student, student_head = copy.deepcopy(teacher), copy.deepcopy(teacher_head)
        learnt = [*student.parameters(), *student_head.parameters()]
        following = [*teacher.parameters(), *teacher_head.parameters()]
        optimiser = torch.optim.AdamW(learnt, lr=config.learning_rate, weight_decay=0.04)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, total_steps=steps, pct_start=0.1)
        for step, (images, _) in enumerate(batches):
            views = torch.cat([self._view(images), self._view(images)])
            hide = torch.rand(len(views), len(teacher.place) - 1, device=views.device) < config.hidden
            with torch.autocast(images.device.type, dtype=torch.bfloat16):
                with torch.no_grad():
                    taught = teacher(views)
                given = student(views, hide)
            with torch.no_grad():
                taught = teacher_head(taught.float())
            given = student_head(given.float())
            loss = self._loss(taught, given, hide)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learnt, 1.0)
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                keep = 1 - (1 - config.momentum) * (1 + math.cos(math.pi * step / steps)) / 2
                torch._foreach_lerp_(following, [p.detach() for p in learnt], 1 - keep)

    def _view(self, images: Tensor) -> Tensor:
        return cropped(unit_range(recoloured(images)), (self.config.crop, 1.0))

    def _loss(self, taught: Tensor, given: Tensor, hide: Tensor) -> Tensor:
        """Across views for the class token, within a view for hidden patches."""
        shares = _balanced(taught.transpose(0, 1) / self.config.teacher_temperature).transpose(0, 1)
        whole, patch = shares[:, 0], shares[:, 1:]
        log = (given / self.config.student_temperature).log_softmax(dim=-1)
        across = -(whole.roll(len(whole) // 2, dims=0) * log[:, 0]).sum(dim=-1).mean()
        within = -(patch * log[:, 1:]).sum(dim=-1)
        return across + (within * hide).sum() / hide.sum().clamp(min=1)


def _balanced(logits: Float[Tensor, "place image prototype"], rounds: int = 3) -> Float[Tensor, "place image prototype"]:
    """Softmax over prototypes such that at each place, over the batch, every prototype is used about equally (Sinkhorn and Knopp)."""
    shares = (logits - logits.amax(dim=(1, 2), keepdim=True)).exp()
    for _ in range(rounds):
        shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=1e-12)
        shares = shares / shares.sum(dim=2, keepdim=True).clamp(min=1e-12)
    return shares
