"""A checkpoint of foreact as a model server of vla-eval: one action for each observation, planned when the model's regime wants to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from vla_eval.model_servers.base import SessionContext
from vla_eval.model_servers.predict import PredictModelServer
from vla_eval.specs import DimSpec

from foreact.acting.turns import Seat, Turns
from foreact.contract.context import fake_context
from foreact.contract.errors import SpecError
from foreact.contract.specs import CameraSpec
from foreact.data.resizing import resize_area
from foreact.envs.base import Observation
from foreact.training.checkpoint import load_model
from foreact_vla_eval.declared import actions_declared, observation_declared

__all__ = ["ForeactModelServer"]


class ForeactModelServer(PredictModelServer):
    """checkpoint: folder of a run, or of one of its checkpoints. device: cpu, cuda, ...

    cameras: the benchmark's name of a camera by the model's, where they differ: {"scene": "agentview"}. Pictures of another size are made
    as large as those that the model was trained on, by area. seed: of the plans' noise, which otherwise follows from the task alone, so
    that neither the order of episodes nor how they are spread over connections changes an action. lanes: the batch that defines a plan.
    max_batch_size: sessions that are planned together, each of which waits up to max_wait_time seconds for the others.

    The regime decides how many actions of a plan are carried out; vla-eval's own chunking is not used.
    """

    def __init__(self, checkpoint: str, *, device: str = "cpu", cameras: dict[str, str] | None = None, seed: int = 0, lanes: int = 4,
                 max_batch_size: int = 8, max_wait_time: float = 0.01) -> None:
        super().__init__(max_batch_size=max_batch_size, max_wait_time=max_wait_time)
        self._model = load_model(checkpoint, device=device)
        self._spec, self._seed, self._cameras = self._model.observation, seed, dict(cameras or {})
        unknown = sorted(set(self._cameras) - set(self._spec.camera_names))
        if unknown:
            raise SpecError("no such camera", where="args.cameras", found=", ".join(unknown), accepted=", ".join(self._spec.camera_names))
        self._turns = Turns(self._model, lanes=lanes)
        self._seats: dict[str, Seat] = {}
        self._warm_up()

    def _warm_up(self) -> None:
        """One plan of random data, so that set-up is nobody's latency: vla-eval connects as soon as the server is made."""
        context = fake_context(self._spec, batch=1)
        seen = Observation(images={name: x[0, 0].numpy() for name, x in context.images.items()}, state=context.state[0, 0].numpy(),
                           instruction=context.instruction[0])
        self._turns.act([Seat(seed=self._seed)], lambda _: seen)

    def get_action_spec(self) -> dict[str, DimSpec]:
        return actions_declared(self._model.action)

    def get_observation_spec(self) -> dict[str, DimSpec]:
        return observation_declared(self._spec)

    def get_observation_params(self) -> dict[str, Any]:
        """What vla-eval's benchmarks are to send: the state, and a second picture where the model looks through two cameras."""
        return {"send_state": True, "send_wrist_image": len(self._spec.cameras) > 1}

    async def on_episode_start(self, config: dict[str, Any], ctx: SessionContext) -> None:
        await super().on_episode_start(config, ctx)
        self._seats[ctx.session_id] = Seat(seed=_noise(self._seed, config.get("task") or {}))

    async def on_episode_end(self, result: dict[str, Any], ctx: SessionContext) -> None:
        self._seats.pop(ctx.session_id, None)
        await super().on_episode_end(result, ctx)

    def predict_batch(self, obs_batch: list[dict[str, Any]], ctx_batch: list[SessionContext]) -> list[dict[str, Any]]:
        """One action for each session, float32 (action,). Every observation is checked, also those that the regime does not look at."""
        shown = [self._read(obs) for obs in obs_batch]
        seats = [self._seats.setdefault(ctx.session_id, Seat(seed=self._seed)) for ctx in ctx_batch]
        return [{"actions": action} for action in self._turns.act(seats, lambda place: shown[place])]

    def _read(self, obs: Mapping[str, Any]) -> Observation:
        """An observation in vla-eval's words, as the model was trained on them; raises `SpecError`, which goes to the benchmark."""
        given = obs.get("images") or {}
        state = np.asarray(obs.get("state", obs.get("states", ())), dtype=np.float32).reshape(-1)
        if len(state) != self._spec.state.size:
            raise SpecError("the state has another size", where="state", found=len(state),
                            accepted=f"{self._spec.state.size}: {', '.join(self._spec.state.names)}")
        return Observation(images={camera.name: self._picture(given, camera) for camera in self._spec.cameras}, state=state,
                           instruction=str(obs.get("task_description", "")))

    def _picture(self, given: Mapping[str, Any], camera: CameraSpec) -> np.ndarray:
        name = self._cameras.get(camera.name, camera.name)
        if name not in given:
            raise SpecError("a camera is missing", where=f"images.{name}", found=", ".join(given) or "no pictures",
                            accepted=", ".join(self._cameras.get(n, n) for n in self._spec.camera_names),
                            next_step="say which is which: --args.cameras='{\"" + camera.name + "\": \"THEIR NAME\"}'")
        image = np.asarray(given[name])
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
            raise SpecError("a picture has another form", where=f"images.{name}", found=f"{image.dtype} {image.shape}",
                            accepted="uint8 (height, width, 3)")
        return resize_area(np.ascontiguousarray(image.transpose(2, 0, 1))[None], (camera.height, camera.width))[0]


def _noise(seed: int, task: Mapping[str, Any]) -> int:
    """The seed of an episode's noise, from the server's seed and all that vla-eval says of the task."""
    digest = hashlib.sha256(json.dumps([seed, dict(task)], sort_keys=True, default=str).encode()).digest()
    return int.from_bytes(digest[:7], "big")
