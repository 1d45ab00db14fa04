"""Features of a frozen encoder: futures that are learnt states with no way back to pixels (survey, section 4.2.2).

    s in R^{H x N_tok x d_emb}                                                                        (survey, equation 14)

The encoder is learnt first, on the dataset's own frames (`SelfDistilled`), or comes trained (`PretrainedVision`), and is
then frozen. Its tokens are averaged to a declared grid per camera. Their mean at each place is taken away, because what
never changes there (the table, the wall) would drown what does, and their channels are decorrelated and brought to
deviation 1, because a few directions of an embedding hold most of its variance. Since it has no picture to look at,
`fit` measures on frames that no step has seen whether it says anything. One that `foreact teacher train` has fitted is taken
whole from its folder, whitening included; runs that share it then share its stored encodings too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from foreact.contract.axes import Substrate, SubstrateForm
from foreact.contract.config import encode
from foreact.contract.context import Scene
from foreact.contract.errors import MisfitError, SpecError, TrainingError
from foreact.contract.specs import ObservationSpec
from foreact.nets.augmentation import recoloured
from foreact.nets.self_distilled import SelfDistilled
from foreact.nets.vision import Captioned, VisionEncoder
from foreact.substrates.teacher_folder import cameras_of, read_teacher

__all__ = ["FrozenFeatures"]

_WHITENING_BATCHES = 20


class FrozenFeatures(Substrate):
    """One encoder for all cameras; a frame is a grid of feature tokens for each camera."""

    kind = "Feature (teacher)"
    decodable = watchable = False
    per_frame = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Substrate.Config):
        """`grid`: rows and columns of tokens per camera, which must divide those of the encoder.

        floor: the share of the mean deviation below which a direction is no longer scaled up.
        folder: of a teacher that `foreact teacher train` has written, of the same encoder and grid; None to learn here.
        """

        encoder: VisionEncoder.Config = field(default_factory=SelfDistilled.Config)
        grid: tuple[int, int] = (4, 4)
        floor: float = 0.1
        folder: str | None = None

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            sizes = {(camera.height, camera.width) for camera in observation.cameras}
            if len(sizes) != 1:
                raise MisfitError("cameras and substrate do not fit", where="model.substrate", found=f"images of {sorted(sizes)}",
                                  accepted="cameras of one size", next_step="resize the images")
            (height, width), = sizes
            rows, columns = self.encoder.grid(height, width)
            if rows % self.grid[0] or columns % self.grid[1]:
                raise MisfitError("the encoder's tokens do not pool to the declared grid", where="model.substrate.grid",
                                  found=f"{rows} x {columns} tokens to {self.grid[0]} x {self.grid[1]}",
                                  accepted=f"divisors of {rows} and {columns}", next_step=f"model.substrate.grid=[{rows},{columns}]")
            return SubstrateForm(grid=(len(observation.cameras), *self.grid), channels=self.encoder.channels)

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return ()

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form = config, config.form(observation)
        self.cameras, self._looks = observation.camera_names, cameras_of(observation)
        camera = observation.cameras[0]
        self.encoder = config.encoder.build(camera.height, camera.width)
        self._rows, self._columns = config.encoder.grid(camera.height, camera.width)
        self.register_buffer("mean", torch.zeros(self.form.tokens, config.encoder.channels))
        self.register_buffer("whiten", torch.eye(config.encoder.channels))

    def _raw(self, images: Mapping[str, Tensor]) -> Tensor:
        """(batch, time, tokens, channels), not whitened."""
        stacked = torch.stack([images[name] for name in self.cameras], dim=2)  # batch time camera 3 height width
        return self._pooled(stacked.flatten(0, 2)).reshape(*stacked.shape[:2], self.form.tokens, self.form.channels)

    def _pooled(self, images: Tensor) -> Tensor:
        """(image, tokens, channels) on the declared grid."""
        tokens = self.encoder(images).float().transpose(1, 2).unflatten(2, (self._rows, self._columns))
        rows, columns = self.config.grid
        return F.avg_pool2d(tokens, (self._rows // rows, self._columns // columns)).flatten(2).transpose(1, 2)

    @torch.no_grad()
    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        return (self._raw(scene.images) - self.mean) @ self.whiten

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return values

    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        raise SpecError("features have no decoder", where="model.substrate", found=type(self).__name__,
                        accepted="a substrate with decodable = True", next_step="choose a pixel substrate to watch imagined futures")

    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        """Fit the encoder, then the whitening on the last batches. The batch after `steps` is only measured on; see `measure`.

        One from a folder reads no batch and returns what was measured when it was learnt.
        """
        if self.config.folder is not None:
            return self._taken(self.config.folder)
        recent: deque[Scene] = deque(maxlen=_WHITENING_BATCHES)
        held_out: list[Scene] = []

        def stream() -> Iterator[Captioned]:
            for step, batch in enumerate(batches):
                if step == steps:
                    held_out.append(batch)
                    return
                recent.append(batch)
                yield Captioned(torch.cat([batch.images[name][:, 0] for name in self.cameras]), batch.texts * len(self.cameras))

        images = stream()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.encoder.fit(images, steps=steps, seed=seed)
            for _ in images:  # an encoder that comes trained has left them; whitening still needs them
                pass
            if not held_out:
                raise TrainingError("too few batches of frames to fit the substrate", where="training.substrate.steps", found=len(recent),
                                    accepted=f"{steps} and one more to measure on")
            with torch.no_grad():
                rows = torch.cat([self._raw(batch.images)[:, 0] for batch in recent])
                self._fit_whitening(rows)
                return self.measure(held_out[0].images)

    def _fit_whitening(self, rows: Float[Tensor, "frame tokens channels"]) -> None:
        self.mean.copy_(rows.mean(dim=0))
        centred = (rows - self.mean).flatten(0, 1).double()
        variance, basis = torch.linalg.eigh(centred.T @ centred / len(centred))
        variance, basis = variance.flip(0).clamp(min=0), basis.flip(1)
        # the sign of an eigenvector is arbitrary: fix it, so that the same frames give the same code
        basis = basis * torch.where(basis.sum(dim=0) < 0, -1.0, 1.0)
        scale = (variance + (self.config.floor * variance.sqrt().mean()) ** 2).sqrt().clamp(min=1e-6)
        self.whiten.copy_(basis / scale)

    def _taken(self, folder: str) -> dict[str, float]:
        found, weights = read_teacher(folder)
        ours = {"teacher": encode(replace(self.config, folder=None)), "cameras": self._looks}
        if any(found[key] != value for key, value in ours.items()):
            raise MisfitError("the teacher in the folder is another one than the config declares", where="FrozenFeatures.folder",
                              found=" ".join(f"{key} {found[key]}" for key in ours), accepted=" ".join(f"{k} {v}" for k, v in ours.items()),
                              next_step="give the substrate the encoder, the grid and the floor that the folder's config.json has")
        self.load_state_dict(weights)
        return found["measures"]

    @torch.no_grad()
    def measure(self, images: Mapping[str, Tensor]) -> dict[str, float]:
        """On unseen frames: does the embedding vary, over how many directions, and does it know a frame again?

        variation: the part of the raw tokens' variance that lies between frames, not between places; 0 where all frames look alike.
        effective_rank: exp of the entropy of the eigenvalues of the raw tokens' covariance (Roy and Vetterli, 2007); 1 to channels.
        retrieval: share of frames whose recoloured copy is nearer to them than to any other frame of the batch.
        """
        raw, tokens = self._raw(images)[:, 0], self.encode(Scene(images=images))[:, 0]
        centred = raw - self.mean
        again = self.encode(Scene(images={name: recoloured(image[:, 0])[:, None] for name, image in images.items()}))[:, 0]
        share = torch.linalg.eigvalsh(torch.cov(centred.flatten(0, 1).T)).clamp(min=1e-9)
        share = share / share.sum()
        nearest = torch.cdist(again.flatten(1), tokens.flatten(1)).argmin(dim=1)
        return {"variation": float(raw.var(dim=0).mean() / raw.flatten(0, 1).var(dim=0).mean()),
                "effective_rank": float((-(share * share.log()).sum()).exp()),
                "retrieval": float((nearest == torch.arange(len(tokens), device=nearest.device)).float().mean())}
