"""From run folders to what a report shows: metrics, evaluations and recordings as other parts wrote them to disk.

Read are `config.json`, `metrics.jsonl` (kind, step, seconds, losses), and of every finished evaluation in `evaluations/<name>/`
the `result.json` (policy, protocol, fingerprint), `episodes.jsonl` and `recordings/*.npz` (arrays as documented in
foreact.evaluation.recording). An evaluation without `result.json` has not finished and is named, not shown.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foreact.contract.axes import Backbone, Coupling, Regime, Substrate
from foreact.contract.config import registered
from foreact.contract.errors import ConfigError, DatasetError, ProtocolMismatchError, nearest
from foreact.contract.progress import say
from foreact.reporting.about import flat
from foreact.reporting.inputs import Axis, Call, Choice, Cost, Curve, Episode, Policy, Protocol, Recording, ReportInputs, Return
from foreact.selection.monitor import Alarm, Score

__all__ = ["read_inputs", "read_recording"]

_KINDS = {"Substrate": (Substrate, "kind"), "Backbone": (Backbone, "family"), "Coupling": (Coupling, "family"),
          "Regime": (Regime, "name")}


def read_inputs(run: Path | str, *, baseline: Path | str | None = None, title: str = "", name: str = "with imagined future",
                baseline_name: str = "no future", evaluations: Sequence[str] | None = None, films_per_outcome: int = 2,
                parameters: tuple[int | None, int | None] = (None, None), phases: Mapping[str, float] | None = None,
                card: Mapping[str, str] | None = None, machine: Mapping[str, str] | None = None, commands: Sequence[str] = (),
                written: str = "") -> ReportInputs:
    """Everything that `run` holds, beside `baseline` where one is given; what only the caller knows is passed on.

    evaluations: names, by default all finished ones. films_per_outcome: for each condition so many successes and failures,
    by the lowest seeds. parameters: of the model and of the baseline. Raises `ProtocolMismatchError` where the two were not
    measured alike, and `ConfigError` where a folder or a name is not there.
    """
    ours = _Folder.open(run, evaluations)
    theirs = None if baseline is None else _Folder.open(baseline, evaluations)
    if theirs is not None:
        _require_alike(ours, theirs)
    config = ours.config()
    facts = {"recipe": str(config["recipe"]), "size": str(config["size"])} if config else {}
    recordings = ours.recordings(name, films_per_outcome)
    if theirs is not None:
        recordings += theirs.recordings(baseline_name, 1)
    return ReportInputs(title=title or ours.path.name, model=ours.policy(name, parameters[0]),
                        baseline=None if theirs is None else theirs.policy(baseline_name, parameters[1]),
                        recordings=recordings, axes=_axes(config), card={**facts, **(card or {})}, phases=phases or {},
                        protocols=ours.protocols(), machine=machine or {}, commands=tuple(commands), written=written)


@dataclass(frozen=True, kw_only=True)
class _Folder:
    """A run folder and the names of the evaluations that count."""

    path: Path
    names: tuple[str, ...]

    @classmethod
    def open(cls, path: Path | str, wanted: Sequence[str] | None) -> _Folder:
        path = Path(path)
        known = [(path / part).exists() for part in ("config.json", "metrics.jsonl", "evaluations")]
        if not any(known):
            raise ConfigError("this is no run folder", where=str(path),
                              accepted="a folder with config.json, metrics.jsonl or evaluations",
                              next_step="give the folder that foreact train or foreact quickstart wrote")
        begun = sorted(folder.name for folder in (path / "evaluations").glob("*/") if (folder / "episodes.jsonl").exists())
        finished = [name for name in begun if (path / "evaluations" / name / "result.json").exists()]
        for name in wanted or ():
            if name not in finished:
                raise ConfigError("no such finished evaluation", where=str(path / "evaluations"), found=name,
                                  next_step=nearest(name, finished))
        if left := sorted(set(begun) - set(finished)):
            say(f"not in the report, because they have not finished: {', '.join(left)} in {path / 'evaluations'}")
        return cls(path=path, names=tuple(finished if wanted is None else wanted))

    def config(self) -> Mapping[str, Any]:
        path = self.path / "config.json"
        return _json(path) if path.exists() else {}

    def results(self) -> list[tuple[str, Mapping[str, Any]]]:
        return [(name, _json(self.path / "evaluations" / name / "result.json")) for name in self.names]

    def protocols(self) -> tuple[Protocol, ...]:
        return tuple(Protocol(name=name, fingerprint=result["fingerprint"], fields=result["protocol"])
                     for name, result in self.results())

    def records(self) -> list[Mapping[str, Any]]:
        """All episodes; one that two evaluations hold would count twice and is refused."""
        found: dict[tuple[str, str, int], str] = {}
        records = []
        for name, result in self.results():
            seeds = set(result["seeds"])
            for record in _lines(self.path / "evaluations" / name / "episodes.jsonl"):
                key = (record["task"], record["condition"], record["seed"])
                if record["seed"] not in seeds:
                    continue
                if key in found:
                    raise ConfigError("two evaluations hold the same episode", where=str(self.path / "evaluations"),
                                      found=f"{key} in {found[key]} and {name}", next_step=f"choose one: --evaluations {name}")
                found[key] = name
                records.append(record)
        return sorted(records, key=lambda r: (r["condition"], r["task"], r["seed"]))

    def policy(self, name: str, parameters: int | None) -> Policy:
        records = self.records()
        episodes = tuple(Episode(task=r["task"], condition=r["condition"], seed=r["seed"], success=r["success"], steps=r["steps"],
                                 rollbacks=len(r.get("rollbacks", ())), undone=r.get("undone", 0))
                         for r in records)
        return Policy(name=name, episodes=episodes, curves=_curves(self.path / "metrics.jsonl"), cost=_cost(records, parameters))

    def recordings(self, policy: str, per_outcome: int) -> tuple[Recording, ...]:
        """For each condition so many successes and so many failures, by the lowest seeds, of as many tasks as there are."""
        paths = [p for name in self.names for p in (self.path / "evaluations" / name / "recordings").glob("*.npz")]
        groups: dict[tuple[bool, str], list[tuple[Mapping[str, Any], Path]]] = {}
        for path in sorted(paths, key=_order):
            meta = _meta(path)
            groups.setdefault((not meta["success"], meta["condition"]), []).append((meta, path))
        kept = []
        for _, found in sorted(groups.items(), key=lambda item: item[0]):
            turn = Counter[str]()
            ranked = []
            for place, (meta, path) in enumerate(found):
                ranked.append((turn[meta["task"]], place, path))
                turn[meta["task"]] += 1
            kept += [read_recording(path, policy=policy) for _, _, path in sorted(ranked)[:per_outcome]]
        return tuple(kept)


def _order(path: Path) -> tuple[int, str]:
    """By seed, then by name: `<condition>-<task>-<seed>.npz`."""
    return int(path.stem.rpartition("-")[2]), path.stem


def _require_alike(ours: _Folder, theirs: _Folder) -> None:
    known = {p.fingerprint: p for p in ours.protocols()}
    for protocol in theirs.protocols():
        if known and protocol.fingerprint not in known:
            mine, other = dict(flat(next(iter(known.values())).fields)), dict(flat(protocol.fields))
            differing = "".join(f"\n    {key}: {mine.get(key, '(absent)')} against {other.get(key, '(absent)')}"
                                for key in sorted(mine.keys() | other.keys()) if mine.get(key) != other.get(key))
            raise ProtocolMismatchError("the model and its baseline were measured under different protocols",
                                        where=str(theirs.path), found=differing, accepted="one protocol for both",
                                        next_step="evaluate both again under one protocol, or leave the baseline out")


def read_recording(path: Path | str, *, policy: str = "") -> Recording:
    """One recorded episode; raises `DatasetError` where the file is cut off or of another kind."""
    meta = _meta(path)
    with _opened(path) as arrays:
        imagined = {c: np.moveaxis(arrays[f"imagined.{c}"], 2, -1) for c in meta["cameras"] if f"imagined.{c}" in arrays}
        offsets = tuple(int(o) for o in arrays["offsets"]) if imagined else ()
        values = arrays["values"].tolist() if "values" in arrays else []
        calls = tuple(Call(step=int(step), actions=plan, offsets=offsets, value=values[i] if values else None,
                           imagined={c: images[i] for c, images in imagined.items()})
                      for i, (step, plan) in enumerate(zip(arrays["call_steps"], arrays["plans"], strict=True)))
        return Recording(policy=policy or meta["policy"], task=meta["task"], condition=meta["condition"], seed=meta["seed"],
                         success=meta["success"], instruction=meta["instruction"], rate_hz=meta["rate_hz"],
                         action_names=tuple(meta["action_names"]), executed=arrays["actions"], calls=calls, returns=_returns(meta, arrays),
                         choices=tuple(Choice(step=c["step"], chosen=c["chosen"], scores=tuple(c["scores"]))
                                       for c in meta.get("choices", ())),
                         **_watched(meta),
                         frames={c: np.moveaxis(arrays[f"frames.{c}"], 1, -1) for c in meta["cameras"]})


def _returns(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> tuple[Return, ...]:
    """The rollbacks of a recording; files from before there were any hold none."""
    seen = {c: iter(np.moveaxis(arrays[f"undone.{c}"], 1, -1)) for c in meta["cameras"] if f"undone.{c}" in arrays}
    return tuple(Return(step=t["step"], call=t["call"], value=t["value"], peak=t["peak"], peak_step=t["peak_step"],
                        restored=(restored := t["mode"] == "restored"), seen={c: next(images) for c, images in seen.items() if restored})
                 for t in meta.get("rollbacks", ()))


def _watched(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a monitor said; files from before there were any hold nothing."""
    return {"scores": tuple(Score(**one) for one in meta.get("scores", ())),
            "alarms": tuple(Alarm(**one) for one in meta.get("alarms", ())), "asked": bool(meta.get("asked", False))}


@contextmanager
def _opened(path: Path | str) -> Iterator[Mapping[str, np.ndarray]]:
    """The arrays of an .npz file, read when asked for; what is wrong with the file becomes a `DatasetError`."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            yield arrays
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError) as error:
        raise DatasetError("this is not a whole recording of an episode", where=str(path), found=str(error),
                           accepted="an .npz file that an evaluation wrote", next_step="evaluate again with films") from error


def _meta(path: Path | str) -> Mapping[str, Any]:
    with _opened(path) as arrays:
        return json.loads(str(arrays["meta"]))


def _curves(path: Path) -> tuple[Curve, ...]:
    """One curve per stream and split, over all stages."""
    points: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for line in _lines(path) if path.exists() else []:
        for stream, loss in line["losses"].items():
            points.setdefault((stream, line["kind"]), []).append((line["step"], line["seconds"], loss))
    curves = []
    for (stream, split), rows in points.items():
        step, seconds, loss = np.array(rows, np.float64).T
        curves.append(Curve(stream=stream, split=split, step=step, seconds=seconds, loss=loss))
    return tuple(curves)


def _cost(records: Sequence[Mapping[str, Any]], parameters: int | None) -> Cost:
    def seconds(name: str) -> np.ndarray:
        return np.array([ms for record in records for ms in record[name]], np.float64) / 1e3

    calls, steps = sum(r["calls"] for r in records), sum(r["steps"] for r in records)
    evaluations = sum(r["evaluations"] for r in records)
    alone = seconds("alone_ms")
    return Cost(call_seconds=alone if len(alone) else None, parameters=parameters,
                beside_seconds={"looking": seconds("observe_ms"), "preparing": seconds("prepare_ms")},
                evaluations_per_step=evaluations / steps if steps and calls else None,
                evaluations_per_call=evaluations / calls if calls else None,
                peak_memory_bytes=max((int(r["peak_memory_mb"] * 2**20) for r in records), default=None))


def _axes(config: Mapping[str, Any]) -> tuple[Axis, ...]:
    axes = []
    for name, (base, attribute) in _KINDS.items():
        if config:
            part = config["model"][name.lower()]
            known = registered(base.Config).get(part["type"])
            detail = "; ".join(f"{key} {value}" for key, value in flat(part) if key != "type" and "." not in key)
            axes.append(Axis(name=name, member=part["type"], kind=getattr(known.owner, attribute) if known else "", detail=detail))
    return tuple(axes)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetError("this file is damaged", where=str(path), found=str(error), accepted="JSON") from error


def _lines(path: Path) -> list[Any]:
    """Every whole line; a last one that a kill cut short is left out."""
    lines = path.read_text().split("\n")
    try:
        return [json.loads(line) for line in lines[:-1] if line]
    except json.JSONDecodeError as error:
        raise DatasetError("a line is damaged", where=str(path), found=str(error), accepted="JSON lines") from error
