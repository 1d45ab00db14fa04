"""Persistence: what is carried through an episode stays bounded, and what was imagined gives way to what was seen (survey, section 5.3).

An episode's real observations are fed to a session again and again. Its size must stop growing, and its bound is reported. Two
sessions that imagined differently at their first call, and were then shown the same observation and the same executed actions,
must plan the same at the second, to the last bit: nothing imagined is left. Shown another observation, they must not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from foreact.contract.axes import SeededNoise, Session
from foreact.contract.context import Context
from foreact.diagnostics.check import Check
from foreact.model import WorldActionModel

__all__ = ["persistence"]


def persistence(model: WorldActionModel, episode: Sequence[Context], *, calls: int = 40) -> list[Check]:
    """`episode`: what one episode showed at each call, batch size 1, at least three of them."""
    if not model.regime.persistent:
        none = "nothing is carried from call to call"
        return [Check(name="persistence: bounded", holds=None, says=none), Check(name="persistence: replaced", holds=None, says=none)]
    return [_bounded(model, episode, calls), _replaced(model, episode)]


def _call(model: WorldActionModel, context: Context, session: Session | None, seed: int) -> Tensor:
    return model.plan(context, noise=SeededNoise([seed], model.device), session=session).actions


def _bounded(model: WorldActionModel, episode: Sequence[Context], calls: int) -> Check:
    session, sizes = model.coupling.begin(), []
    for index in range(calls):
        _call(model, episode[min(index, len(episode) - 1)], session, index)
        sizes.append(session.tokens)
    holds = max(sizes[calls // 2:]) <= max(sizes[: calls // 2])
    says = f"{max(sizes)} tokens at most over {calls} calls" if holds else f"still growing: {sizes[-1]} tokens after {calls} calls"
    return Check(name="persistence: bounded", holds=holds, figures={"tokens": sizes}, says=says)


def _replaced(model: WorldActionModel, episode: Sequence[Context]) -> Check:
    first, second = episode[0], episode[1]
    other = replace(second, images={name: 255 - image for name, image in second.images.items()})
    plans = []
    for imagined, seen in ((1, second), (2, second), (1, other)):
        session = model.coupling.begin()
        begun = _call(model, first, session, imagined)
        plans.append((begun, _call(model, seen, session, 9)))
    differed = not torch.equal(plans[0][0], plans[1][0])
    kept, moved = torch.equal(plans[0][1], plans[1][1]), not torch.equal(plans[0][1], plans[2][1])
    holds = differed and kept and moved
    says = "real observations and executed actions take the place of imagined ones, to the last bit" if holds else \
        "an earlier imagination is still in the memory" if not kept else "what was really seen does not reach the next plan"
    return Check(name="persistence: replaced", holds=holds, says=says,
                 figures={"first plans differ": differed, "second plans equal": kept, "another observation matters": moved})
