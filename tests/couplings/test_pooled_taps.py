"""Hidden states pooled to a few tokens: the policy sees nothing of the picture but through them."""

import torch

from foreact.contract.axes import SeededNoise
from tiny_members import alive, config, window


def planned(model, context, **options):
    return model.plan(context, noise=SeededNoise([1, 2, 3, 4]), **options)


def test_every_tapped_state_reaches_the_action_through_few_tokens():
    model = alive(config("PostPredictionHead:pooled"))
    context, head = window(model.config).context, model.coupling.head
    tokens = []
    head.pool.register_forward_hook(lambda module, seen, few: tokens.append((seen[0].shape[2], few.shape[2])))
    plain = planned(model, context)
    assert tokens == [(2 * model.coupling.layout["video"].length, 3)]

    def only(layer):
        def through(name, values, sigma):
            assert name == "tap"
            return torch.cat([x if i == layer else torch.zeros_like(x) for i, x in enumerate(values.chunk(2, dim=1))], dim=1)
        return through

    for layer in (0, 1):
        assert not torch.allclose(plain.actions, planned(model, context, through=only(layer)).actions, atol=1e-5)


def test_without_the_states_the_picture_is_unknown():
    model = alive(config("PostPredictionHead:pooled"))
    context = window(model.config).context
    dark = type(context)(images={n: torch.zeros_like(x) for n, x in context.images.items()}, state=context.state,
                         instruction=context.instruction)

    def gone(name, values, sigma):
        return torch.zeros_like(values)

    assert torch.equal(planned(model, context, through=gone).actions, planned(model, dark, through=gone).actions)
    assert not torch.allclose(planned(model, context).actions, planned(model, dark).actions, atol=1e-4)


def test_the_baseline_sees_the_present():
    assert config("PostPredictionHead:pooled").without_future().coupling.head.sees_present
