"""Latents of sound: with all components they give the sound back; with few, the nearest sound; and the picture shows it."""

import pytest
import torch

from foreact.contract.context import Scene
from foreact.contract.errors import ConfigError, SpecError
from foreact.contract.specs import CameraSpec, ObservationSpec, StateSpec
from foreact.substrates import MelLatents

SEEN = ObservationSpec(cameras=(CameraSpec(name="scene", height=16, width=16),), rate_hz=10.0, state=StateSpec(names=(), units=()))


def scene(seed=0, rank=4):
    """Sounds of four frames of three bands, mixed of a few fixed ones."""
    g = torch.Generator().manual_seed(seed)
    kinds = torch.randn(rank, 12, generator=torch.Generator().manual_seed(9))
    return Scene(images={}, state=torch.zeros(40, 3, 0), annotations={
        "audio": (torch.randn(40, 3, rank, generator=g) @ kinds - 7).unflatten(2, (4, 3))})


def built(**options):
    return MelLatents.Config(**{"frames": 4, "bands": 3, "tokens": 1, "channels": 4} | options).build(SEEN)


def test_as_many_components_as_there_are_kinds_of_sound_give_it_back():
    substrate = built()
    assert substrate.fit([scene(1)], steps=1, seed=0)["explained"] == pytest.approx(1, abs=1e-6)
    heard = scene(2)
    values = substrate.encode(heard)
    assert torch.allclose(substrate.sound(values)[:, 1:], heard.annotations["audio"][:, 1:], atol=1e-3)
    assert values[:, 1:].std() == pytest.approx(1, abs=0.2)


def test_fewer_components_keep_what_principal_components_keep():
    substrate, heard = built(channels=2), scene(1)
    explained = substrate.fit([heard], steps=1, seed=0)["explained"]
    rows = heard.annotations["audio"][:, 1:].flatten(2).flatten(0, 1)
    left = (substrate.sound(substrate.encode(heard))[:, 1:].flatten(2).flatten(0, 1) - rows).square().sum()
    assert 1 - left / (rows - rows.mean(0)).square().sum() == pytest.approx(explained, abs=1e-4)
    assert 0.3 < explained < 0.99


def test_the_picture_shows_loud_bands_bright_and_low_ones_at_the_bottom():
    substrate = built(channels=12)  # unfitted, the latents are the log energies themselves
    values = torch.full((1, 2, 4, 3), -13.8)
    values[0, 1, 3, 0] = 0.0  # the last frame, the lowest band
    shown = substrate.decode(values.flatten(2)[:, :, None], {"scene": torch.full((1, 3, 16, 16), 7, dtype=torch.uint8)})["scene"]
    assert (shown[0, :, :, :8] == 7).all()
    assert not shown[0, 0, :, 8:].any()
    assert (shown[0, 1, :, 14:, 12:] == 255).all()
    assert not shown[0, 1, :, 8:13].any() and not shown[0, 1, :, 8:, :12].any()


def test_sound_of_another_form_or_cut_unevenly_is_refused():
    with pytest.raises(SpecError, match="another form"):
        built(bands=5).encode(scene())
    with pytest.raises(ConfigError, match="cannot be cut"):
        MelLatents.Config(frames=8, tokens=3).form(SEEN)
