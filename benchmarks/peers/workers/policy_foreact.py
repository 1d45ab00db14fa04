"""foreact's policy call at the matched size: from the present's latents and the instruction's tokens to the chunk.

Cases: "joint", future and action denoised together, each seeing the other; "one way", the same where the future does not see the
action, which is the default; "action-only", nothing imagined when acting. "... products" are the matrix products of a call alone, on
operands of the same shapes. Every weight has an operand of its own, so that it comes from memory as often as the model's does; "... in
cache" has one operand for all products of a shape, which stays in the processor's cache, where no weight of a model can be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from benchmarks.training import Products, bare
from wire import Built, serve

from foreact.backbones.mixture import ExpertSize, MixtureOfTransformers
from foreact.contract.encoded import Encoded, SeededNoise
from foreact.contract.specs import ActionSpec, CameraSpec, ObservationSpec, StateSpec
from foreact.couplings.joint import JointGeneration
from foreact.model import WorldActionModel
from foreact.nets.by_columns import lay_by_columns
from foreact.nets.once import once_per_plan
from foreact.nets.text import HashedWords
from foreact.regimes.chunked import Chunked
from foreact.substrates.pixel_latents import PixelLatents

_MUTUAL = dict.fromkeys(("video", "action"), ("frame", "video", "state", "action"))
_ALONE = {"action": ("frame", "state", "action"), "state": ("frame", "state")}
COUPLINGS: dict[str, dict[str, Any]] = {
    "joint": {"sees": {**_MUTUAL, "state": ("state",)}},
    "one way": {},
    "action-only": {"sees": _ALONE, "levels": "independent", "future_at_test": "absent"},
}


def model_of(case: str, size: dict[str, Any]) -> WorldActionModel:
    """Two cameras of 4 x 4 tokens; the frames of the future share the chunk between them."""
    pixels = 32 * 4
    observation = ObservationSpec(cameras=tuple(CameraSpec(name=name, height=pixels, width=pixels) for name in ("front", "wrist")),
                                  rate_hz=10.0, state=StateSpec(names=tuple(f"s{i}" for i in range(size["state"])),
                                                                units=("1",) * size["state"]))
    action = ActionSpec(names=tuple(f"a{i}" for i in range(size["action"])), low=(-1.0,) * size["action"], high=(1.0,) * size["action"],
                        rate_hz=10.0, reference="delta", frame="end-effector")
    every = size["horizon"] // size["future_frames"]
    experts = tuple(ExpertSize(name=name, width=size["hidden"], expansion=size["feed_forward"] // size["hidden"])
                    for name in ("video", "action"))
    torch.manual_seed(0)
    return WorldActionModel.Config(
        substrate=PixelLatents.Config(channels=size["channels"], patch=32), regime=Chunked.Config(replan=size["horizon"]),
        text=HashedWords.Config(width=size["text_width"], words=size["text_tokens"]),
        backbone=MixtureOfTransformers.Config(depth=size["layers"], heads=size["heads"], head_dim=size["hidden"] // size["heads"],
                                              experts=experts),
        coupling=JointGeneration.Config(horizon=size["horizon"], steps=size["steps"], action_target="velocity",
                                        future_offsets=tuple(every * (i + 1) for i in range(size["future_frames"])), **COUPLINGS[case]),
    ).build(observation, action).eval()


def call_of(model: WorldActionModel, size: dict[str, Any]) -> Callable[[], Any]:
    """From latents and tokens to the chunk: cameras and text are encoded before, as they are for the peers."""
    frame, state = torch.randn(1, model.substrate.form.tokens, model.substrate.form.channels), torch.randn(1, size["state"])
    encoded = Encoded(frame=frame, history=frame[:, None], state=state, states=state[:, None], raw_state=state,
                      text=torch.randn(1, size["text_tokens"], size["text_width"]),
                      text_mask=torch.ones(1, size["text_tokens"], dtype=torch.bool))

    @torch.no_grad()
    def call() -> Any:
        with once_per_plan():
            return model.coupling.propose(model.backbone, encoded, noise=SeededNoise([0]))

    return call


class _OwnWeights(Products):
    """The products in order, and for each the weight that it is by, None where it is by none, and whether that lies by columns."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self._known = {p.data_ptr() for p in model.parameters()}
        self.weights: list[tuple[int | None, bool]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_dispatch__(func, types, args, kwargs)
        operands = [(x.data_ptr(), x.is_contiguous()) for x in args
                    if isinstance(x, torch.Tensor) and x.ndim == 2 and x.data_ptr() in self._known]
        self.weights += [next(iter(operands), (None, False))] * (len(self.found) - len(self.weights))
        return result

    def bare(self) -> Callable[[], None]:
        """The products on operands made beforehand, laid out as the model has them."""
        pairs = list(zip(self.found, self.weights, strict=True))
        lefts = {p: torch.randn(p[0], p[1], p[2]) for p in dict.fromkeys(self.found)}
        rights = {(p, w): torch.randn(p[0], p[2], p[3]) if w[1] else torch.randn(p[0], p[3], p[2]).transpose(1, 2)
                  for p, w in dict.fromkeys(pairs)}
        results = {p: torch.empty(p[0], p[1], p[3]) for p in lefts}

        def run() -> None:
            for p, weight in pairs:
                if p[0] == 1:
                    torch.mm(lefts[p][0], rights[p, weight][0], out=results[p][0])
                else:
                    torch.bmm(lefts[p], rights[p, weight], out=results[p])

        return run


def build(case: str, size: dict[str, Any]) -> Built:
    torch.set_num_threads(size["threads"])
    name, _, products = case.partition(" products")
    products = case.removeprefix(name)
    model = model_of(name, size).requires_grad_(False)
    lay_by_columns(model)  # as `load_model` does
    call = call_of(model, size)
    form = model.substrate.form.tokens
    shape = tuple(call().actions.shape)
    assert shape == (1, size["horizon"], size["action"]) and form == size["frame_tokens"], (shape, form)
    said = {"parameters": sum(p.numel() for p in model.backbone.parameters()), "torch": torch.__version__}
    if not products:
        return call, said
    with _OwnWeights(model) as found, torch.no_grad():
        call()
    return bare(found.found) if "in cache" in products else found.bare(), {**said, "products": len(found.found)}


if __name__ == "__main__":
    serve(build)
