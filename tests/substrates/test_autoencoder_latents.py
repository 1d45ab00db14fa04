"""Published autoencoders as a substrate: parity with the real classes, what a single frame is, loading, sizes."""

from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKLCosmos, AutoencoderKLWan

from foreact.contract.context import fake_window
from foreact.contract.errors import MisfitError, StorageError
from foreact.nets.video_autoencoder import WAN_2_1, WAN_2_2, CosmosAutoencoder
from foreact.substrates import AutoencoderLatents, Decoded
from tiny_members import ACTION, OBSERVATION, SUBSTRATES

WAN = SUBSTRATES["AutoencoderLatents"].autoencoder
EVERY = {"Wan 2.1": WAN, "Wan 2.2": replace(WAN, residual=True, patch=2, decoder_width=6),
         "Cosmos": CosmosAutoencoder.Config(channels=4, widths=(8, 8, 8, 8), decoder_widths=(8, 8, 8, 8), blocks=1)}
CLASSES = {"Wan 2.1": AutoencoderKLWan, "Wan 2.2": AutoencoderKLWan, "Cosmos": AutoencoderKLCosmos}


def built(name, seed=0, **changes):
    torch.manual_seed(seed)
    return AutoencoderLatents.Config(autoencoder=replace(EVERY[name], **changes)).build(OBSERVATION).eval()


def seen(batch=2, times=3, seed=0):
    return fake_window(OBSERVATION, ACTION, horizon=1, future_offsets=tuple(range(1, times)), batch=batch, seed=seed).scene


@pytest.mark.parametrize("name", EVERY)
def test_encoding_and_decoding_are_the_librarys(name):
    substrate, scene = built(name), seen()
    assert type(substrate.autoencoder.net) is CLASSES[name]
    substrate.mean.copy_(torch.tensor([0.3, -0.2, 0.0, 1.0]))
    substrate.deviation.copy_(torch.tensor([2.0, 0.5, 1.0, 3.0]))
    values = substrate.encode(scene)
    clip = scene.images["hand"][1, 2].float()[None, :, None] / 127.5 - 1  # one frame as a clip of length one
    with torch.no_grad():
        true = substrate.autoencoder.net.encode(clip).latent_dist.mode()
        by_hand = (true[0, :, 0] - substrate.mean[:, None, None]) / substrate.deviation[:, None, None]
        _, rows, columns = substrate.form.grid
        # other batch sizes block the convolutions differently: float32 rounding
        assert torch.allclose(values[1, 2, rows * columns:], by_hand.flatten(1).T, atol=1e-4)
        picture = substrate.autoencoder.net.decode(true).sample[0, :, 0].add(1).mul(127.5).clamp(0, 255)
    shown = substrate.decode(values, {})["hand"][1, 2].float()
    assert (shown - picture).abs().max() < 0.51  # rounded to whole numbers
    assert values.std() > 0.01


@pytest.mark.parametrize("name", EVERY)
def test_its_pixels_can_be_what_the_action_side_reads(name):
    """Under `Decoded`; each token is its own patch of the picture, unrounded."""
    torch.manual_seed(0)
    inner = AutoencoderLatents.Config(autoencoder=EVERY[name])
    substrate, scene = Decoded.Config(inner=inner).build(OBSERVATION).eval(), seen()
    values = substrate.encode(scene)
    shown, pictures = substrate.expose(values), substrate.decode(values, {})
    side, (_, rows, columns) = inner.autoencoder.factor, substrate.form.grid
    assert shown.shape == (2, 3, 2 * rows * columns, 3 * side**2)
    token = rows * columns + columns * (rows - 1)  # of the second camera, the first of the last row
    patch = pictures["hand"][1, 2, :, -side:, :side].float()
    assert (shown[1, 2, token].view(3, side, side).add(1).mul(127.5).clamp(0, 255) - patch).abs().max() < 0.51


@pytest.mark.parametrize("name", EVERY)
def test_a_single_frame_has_the_latents_of_the_head_of_a_video(name):
    """What makes the substrate per frame: the encoder is causal, so what follows the first frame does not reach its latents."""
    autoencoder = built(name).autoencoder
    frames = torch.stack([seen(seed=s).images["front"][0, 0] for s in range(9)], dim=1)[None].float() / 127.5 - 1
    with torch.no_grad():
        alone, video = (autoencoder.net.encode(x).latent_dist.mode() for x in (frames[:, :, :1], frames))
    assert alone.shape[2] == 1
    assert video.shape[2] == (2 if name == "Cosmos" else 3)  # eight or four later frames make one latent frame
    assert torch.allclose(alone[:, :, 0], video[:, :, 0], atol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_published_weights_and_statistics_come_in_from_a_folder(name, tmp_path):
    torch.manual_seed(3)
    made, declared = built(name).autoencoder._architecture()
    frames = 2 if name == "Cosmos" else 1  # Cosmos states its statistics for every latent frame
    published = made(**declared, latents_mean=[float(i) for i in range(4 * frames)], latents_std=[2.0] * 4 * frames)
    published.save_pretrained(tmp_path / "vae")
    substrate = built(name, weights=str(tmp_path))
    assert not torch.equal(next(substrate.autoencoder.net.parameters()), next(published.parameters()))
    measured = substrate.fit(iter([seen(times=1)]), steps=0, seed=0)
    assert set(measured) == {"psnr_db"}
    assert all(torch.equal(a, b) for a, b in zip(substrate.autoencoder.net.state_dict().values(), published.state_dict().values(),
                                                 strict=True))
    assert substrate.mean.tolist() == [frames * i for i in range(4)]
    assert substrate.deviation.tolist() == [2.0] * 4
    with pytest.raises(MisfitError, match=r"accepted:.*= 2"):
        built(name, weights=str(tmp_path), blocks=2).fit(iter([seen(times=1)]), steps=0, seed=0)
    with pytest.raises(StorageError, match="cannot be had"):
        built(name, weights=str(tmp_path), subfolder="nowhere").fit(iter([seen(times=1)]), steps=0, seed=0)


@pytest.mark.parametrize(("autoencoder", "factor", "millions"), [(WAN_2_1, 8, 127), (WAN_2_2, 16, 705)])
def test_published_sizes_on_the_meta_device(autoencoder, factor, millions):
    with torch.device("meta"):
        built = autoencoder.build()
    assert sum(p.numel() for p in built.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)
    assert autoencoder.factor == factor
