"""Chunks one after the other with a memory: who sees whom as a table, streaming equal to training, a memory that is bounded and real."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.axes import Dimensions, SeededNoise, SubstrateForm
from foreact.contract.context import Context
from foreact.contract.errors import ConfigError, MisfitError, SpecError
from foreact.couplings import StreamedChunks
from tiny_members import ACTION, BACKBONES, OBSERVATION, REGIMES, alive, config, window

FORM = SubstrateForm(grid=(1, 1, 1), channels=4)
SMALL = Dimensions(view=FORM, forms={"video": FORM}, state=3, action=2, text=8)
EXACT = 1e-4
"""The same sums over the same keys, blocked differently and turned on to their time: float32 rounding carried through a plan of six
evaluations a chunk, measured below 2e-5 on values of about 1."""


def layout(**options):
    small = {"horizon": 2, "future_offsets": (1, 2), "history": 2, "history_stride": 1, "past_actions": 1}
    return StreamedChunks.Config(**small | options).layout(SMALL)


def interactive(name="StreamedChunks", **coupling):
    c = config(name, regime="Interactive")
    return replace(c, coupling=replace(c.coupling, **coupling))


def test_who_sees_whom():
    found = layout()
    assert found.names == ("frame", "state", "done", "video", "video_shown", "planned", "action")
    table = """
        frame -2    1 0  0 0  0  0 0  0 0  0  0 0
        frame -1    0 1  0 0  0  0 0  0 0  0  0 0
        state -2    1 0  1 0  0  0 0  0 0  0  0 0
        state -1    0 1  0 1  0  0 0  0 0  0  0 0
        done -1     0 0  0 0  1  0 0  0 0  0  0 0
        video 0     1 1  0 0  1  1 0  0 0  0  0 0
        video 1     1 1  0 0  1  0 1  1 0  1  0 0
        shown 0     0 0  0 0  0  0 0  1 0  0  0 0
        shown 1     0 0  0 0  0  0 0  0 1  0  0 0
        planned 0   0 0  0 0  0  0 0  0 0  1  0 0
        action 0    1 1  1 1  1  0 0  1 0  0  1 0
        action 1    1 1  1 1  1  0 0  1 1  1  0 1
    """
    rows = [[int(cell) for cell in row.split()[2:]] for row in table.strip().splitlines()]
    assert found.mask().int().tolist() == rows


def test_who_sees_whom_without_a_future():
    found = layout(future_offsets=())
    assert found.names == ("frame", "state", "done", "action")
    assert found.mask().int().tolist()[-2:] == [[1, 1, 1, 1, 1, 1, 1]] * 2  # the horizon is one chunk
    assert layout(history=1, past_actions=0).names == ("frame", "state", "video", "video_shown", "planned", "action")


def test_frames_and_actions_share_one_clock():
    found = layout(horizon=8, future_offsets=(4, 8), history=3, history_stride=2, past_actions=4)
    assert found.times("frame").tolist() == [-1.0, -0.5, 0.0]  # a call every two steps of a chunk of four
    assert found.times("done").tolist() == [-0.875, -0.625, -0.375, -0.125]
    assert found.times("video").tolist() == [1.0, 2.0]
    assert found.times("action").tolist() == [0.125, 0.375, 0.625, 0.875, 1.125, 1.375, 1.625, 1.875]


def test_training_runs_the_layout_that_the_table_shows():
    model, seen = alive(interactive()), []
    model.backbone.register_forward_pre_hook(lambda m, a: seen.append(a[1]))
    model.losses(window(model.config), train=frozenset({"video", "action"}), generator=torch.Generator())
    assert [found.mask().tolist() for found in seen] == [model.coupling.layout.mask().tolist()]


@pytest.mark.parametrize("backbone", ["MixtureOfTransformers", "DiffusionTransformer"])
@pytest.mark.parametrize("space", ["frames", "changes"])
def test_streaming_equals_the_forward_of_training(space, backbone):
    model = alive(replace(interactive(video_space=space), backbone=BACKBONES[backbone]))
    with torch.no_grad():
        e = model.encode_window(window(model.config))
        one, other = (model.coupling.propose(model.backbone, e, noise=SeededNoise([1, 2, 3, 4]), cached=cached) for cached in (True, False))
    assert torch.allclose(one.actions, other.actions, atol=EXACT)
    assert torch.allclose(one.future["video"], other.future["video"], atol=EXACT)


# --- episodes -------------------------------------------------------------------------------------------------------------

def episode(model, calls, seed=0):
    """What one episode shows at each call, and what was executed in between: a context with the whole past at each."""
    g, stride = torch.Generator().manual_seed(seed), model.config.coupling.history_stride
    images = {c.name: torch.randint(0, 256, (1, calls, 3, c.height, c.width), generator=g, dtype=torch.uint8) for c in OBSERVATION.cameras}
    state = torch.randn(1, calls, OBSERVATION.state.size, generator=g)
    actions = torch.rand(1, (calls - 1) * stride, ACTION.size, generator=g)
    return [Context(images={n: x[:, : k + 1] for n, x in images.items()}, state=state[:, : k + 1], instruction=("push it",),
                    past_actions=actions[:, : k * stride]) for k in range(calls)]


def newest(context, stride):
    """What a session needs of it: the present and the actions since the last call."""
    return replace(context, images={n: x[:, -1:] for n, x in context.images.items()}, state=context.state[:, -1:],
                   past_actions=context.past_actions[:, -stride:])


def padded(context, history, past):
    """What a call without a session needs: a history of full length, the first frame repeated, with flags."""
    lack, few = max(history - context.state.shape[1], 0), max(past - context.past_actions.shape[1], 0)
    return replace(
        context, images={n: torch.cat([x[:, :1]] * lack + [x], 1)[:, -history:] for n, x in context.images.items()},
        state=torch.cat([context.state[:, :1]] * lack + [context.state], 1)[:, -history:],
        past_actions=torch.cat([torch.zeros(1, few, ACTION.size), context.past_actions], 1)[:, -past:],
        history_is_pad=torch.arange(history)[None] < lack, past_is_pad=torch.arange(past)[None] < few)


def streamed(model, contexts, seed=0, session=None):
    session = session or model.coupling.begin()
    plans = [model.plan(newest(c, model.config.coupling.history_stride), noise=SeededNoise([seed + k]), session=session)
             for k, c in enumerate(contexts)]
    return [p.actions for p in plans], session


def test_a_session_equals_recomputing_from_the_history_call_by_call():
    model = alive(interactive())
    coupling, contexts = model.config.coupling, episode(model, 9)  # three frames are held, so six calls push one out
    actions, _ = streamed(model, contexts)
    for k, context in enumerate(contexts):
        alone = model.plan(padded(context, coupling.history, coupling.past_actions), noise=SeededNoise([k]))
        assert torch.allclose(actions[k], alone.actions, atol=EXACT), k
    other = model.plan(padded(contexts[-2], coupling.history, coupling.past_actions), noise=SeededNoise([8]))
    assert not torch.allclose(actions[8], other.actions, atol=10 * EXACT)


def test_long_episodes_are_like_short_ones():
    """Forty calls on, the plan is still the one that its last observations give: keys that are turned on do not wear."""
    model = alive(interactive(steps=1, action_steps=1))
    contexts, coupling = episode(model, 40), model.config.coupling
    long, _ = streamed(model, contexts)
    alone = model.plan(padded(contexts[-1], coupling.history, coupling.past_actions), noise=SeededNoise([39]))
    assert torch.allclose(long[-1], alone.actions, atol=EXACT)


def test_the_memory_is_bounded_from_the_first_call():
    model = alive(interactive())
    session, sizes = model.coupling.begin(), []
    assert session.tokens == 0
    for k, context in enumerate(episode(model, 8)):
        model.plan(newest(context, 3), noise=SeededNoise([k]), session=session)
        sizes.append(session.tokens)
    assert set(sizes) == {3 * model.substrate.form.tokens + 3 + 6}  # frames, states and the actions between them


def test_the_first_call_is_that_of_a_fresh_session():
    model = alive(interactive())
    contexts = episode(model, 5)
    streamed(model, contexts)
    (again, *_), _ = streamed(model, contexts[:1])
    (first, *_), _ = streamed(model, contexts)
    assert torch.equal(first, again)


def test_what_is_seen_later_cannot_change_an_earlier_action():
    model = alive(interactive())
    contexts = episode(model, 5)
    later = [*contexts[:3], *(replace(c, images={n: 255 - x for n, x in c.images.items()}, state=c.state + 1) for c in contexts[3:])]
    one, other = streamed(model, contexts)[0], streamed(model, later)[0]
    assert all(torch.equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))
    assert not torch.equal(one[3], other[3])


def test_what_was_imagined_gives_way_to_what_was_seen():
    """Two dreams of the first chunk, then the same observation and the same executed actions: the same second plan, to the last bit."""
    model = alive(interactive())
    contexts, plans = [newest(c, 3) for c in episode(model, 2)], []
    for dream in (1, 2):
        session = model.coupling.begin()
        plans.append([model.plan(contexts[0], noise=SeededNoise([dream]), session=session),
                      model.plan(contexts[1], noise=SeededNoise([9]), session=session)])
    assert not torch.equal(plans[0][0].future.values, plans[1][0].future.values)
    assert torch.equal(plans[0][1].actions, plans[1][1].actions)


@pytest.mark.parametrize("part", ["images", "state", "past_actions"])
def test_the_memory_reaches_the_plan(part):
    model = alive(interactive())
    contexts = [newest(c, 3) for c in episode(model, 2)]
    before = contexts[0] if part != "past_actions" else contexts[1]
    changed = {"images": {n: 255 - x for n, x in before.images.items()}, "state": before.state + 1,
               "past_actions": before.past_actions + 0.5}
    other = [replace(c, **{part: changed[part]}) if c is before else c for c in contexts]
    one, two = ([model.plan(c, noise=SeededNoise([k]), session=s).actions for k, c in enumerate(cs)]
                for cs, s in ((contexts, model.coupling.begin()), (other, model.coupling.begin())))
    assert not torch.allclose(one[1], two[1], atol=1e-3)


def test_sessions_side_by_side_do_not_touch():
    model = alive(interactive())
    left, right = episode(model, 4, seed=1), episode(model, 4, seed=2)
    alone = streamed(model, left)[0], streamed(model, right)[0]
    sessions, mixed = (model.coupling.begin(), model.coupling.begin()), ([], [])
    for k in range(4):
        for side, contexts in enumerate((left, right)):
            mixed[side].append(model.plan(newest(contexts[k], 3), noise=SeededNoise([k]), session=sessions[side]).actions)
    for one, other in zip(alone, mixed, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_evaluations_are_counted():
    model = alive(interactive())
    context, session = newest(episode(model, 1)[0], 3), model.coupling.begin()
    # the memory, then for two chunks three steps of video, its reading and three of action, and the first chunk's plan
    assert model.plan(context, session=session).cost.evaluations == {"backbone": 1 + 2 * 7 + 1}


def test_the_action_uses_the_imagined_video():
    model = alive(interactive())
    context = newest(episode(model, 1)[0], 3)
    one, zero = (model.plan(context, session=model.coupling.begin(), through=through).actions
                 for through in (None, lambda name, x, sigma: torch.zeros_like(x)))
    assert not torch.allclose(one, zero, atol=1e-3)


# --- what is refused --------------------------------------------------------------------------------------------------------

def test_nonsense_is_refused():
    with pytest.raises(ConfigError, match="each future frame ends a chunk"):
        StreamedChunks.Config(horizon=16, future_offsets=(4, 16))
    with pytest.raises(ConfigError, match="the memory holds the actions between its frames"):
        StreamedChunks.Config(history=3)
    model = alive(interactive())
    session = model.coupling.begin()
    streamed(model, episode(model, 1), session=session)
    with pytest.raises(SpecError, match="hand back what was executed since the last call"):
        model.plan(replace(newest(episode(model, 2)[1], 3), past_actions=None), session=session)


def test_a_coupling_without_memory_does_not_fit_the_interactive_regime():
    c = replace(config("JointGeneration"), regime=REGIMES["Interactive"])
    with pytest.raises(MisfitError, match="carries a memory from call to call; JointGeneration has none"):
        c.build(OBSERVATION, ACTION)
