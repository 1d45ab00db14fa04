"""Discrete visual tokens: each patch of a frame is one of `codes` words learnt on the dataset's own frames (vector quantisation).

    k(x) = argmin_k || W (x - m) - c_k ||^2,    s = one-hot of k                  (VQ-VAE, arXiv 1711.00937, equation 1)

m is the mean of the patches at that place, so that the words are spent on what changes and not on the table. W are the leading
principal components of what remains, unscaled: distances are those of pixels. The words c are found by k-means (Lloyd, 1982) in
place of a straight-through gradient; a word that nothing uses is put where the error is largest. The decoder adds to m + W' c_k
what a small transformer over all words of the picture makes of them; it is learnt by gradient steps, the words being fixed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.contract.axes import Substrate, SubstrateForm
from foreact.contract.context import Scene
from foreact.contract.errors import MisfitError, TrainingError
from foreact.contract.progress import meter
from foreact.contract.specs import ObservationSpec
from foreact.nets.blocks import PlainBlock
from foreact.nets.patches import patch_grid

__all__ = ["DiscreteTokens"]

_WORD_BATCHES = 32
_ROUNDS = 12


class DiscreteTokens(Substrate):
    """One codebook for all cameras; a frame is a grid of words for each camera."""

    kind = "Pixel (latent)"
    decodable = watchable = per_frame = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Substrate.Config):
        """`codes` words for patches of `patch` x `patch` pixels, compared on `components` principal components.

        width, depth: of the decoder's transformer.
        """

        codes: int = 256
        patch: int = 16
        components: int = 64
        width: int = 192
        depth: int = 2
        learning_rate: float = 1e-3

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            grid = patch_grid(observation, self.patch)
            if self.components > 3 * self.patch**2 or self.codes < 2:
                raise MisfitError("a codebook has two words or more, compared on numbers that a patch has", where="model.substrate",
                                  found=f"codes = {self.codes}, components = {self.components}",
                                  accepted=f"codes of 2 or more, components up to {3 * self.patch**2}")
            return SubstrateForm(grid=grid, channels=self.codes, discrete=True)

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return ()

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form, self.cameras = config, config.form(observation), observation.camera_names
        cameras, rows, columns = self.form.grid
        pixels = 3 * config.patch**2
        self.register_buffer("mean", torch.zeros(cameras, rows * columns, pixels))
        self.register_buffer("basis", torch.eye(pixels, config.components))
        self.register_buffer("words", torch.randn(config.codes, config.components))
        self.embed = nn.Linear(config.codes, config.width)
        self.place = nn.Parameter(0.02 * torch.randn(cameras, rows * columns, config.width))
        self.blocks = nn.Sequential(*(PlainBlock(config.width, max(config.width // 64, 1)) for _ in range(config.depth)))
        self.correct = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, pixels))
        nn.init.zeros_(self.correct[-1].weight)
        nn.init.zeros_(self.correct[-1].bias)

    # --- words --------------------------------------------------------------------------------------------------------

    def _patches(self, scene: Scene) -> Float[Tensor, "frame camera token pixel"]:
        stacked = torch.stack([scene.images[name] for name in self.cameras], dim=2).flatten(0, 1)  # frame camera 3 height width
        return F.pixel_unshuffle(stacked.float().div(127.5).sub(1.0), self.config.patch).flatten(3).transpose(2, 3)

    def _nearest(self, codes: Float[Tensor, "*lead component"]) -> Int[Tensor, "*lead"]:
        return _squares(codes.flatten(0, -2), self.words).argmin(dim=1).view(codes.shape[:-1])

    @torch.no_grad()
    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        index = self._nearest((self._patches(scene) - self.mean) @ self.basis)
        return F.one_hot(index.flatten(1), self.config.codes).float().unflatten(0, scene.shape)

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return values

    # --- pictures -----------------------------------------------------------------------------------------------------

    def _plain(self, values: Float[Tensor, "frame camera token code"]) -> Float[Tensor, "frame camera token pixel"]:
        """The word of each patch by itself."""
        return self.mean + values @ (self.words @ self.basis.T)

    def _decoded(self, values: Float[Tensor, "frame camera token code"]) -> Float[Tensor, "frame camera token pixel"]:
        x = (self.embed(values) + self.place).flatten(0, 1)
        return self._plain(values) + self.correct(self.blocks(x)).unflatten(0, values.shape[:2]).float()

    @torch.no_grad()
    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        cameras, rows, columns = self.form.grid
        patches = self._decoded(values.float().flatten(0, 1).unflatten(1, (cameras, -1)))
        images = F.pixel_shuffle(patches.transpose(2, 3).unflatten(3, (rows, columns)), self.config.patch)
        images = images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).unflatten(0, values.shape[:2])
        return {name: images[:, :, i] for i, name in enumerate(self.cameras)}

    # --- fitting ------------------------------------------------------------------------------------------------------

    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        """The words from the first batches, then `steps` steps for the decoder. Reads at most steps + 33 batches.

        Measured on a batch that no step has trained on: the PSNR in dB of the words alone and with the decoder, and the
        perplexity of the codebook, exp of the entropy of how often each word is used: 1 to `codes`.
        """
        stream = iter(batches)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._fit_words([self._patches(scene) for _, scene in zip(range(_WORD_BATCHES), stream, strict=False)])
            held_out = next(stream, None)
            if held_out is None:
                raise TrainingError("too few batches to fit the substrate on", where="model.substrate",
                                    found=f"{_WORD_BATCHES} or fewer", accepted=f"steps + {_WORD_BATCHES + 1}",
                                    next_step="give more batches, repeating frames where the dataset is small")
            self._fit_decoder(stream, steps)
        return self._measure(held_out)

    @torch.no_grad()
    def _fit_words(self, seen: list[Tensor]) -> None:
        if not seen:
            raise TrainingError("no frames to fit the substrate on", where="model.substrate", next_step="check the dataset's cameras")
        count = sum(len(x) for x in seen)
        self.mean.copy_(sum(x.double().sum(dim=0) for x in seen) / count)
        rests = [(x - self.mean).flatten(0, 2) for x in seen]
        _, basis = torch.linalg.eigh(sum((rest.T @ rest).double() for rest in rests))
        basis = basis.flip(1)[:, : self.config.components]
        # the sign of an eigenvector is arbitrary: fix it, so that the same frames give the same words
        self.basis.copy_(basis * torch.where(basis.sum(dim=0) < 0, -1.0, 1.0))
        codes = torch.cat([rest @ self.basis for rest in rests])
        self.words.copy_(_k_means(codes, self.config.codes))

    def _fit_decoder(self, stream: Iterator[Scene], steps: int) -> None:
        optimiser = torch.optim.AdamW(self.parameters(), lr=self.config.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.config.learning_rate, total_steps=max(steps, 2), pct_start=0.1)
        with meter("fitting the substrate", steps) as m:
            for _, scene in zip(range(steps), stream, strict=False):
                true = self._patches(scene)
                values = self.encode(scene).flatten(0, 1).unflatten(1, (self.form.grid[0], -1))
                with torch.autocast(true.device.type, dtype=torch.bfloat16):
                    found = self._decoded(values)
                loss = F.mse_loss(found.float(), true) + 0.1 * F.l1_loss(found.float(), true)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                m.advance(1)

    @torch.no_grad()
    def _measure(self, scene: Scene) -> dict[str, float]:
        true = self._patches(scene)
        values = self.encode(scene).flatten(0, 1).unflatten(1, (self.form.grid[0], -1))
        share = values.flatten(0, 2).mean(dim=0)
        return {"psnr_words_db": _psnr(self._plain(values), true), "psnr_db": _psnr(self._decoded(values), true),
                "perplexity": float((-(share * share.clamp(min=1e-12).log()).sum()).exp())}


def _squares(rows: Float[Tensor, "row value"], words: Float[Tensor, "word value"]) -> Float[Tensor, "row word"]:
    """Square distances, less the rows' own squares, which do not matter for which is least."""
    return words.square().sum(dim=1) - 2 * rows @ words.T


def _k_means(rows: Float[Tensor, "row value"], count: int) -> Float[Tensor, "word value"]:
    """Centres of `count` clusters. One of no row moves to a row that is far from its own, drawn by the square of the distance."""
    words = rows[torch.randint(len(rows), (count,))].clone()
    for _ in range(_ROUNDS):
        near, index = _squares(rows, words).min(dim=1)
        used = torch.bincount(index, minlength=count)
        total = torch.zeros_like(words).index_add_(0, index, rows)
        words = torch.where(used[:, None] > 0, total / used.clamp(min=1)[:, None], words)
        empty = (used == 0).nonzero().flatten()
        if len(empty):
            away = (near + rows.square().sum(dim=1)).clamp(min=1e-9)
            words[empty] = rows[torch.multinomial(away, len(empty), replacement=len(empty) > len(rows))]
    return words


def _psnr(found: Tensor, true: Tensor) -> float:
    return float(10 * torch.log10(4 / F.mse_loss(found.clamp(-1, 1), true).clamp(min=1e-9)))
