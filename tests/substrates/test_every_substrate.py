"""What every substrate promises, on frames with something in them."""

import pytest
import torch
from safetensors.torch import load, save

from foreact.contract.axes import Substrate
from foreact.contract.config import registered
from foreact.contract.context import Scene
from foreact.contract.errors import MisfitError, SpecError
from foreact.contract.specs import CameraSpec, ObservationSpec
from tiny_members import OBSERVATION, SUBSTRATES

EVERY = sorted(SUBSTRATES)
STEPS = 12


def frames(count, seed=0):
    """A bright square somewhere on a dark slope, for each camera."""
    g = torch.Generator().manual_seed(seed)
    found = {}
    for index, camera in enumerate(OBSERVATION.cameras):
        image = torch.linspace(0, 90, camera.width).expand(count, 3, camera.height, camera.width).clone()
        for one in image:
            row, column = (int(torch.randint(0, side - 5, (1,), generator=g)) for side in (camera.height, camera.width))
            one[index, row:row + 5, column:column + 5] = 230
        found[camera.name] = image.to(torch.uint8)
    return found


def scene(count, seed=0):
    return Scene(images={name: image[:, None] for name, image in frames(count, seed).items()})


def batches(count=STEPS + 40):
    """More than any substrate reads."""
    return (scene(12, seed=seed) for seed in range(count))


def fitted(name, seed=0):
    torch.manual_seed(seed)
    substrate = SUBSTRATES[name].build(OBSERVATION)
    return substrate.eval(), substrate.fit(batches(), steps=STEPS, seed=seed)


@pytest.fixture(scope="module", params=EVERY)
def substrate(request):
    return fitted(request.param)[0]


def test_every_registered_substrate_is_tested():
    assert set(registered(Substrate.Config)) == set(SUBSTRATES)
    assert {(type(c).owner.kind, type(c).owner.decodable) for c in SUBSTRATES.values()} == {
        ("Pixel (latent)", True), ("Feature (teacher)", False)}


def test_encoding_has_the_form_that_was_declared(substrate):
    images = {name: image.unflatten(0, (3, 4)) for name, image in frames(12).items()}
    values = substrate.encode(Scene(images=images))
    assert values.shape == (3, 4, substrate.form.tokens, substrate.form.channels)
    assert values.dtype == torch.float32
    assert not values.requires_grad
    assert substrate.form == substrate.config.form(OBSERVATION)
    assert substrate.form.tokens == 2 * 2 * 2


def test_after_fitting_values_are_about_unit_size(substrate):
    values = substrate.encode(scene(64, seed=900))
    assert values.mean().abs() < 0.5
    assert 0.3 < values.std() < 2


def test_frames_are_encoded_one_by_one_and_camera_by_camera(substrate):
    images = {name: image[:, None] for name, image in frames(4).items()}
    values = substrate.encode(Scene(images=images))
    # other batch sizes block the products differently: float32 rounding
    assert torch.allclose(values[:1], substrate.encode(Scene(images={n: i[:1] for n, i in images.items()})), atol=1e-4)
    half = substrate.form.tokens // 2
    changed = substrate.encode(Scene(images=images | {"hand": 255 - images["hand"]}))
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
    measured = one.fit(batches(), steps=STEPS, seed=1)
    assert torch.equal(state, torch.random.get_rng_state())
    assert measured == other.fit(batches(), steps=STEPS, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_saved_and_loaded_it_encodes_the_same(substrate):
    other = substrate.config.build(OBSERVATION).eval()
    images = {n: i[:, None] for n, i in frames(3).items()}
    assert not torch.equal(substrate.encode(Scene(images=images)), other.encode(Scene(images=images)))
    other.load_state_dict(load(save(substrate.state_dict())))
    assert torch.equal(substrate.encode(Scene(images=images)), other.encode(Scene(images=images)))


def test_distance_is_zero_for_the_same_and_grows(substrate):
    values = substrate.encode(Scene(images={n: i.unflatten(0, (2, 3)) for n, i in frames(6).items()}))
    assert torch.equal(substrate.distance(values, values), torch.zeros(2, 3))
    assert torch.allclose(substrate.distance(values, values + 2), torch.full((2, 3), 4.0))


def test_decoding_gives_images_or_says_that_there_are_none(substrate):
    images = {n: i[:, None] for n, i in frames(3).items()}
    values = substrate.encode(Scene(images=images))
    if not type(substrate).decodable:
        with pytest.raises(SpecError, match="features have no decoder"):
            substrate.decode(values, frames(3))
        return
    seen = substrate.decode(values, frames(3))
    assert {n: (i.shape, i.dtype) for n, i in seen.items()} == {n: (i.shape, i.dtype) for n, i in images.items()}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("sizes", [((16, 16), (32, 32)), ((20, 20), (20, 20))])
def test_cameras_that_it_cannot_take_are_refused_before_anything_is_built(name, sizes):
    cameras = tuple(CameraSpec(name=str(i), height=h, width=w) for i, (h, w) in enumerate(sizes))
    with pytest.raises(MisfitError, match="do not fit"):
        SUBSTRATES[name].form(ObservationSpec(cameras=cameras, rate_hz=10.0, state=OBSERVATION.state))
