"""What every substrate promises, on scenes with something in them that moves."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save

from foreact.contract.axes import Substrate
from foreact.contract.config import registered
from foreact.contract.context import Scene, fake_window
from foreact.contract.errors import MisfitError, SpecError
from foreact.contract.specs import CameraSpec, ObservationSpec
from tiny_members import ACTION, OBSERVATION, SUBSTRATES

EVERY = sorted(SUBSTRATES)
STEPS = 12
PROMISES = {  # kind, decodable, watchable, per frame
    "VisionLanguageTokens": ("Feature (VLM token)", False, False, True),
    "AutoencoderLatents": ("Pixel (latent)", True, True, True),
    "ClipLatents": ("Pixel (latent)", True, True, False),
    "PixelLatents": ("Pixel (latent)", True, True, True),
    "Decoded": ("Pixel (decoded)", True, True, True),
    "FrozenFeatures": ("Feature (teacher)", False, False, True),
    "DiscreteTokens": ("Pixel (latent)", True, True, True),
    "OpticalFlow": ("Geometric", False, True, False),
    "EffectorHeatMap": ("Affordance", False, True, False),
    "SemanticMasks": ("Affordance", False, True, False),
    "ContactMap": ("Affordance", False, True, False),
    "MelLatents": ("Audio (latent)", True, True, False),
    "ReachValue": ("Affordance", False, True, False),
    "PointFlow": ("Geometric", False, True, False),
    "Depth": ("Geometric", False, True, False),
    "PointMaps": ("Geometric", False, True, False),
    "LatentActions": ("Feature (teacher)", False, True, False),
    "PointTracks": ("Geometric", False, True, False),
    "MotionVectors": ("Geometric", False, True, False),
    "Polyline": ("Geometric", False, True, False),
    "PoseStream": ("Geometric", False, False, False),
}
TWO_SIZES, NOT_DIVISIBLE, TOO_SMALL = ((16, 16), (32, 32)), ((20, 20), (20, 20)), ((2, 2), (2, 2))
REFUSED = {"VisionLanguageTokens": (TWO_SIZES,),
           "AutoencoderLatents": (TWO_SIZES, NOT_DIVISIBLE), "ClipLatents": (TWO_SIZES, NOT_DIVISIBLE),
           "PixelLatents": (TWO_SIZES, NOT_DIVISIBLE), "Decoded": (TWO_SIZES, NOT_DIVISIBLE),
           "FrozenFeatures": (TWO_SIZES, NOT_DIVISIBLE), "DiscreteTokens": (TWO_SIZES, NOT_DIVISIBLE),
           "LatentActions": (TWO_SIZES, NOT_DIVISIBLE), "OpticalFlow": (TOO_SMALL,),
           "EffectorHeatMap": (TOO_SMALL,), "SemanticMasks": (TOO_SMALL,), "ContactMap": (TOO_SMALL,), "ReachValue": (TOO_SMALL,),
           "MelLatents": (),
           "PointFlow": (), "Depth": (((2, 2), (2, 2)),),
           "PointMaps": (((16, 16), (16, 16)),), "PointTracks": (), "MotionVectors": (((1, 1), (1, 1)),),
           "Polyline": (TWO_SIZES,), "PoseStream": ()}
"""Sizes of cameras that a substrate cannot take; of those that it can, any."""


def times(name):
    """One where every frame stands for itself, else the present and two futures."""
    return 1 if type(SUBSTRATES[name]).owner.per_frame else 3


def fold(name):
    """How many frames become one time of the future."""
    return type(SUBSTRATES[name]).owner.fold


def scene(name, count, seed=0, times_=None):
    """A bright square on a dark slope for each camera, which moves up to two pixels a time; the rest as it is promised."""
    g = torch.Generator().manual_seed(seed)
    shown, images = 1 + fold(name) * ((times_ or times(name)) - 1), {}
    for index, camera in enumerate(OBSERVATION.cameras):
        image = torch.linspace(0, 90, camera.width).expand(count, shown, 3, camera.height, camera.width).clone()
        for one in image:
            row, column = (int(torch.randint(2, side - 7, (1,), generator=g)) for side in (camera.height, camera.width))
            for frame in one:
                frame[index, row:row + 5, column:column + 5] = 230
                row, column = (min(max(x + int(torch.randint(-2, 3, (1,), generator=g)), 0), 11) for x in (row, column))
        images[camera.name] = image.to(torch.uint8)
    offsets = tuple(range(1, shown))
    window = fake_window(OBSERVATION, ACTION, horizon=1, future_offsets=offsets, batch=count, seed=seed,
                         annotations=SUBSTRATES[name].needs(OBSERVATION))
    return replace(window.scene, images=images)


def first(scene, count):
    return Scene(images={n: x[:count] for n, x in scene.images.items()}, state=None if scene.state is None else scene.state[:count],
                 annotations={n: x[:count] for n, x in scene.annotations.items()})


def present(scene):
    return {n: x[:, 0] for n, x in scene.images.items()}


def batches(name, count=STEPS + 100):
    """More than any substrate reads."""
    return (scene(name, 12, seed=seed) for seed in range(count))


def fitted(name, seed=0):
    torch.manual_seed(seed)
    substrate = SUBSTRATES[name].build(OBSERVATION)
    return substrate.eval(), substrate.fit(batches(name), steps=STEPS, seed=seed)


@pytest.fixture(scope="module", params=EVERY)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def substrate(name):
    return fitted(name)[0]


def test_every_registered_substrate_is_tested():
    assert set(registered(Substrate.Config)) == set(SUBSTRATES) == set(PROMISES)
    owners = {name: type(c).owner for name, c in SUBSTRATES.items()}
    assert {n: (o.kind, o.decodable, o.watchable, o.per_frame) for n, o in owners.items()} == PROMISES


def test_encoding_has_the_form_that_was_declared(name, substrate):
    values = substrate.encode(scene(name, 3, times_=4))
    assert values.shape == (3, 4, substrate.form.tokens, substrate.form.channels)
    assert values.dtype == torch.float32
    assert not values.requires_grad
    assert values.isfinite().all()
    assert substrate.form == substrate.config.form(OBSERVATION)
    assert substrate.expose(values).shape == (3, 4, substrate.form.tokens, substrate.form.exposed.channels)


def test_after_fitting_values_are_about_unit_size(name, substrate):
    values = substrate.encode(scene(name, 64, seed=900))
    values = values if times(name) == 1 else values[:, 1:]
    if substrate.form.discrete:
        assert torch.equal(values.sum(dim=-1), torch.ones(values.shape[:3]))
        assert set(values.unique().tolist()) == {0.0, 1.0}
        return
    assert values.mean().abs() < 0.5
    assert 0.3 < values.std() < 2


def test_every_element_of_a_batch_is_encoded_by_itself(name, substrate):
    # other batch sizes block the products differently, and whitening enlarges float32 rounding
    seen = scene(name, 4)
    assert torch.allclose(substrate.encode(seen)[:1], substrate.encode(first(seen, 1)), atol=1e-3)


def test_every_time_is_encoded_by_itself_or_against_the_present(name, substrate):
    seen = scene(name, 3, times_=4)
    values = substrate.encode(seen)
    if type(substrate).per_frame:
        assert torch.allclose(values[:, 2:], substrate.encode(seen.at(slice(2, None))), atol=1e-3)
    elif fold(name) > 1:
        for shown in (1, 2, 3):
            assert torch.allclose(values[:, :shown], substrate.encode(seen.at(slice(0, 1 + fold(name) * (shown - 1)))), atol=1e-3)
    else:
        assert not values[:, 0].any()
        assert torch.allclose(values[:, :3], substrate.encode(seen.at(slice(0, 3))), atol=1e-3)
        assert torch.allclose(values[:, ::2], substrate.encode(seen.at(slice(0, None, 2))), atol=1e-3)


def test_what_is_made_from_images_is_made_camera_by_camera(name, substrate):
    seen = scene(name, 4)
    other = replace(seen, images=seen.images | {"hand": seen.images["hand"].flip(-1).flip(-2)})
    values, changed = substrate.encode(seen), substrate.encode(other)
    if torch.equal(values, changed):
        assert substrate.config.needs(OBSERVATION) or seen.state is not None, "it looks at nothing"
        return
    half = substrate.form.tokens // 2
    assert torch.allclose(values[:, :, :half], changed[:, :, :half], atol=1e-4)
    assert not torch.allclose(values[:, :, half:], changed[:, :, half:], atol=1e-2)


@pytest.mark.parametrize("name", EVERY)
def test_fitting_is_the_same_under_a_seed_and_leaves_the_callers_generator_alone(name):
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    one = SUBSTRATES[name].build(OBSERVATION)
    torch.random.set_rng_state(state)
    other = SUBSTRATES[name].build(OBSERVATION)
    state = torch.random.get_rng_state()
    measured = one.fit(batches(name), steps=STEPS, seed=1)
    assert torch.equal(state, torch.random.get_rng_state())
    assert measured == other.fit(batches(name), steps=STEPS, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_saved_and_loaded_it_encodes_the_same(name, substrate):
    other, seen = substrate.config.build(OBSERVATION).eval(), scene(name, 3)
    assert not torch.equal(substrate.encode(seen), other.encode(seen))
    other.load_state_dict(load(save(substrate.state_dict())))
    assert torch.equal(substrate.encode(seen), other.encode(seen))


def test_distance_is_zero_for_the_same_and_grows(name, substrate):
    values = substrate.encode(scene(name, 2, times_=3))
    assert torch.equal(substrate.distance(values, values), torch.zeros(2, 3))
    assert torch.allclose(substrate.distance(values, values + 2), torch.full((2, 3), 4.0))


def test_decoding_gives_pictures_or_says_that_there_are_none(name, substrate):
    seen = scene(name, 3, times_=3)
    values = substrate.encode(seen)
    if not type(substrate).watchable:
        with pytest.raises(SpecError, match="no decoder"):
            substrate.decode(values, present(seen))
        return
    pictures = substrate.decode(values, present(seen))
    assert pictures and set(pictures) <= set(seen.images)
    assert all((x.shape, x.dtype) == ((3, 3, *seen.images[n].shape[2:]), torch.uint8) for n, x in pictures.items())
    other = substrate.decode(values.roll(1, dims=0), present(seen))
    assert any(not torch.equal(x, other[n]) for n, x in pictures.items()), "the pictures show the values"


@pytest.mark.parametrize(("name", "sizes"), [(n, s) for n in EVERY for s in REFUSED[n]])
def test_cameras_that_it_cannot_take_are_refused_before_anything_is_built(name, sizes):
    cameras = tuple(CameraSpec(name=str(i), height=h, width=w) for i, (h, w) in enumerate(sizes))
    with pytest.raises(MisfitError, match="do not fit"):
        SUBSTRATES[name].form(ObservationSpec(cameras=cameras, rate_hz=10.0, state=OBSERVATION.state))
