"""`train`: a run and a dataset in, a run folder with checkpoints out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.distributed as dist

from foreact.contract.config import encode
from foreact.contract.errors import ConfigError
from foreact.contract.progress import say
from foreact.data.cache import Cache
from foreact.data.lerobot.conventions import StatedConventions
from foreact.data.lerobot.dataset import Dataset
from foreact.model import WorldActionModel
from foreact.training.card import model_card
from foreact.training.checkpoint_folder import Checkpoint, find
from foreact.training.fit import TrainResult, fit, open_folder
from foreact.training.learner import copy_weights
from foreact.training.loop import Place
from foreact.training.parallel import Team, team, use_threads
from foreact.training.prepare import Material, held_out_windows, normalise, open_material, prepare, windows
from foreact.training.randomness import derived_seed, preserved
from foreact.training.run import Run
from foreact.training.specs import specs_of, specs_text
from foreact.training.video import together, watch

__all__ = ["TrainResult", "choose_device", "train"]

_INITIAL = 0x1417


def choose_device(name: str | None = None) -> torch.device:
    """`name`, or the best there is; with several processes each takes the GPU of its place on the machine."""
    if name is not None:
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def train(run: Run, *, dataset: Dataset | Path | str, out: Path | str, resume: bool = False, substrate_of: Path | str | None = None,
          start_from: Path | str | None = None, videos: Sequence[Dataset | Path | str] = (), stated: StatedConventions | None = None,
          cache: Cache | None = None, device: str | None = None, loggers: Sequence[str] = ()) -> TrainResult:
    """Train `run` on a LeRobot dataset into the folder `out`; with torchrun, on several processes.

    resume: go on from the newest complete checkpoint in `out` (or begin, where there is none).
    substrate_of: a run folder whose fitted substrate is taken over instead of fitting one.
    start_from: a run or checkpoint folder of the same model, from whose averaged weights, normalisation and substrate this run begins
        its own steps, as in fine-tuning. Where that was another robot, normalisation is fitted anew; see `model.action_space`.
    videos: datasets that are only watched, beside `dataset`; see `video.py`.
    stated: the conventions of a dataset that does not carry our specs. loggers: see `logging`.

    Raises `ConfigError`, `DatasetError`, `SpecError`, `TrainingError`, `StorageError`, and `Interrupted` after Ctrl-C.
    """
    if substrate_of is not None and start_from is not None:
        raise ConfigError("a run that starts from another has its substrate already", where="substrate_of", found=substrate_of,
                          next_step="leave out --substrate-of, or --start-from")
    place, folder = choose_device(device), Path(out)
    data = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    with preserved(), team(place) as us:
        use_threads(run.training.threads, us.size)
        start = open_folder(folder, encode(run), resume=resume, team=us)
        material = open_material(run, data, stated=stated, cache=cache)
        watched = [watch(run, material, video) for video in videos]
        every = [data, *(each.dataset for each in watched)]
        _refuse_other_data(start, every)
        torch.manual_seed(derived_seed(run.training.seed, _INITIAL))
        model = run.model.build(material.observation, material.action).to(place)
        measured = _ready(model, run, material, start, us, *(None if path is None else Path(path) for path in (substrate_of, start_from)))
        counts = _parameters(model)
        source, chosen = together(model, run, material, watched)
        data_name = ", beside it as video ".join(f"{each.root.name} (`{each.fingerprint}`)" for each in every)

        def texts(now: Place) -> dict[str, str]:
            return {"specs.json": specs_text(material.observation, material.action),
                    "README.md": model_card(run, material.observation, material.action, parameters=counts, dataset=data_name, place=now)}

        held_out = held_out_windows(windows(model, run, material, material.held_out), run) if material.held_out else []
        return fit(model, run.training, source, held_out=held_out, folder=folder, config=encode(run), start=start, texts=texts,
                   chosen=chosen, notes={"dataset": _identity(data), "substrate": dict(measured), **_beside(every[1:])},
                   device=place, team=us, loggers=loggers)


def _identity(data: Dataset) -> dict[str, object]:
    return {"path": str(data.root), "fingerprint": data.fingerprint, "episodes": len(data.episodes), "frames": data.frames_total}


def _beside(videos: Sequence[Dataset]) -> dict[str, object]:
    return {"videos": [_identity(each) for each in videos]} if videos else {}


def _refuse_other_data(start: Checkpoint | None, every: Sequence[Dataset]) -> None:
    if start is None:
        return
    begun = start.progress()
    before, now = [begun["dataset"], *begun.get("videos", ())], [_identity(each) for each in every]
    if [each["fingerprint"] for each in before] != [each["fingerprint"] for each in now]:
        found, accepted = (", ".join(f"{each['path']} with {each['frames']} frames" for each in them) for them in (now, before))
        raise ConfigError("the run was started on other data", where="resume", found=found, accepted=f"{accepted}, unchanged",
                          next_step="resume with the datasets as they were, or start a new run in another folder")


def _ready(model: WorldActionModel, run: Run, material: Material, start: Checkpoint | None, us: Team,
           substrate_of: Path | None, start_from: Path | None) -> Mapping[str, float]:
    """Normalisation and substrate in place on every process; the first one does the work. Returns what fitting measured."""
    model.text.load()
    if start is not None:
        copy_weights(model, start.model())
        return start.progress()["substrate"]
    measured: Mapping[str, float] = {}
    if start_from is not None:
        begun = find(start_from)
        copy_weights(model, begun.model())
        before, action = specs_of(begun.json("specs.json"))
        if (before.state, action) != (material.observation.state, material.action):  # another robot, which has statistics of its own
            normalise(model, run, material)
        if us.leads:
            say(f"starting from {begun.path}")
    elif us.leads:
        measured = prepare(model, run, material, substrate_of=substrate_of)
        trained = sum(p.numel() for _, p in model.parameters_to_train())
        say(f"{run.recipe}: {trained:,} parameters to train on {len(material.train)} episodes, {len(material.held_out)} held out")
    if us.size > 1 and start_from is None:
        for value in model.state_dict().values():
            dist.broadcast(value, 0)
    return measured


def _parameters(model: WorldActionModel) -> dict[str, int]:
    """Parameters by part of the model."""
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        counts[name.partition(".")[0]] += parameter.numel()
    return dict(counts)
