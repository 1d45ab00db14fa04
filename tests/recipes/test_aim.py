"""In AIM the action meets imagined video through the map and by no other way."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.axes import SeededNoise
from foreact.model import Part
from foreact.recipes.aim import THROUGH_THE_MAP
from tiny_members import BACKBONES, SUBSTRATES, alive, config, window


def model(sees):
    whole = config("JointGeneration")
    return alive(replace(whole, backbone=BACKBONES["DiffusionTransformer"], coupling=replace(whole.coupling, sees=sees),
                         beside=(Part(name="map", substrate=SUBSTRATES["EffectorHeatMap"]),)))


def actions(made, disturbed):
    """The plan with one stream of the future disturbed at every step of the denoising, or with none."""
    def through(name, values, sigma):
        return values + 1.0 if name == disturbed else values

    with torch.no_grad():
        encoded = made.encode_window(window(made.config), through=through)
        return made.coupling.propose(made.backbone, encoded, noise=SeededNoise(range(4))).actions


@pytest.mark.parametrize("cached", [True, False])
def test_the_order_is_frame_video_map_action(cached):
    made = model(THROUGH_THE_MAP)
    assert made.coupling.layout.rounds() == (("frame",), ("video",), ("map",), ("state",), ("action",))
    with torch.no_grad():
        encoded = made.encode_window(window(made.config))
        plan = made.coupling.propose(made.backbone, encoded, noise=SeededNoise(range(4)), cached=cached)
    assert set(plan.future) == {"video", "map"}


def test_video_moves_the_action_and_so_does_the_map():
    made = model(THROUGH_THE_MAP)
    untouched = actions(made, None)
    assert (actions(made, "video") - untouched).abs().max() > 1e-3
    assert (actions(made, "map") - untouched).abs().max() > 1e-3


def test_with_the_maps_sight_of_video_gone_video_does_not_matter_to_the_last_bit():
    made = model(THROUGH_THE_MAP | {"map": ("frame", "map")})
    untouched = actions(made, None)
    assert torch.equal(actions(made, "video"), untouched)
    assert (actions(made, "map") - untouched).abs().max() > 1e-3
