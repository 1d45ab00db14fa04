"""What `test_compiled` runs in a process of its own: the compiler does not see through the checks of shapes that tests switch on.

Whether anything is compiled anew is decided before a backend sees it, so it is counted with the backend that only runs what was captured.
"""

import sys
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch._dynamo.utils import counters

from foreact.acting.execution import Execution
from foreact.acting.lanes import Lanes
from foreact.contract.context import fake_context
from foreact.evaluation.controller import Controller, Seat
from foreact.nets.int8 import with_int8_weights
from foreact.nets.stream_block import StreamBlock
from foreact.selection.selectors import Consensus
from tiny_members import alive, config

COMPILED = Execution(compile="default")


def captured() -> int:
    """How many pieces of code were captured so far, each for one shape."""
    return counters["stats"]["unique_graphs"]


def observation(model, seed):
    context = fake_context(model.observation, batch=1, seed=seed)
    return {"images": {name: x[0, 0].numpy() for name, x in context.images.items()}, "state": context.state[0, 0].numpy(),
            "instruction": context.instruction[0]}


def after_warm_up_nothing_is_compiled_anew():
    model = alive(config("JointGeneration"))
    made = COMPILED.prepare(model)
    lanes, eager = Lanes(made, lanes=2, alone=False, fixed=True), Lanes(model, lanes=2, alone=False, fixed=True)
    lanes.warm_up()
    before = captured()
    assert before > 0
    for count, seed in ((1, 0), (2, 7), (3, 8), (5, 9), (2, 10)):
        seats = [Seat(seed=seed + i) for i in range(count)]
        for i, seat in enumerate(seats):
            seat.seen = [observation(model, seed + i)]
        for found, plain in zip(lanes.plan(seats), eager.plan(seats), strict=True):
            assert found.size <= 2
            torch.testing.assert_close(found.plan.actions, plain.plan.actions, rtol=1e-3, atol=1e-4)
    assert captured() == before


def candidates_are_compiled_before_the_first_call():
    controller = Controller(alive(config("JointGeneration")), lanes=2, selector=Consensus.Config(candidates=3, until=0.5), horizon=20,
                            execution=COMPILED)
    before = captured()
    for seeds in ((0, 1), (2,), (3, 4)):
        seats = [Seat(seed=seed) for seed in seeds]
        controller.plan(seats, [observation(controller.model, seed) for seed in seeds])
        assert all(seat.calls[-1].choice is not None for seat in seats)
    assert captured() == before > 0


def an_episode_with_a_memory_is_compiled_before_its_first_call():
    """Blocks see the tokens of now; what is remembered meets them between blocks."""
    model = alive(config("StreamedChunks", regime="Interactive"))
    controller = Controller(model, execution=COMPILED)
    before, seat = captured(), Seat(seed=3)
    for call in range(5):
        controller.plan([seat], [observation(model, call)])
        for action in controller.chunk(seat, 100):
            assert np.isfinite(action).all()
    assert captured() == before


def the_model_itself_stays_as_it_was():
    model = alive(config("JointGeneration"))
    COMPILED.prepare(model)
    model.plan(fake_context(model.observation, batch=1))
    assert captured() == 0


def a_compiled_block_gives_what_it_gave():
    """Compiled for this processor, with int8 weights; float32 sums in another order."""
    torch.manual_seed(0)
    block = torch.nn.ModuleList([StreamBlock(16, 2, 2, 8)]).eval().requires_grad_(False)
    with_int8_weights(block)
    x, text, mask = torch.randn(2, 5, 16), torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool)
    attended = torch.randn(2, 2, 5, 8)
    with torch.no_grad():
        plain = block[0].carry_on(x, attended, text, mask)
        COMPILED.compile_blocks(block)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.testing.assert_close(block[0].carry_on(x, attended, text, mask), plain, rtol=1e-4, atol=1e-4)


def main() -> int:
    """Every check in turn; a failed one ends the process with its traceback."""
    torch.set_num_threads(1)
    whole = torch.compile
    checks: list[tuple[Callable[[], None], str | None]] = [
        (after_warm_up_nothing_is_compiled_anew, "eager"), (candidates_are_compiled_before_the_first_call, "eager"),
        (an_episode_with_a_memory_is_compiled_before_its_first_call, "eager"),
        (the_model_itself_stays_as_it_was, "eager"), (a_compiled_block_gives_what_it_gave, None)]
    for check, backend in checks:
        torch._dynamo.reset()
        counters.clear()
        torch.compile = whole if backend is None else partial(whole, backend=backend)
        check()
    print("held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
