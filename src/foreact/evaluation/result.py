"""What an evaluation found: every episode, and rates that never travel without n, seeds, interval and protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from foreact.contract.config import decode, encode
from foreact.contract.errors import ConfigError, DatasetError, nearest
from foreact.contract.proportions import rate_of
from foreact.contract.storage import atomic_write_json
from foreact.evaluation.protocol import Protocol
from foreact.evaluation.rollout import EpisodeRecord
from foreact.evaluation.statistics import Mean, Percentiles, Rate
from foreact.selection.monitor import KINDS

__all__ = ["EPISODES", "RECORDINGS", "RESULT", "Result"]

RESULT, EPISODES, RECORDINGS = "result.json", "episodes.jsonl", "recordings"


@dataclass(frozen=True, kw_only=True)
class Result:
    """policy: what was evaluated, by content. episodes: in order of condition, task and seed."""

    policy: Mapping[str, Any]
    protocol: Protocol
    episodes: tuple[EpisodeRecord, ...]

    @property
    def n(self) -> int:
        return len(self.episodes)

    @property
    def successes(self) -> int:
        return sum(record.success for record in self.episodes)

    @property
    def rate(self) -> Rate:
        """Over all episodes, with its Wilson interval."""
        return Rate(successes=self.successes, n=self.n)

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sorted({record.seed for record in self.episodes}))

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(record.task for record in self.episodes))

    @property
    def conditions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(record.condition for record in self.episodes))

    def only(self, *, condition: str) -> Result:
        """The part under one condition, with the protocol that it was measured under."""
        if condition not in self.conditions:
            raise ConfigError("no episode under this condition", where="condition", found=condition,
                              next_step=nearest(condition, self.conditions))
        fields = {**self.protocol.fields, "condition": {condition: self.protocol.fields["condition"][condition]}}
        return replace(self, protocol=Protocol(fields), episodes=tuple(r for r in self.episodes if r.condition == condition))

    def summary(self) -> dict[str, Any]:
        """Everything in `result.json`: rates in all, by condition, and by condition and task; latency; memory; protocol."""
        records = self.episodes
        by_condition = {c: [r for r in records if r.condition == c] for c in self.conditions}
        return {
            **_rate(records), "seeds": list(self.seeds),
            "conditions": {c: {**_rate(mine), "tasks": {t: _rate([r for r in mine if r.task == t])
                                                        for t in dict.fromkeys(r.task for r in mine)}}
                           for c, mine in by_condition.items()},
            "steps": asdict(Mean.of([r.steps for r in records])),
            "evaluations_per_step": asdict(Mean.of([r.evaluations_per_step for r in records])),
            "out_of_bounds_share": sum(r.outside for r in records) / sum(r.steps for r in records),
            "latency_ms": {
                "alone": _percentiles(ms for r in records for ms in r.alone_ms),
                "batched_call": _percentiles(ms for r in records for ms in r.model_ms),
                "preparation": _percentiles(ms for r in records for ms in r.prepare_ms),
                "observation": _percentiles(ms for r in records for ms in r.observe_ms)},
            "peak_memory_mb": max(r.peak_memory_mb for r in records),
            **({"rollbacks": _rollbacks(records)} if "rollback" in self.protocol.fields else {}),
            **({"selection": _selection(records)} if "selector" in self.protocol.fields else {}),
            **({"monitor": _monitor(records)} if "monitor" in self.protocol.fields else {}),
            **({"clock": _timing(records)} if "clock" in self.protocol.fields else {}),
            **({"consistency": _consistency(records)} if any(r.consistency for r in records) else {}),
            "policy": dict(self.policy), "protocol": dict(self.protocol.fields), "fingerprint": self.protocol.fingerprint,
        }

    def save(self, folder: Path | str) -> None:
        """Write `result.json`; the episodes are in `episodes.jsonl` already, line by line as they ended."""
        recordings = sorted(str(path.relative_to(folder)) for path in Path(folder).glob(f"{RECORDINGS}/*.npz"))
        atomic_write_json(Path(folder) / RESULT, {**self.summary(), "recordings": recordings})

    @classmethod
    def load(cls, folder: Path | str) -> Result:
        """Read a finished evaluation; raises `DatasetError` where it is not whole."""
        folder = Path(folder)
        try:
            summary = json.loads((folder / RESULT).read_text())
            result = cls(policy=summary["policy"], protocol=Protocol(summary["protocol"]), episodes=())
        except (FileNotFoundError, json.JSONDecodeError, KeyError) as error:
            raise DatasetError("this is not a finished evaluation", where=str(folder), found=f"{type(error).__name__}: {error}",
                               accepted=f"a folder with {RESULT} and {EPISODES}",
                               next_step="run the evaluation again; it continues") from error
        if result.protocol.fingerprint != summary["fingerprint"]:
            raise DatasetError("the protocol does not bear its fingerprint", where=str(folder / RESULT),
                               found=result.protocol.fingerprint, accepted=summary["fingerprint"],
                               next_step="the file was edited: evaluate again")
        records = read_episodes(folder / EPISODES)
        wanted = [r for r in records if r.seed in set(summary["seeds"])]
        if len(wanted) != summary["n"] or sum(r.success for r in wanted) != summary["successes"]:
            raise DatasetError("episodes and summary disagree", where=str(folder), found=f"{len(wanted)} episodes",
                               accepted=f"{summary['n']} with {summary['successes']} successes", next_step="evaluate again")
        return replace(result, episodes=ordered(wanted))


def ordered(records: Iterable[EpisodeRecord]) -> tuple[EpisodeRecord, ...]:
    return tuple(sorted(records, key=lambda record: record.episode))


def read_episodes(path: Path) -> list[EpisodeRecord]:
    """Every whole line of `episodes.jsonl`. A last line that was cut off by a kill is no episode; anything else is damage."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    found = []
    for number, line in enumerate(lines[:-1], start=1):  # after the last newline: nothing, or half a line
        try:
            found.append(decode(EpisodeRecord, json.loads(line)))
        except (json.JSONDecodeError, UnicodeDecodeError, ConfigError) as error:
            raise DatasetError("a line is not an episode", where=f"{path}:{number}", found=str(error),
                               next_step="delete the file to evaluate from the beginning") from error
    return found


def line_of(record: EpisodeRecord) -> bytes:
    return json.dumps(encode(record), allow_nan=False).encode() + b"\n"


def _rate(records: Iterable[EpisodeRecord]) -> dict[str, Any]:
    return {**Rate.of([record.success for record in records]).told(), "interval_method": "Wilson, 95 %"}


def _rollbacks(records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """How often episodes went back, what it cost in steps, and how those ended that did."""
    touched = [record for record in records if record.rollbacks]
    traces = [trace for record in touched for trace in record.rollbacks]
    return {"episodes": len(touched), "of": len(records), "mean": len(traces) / len(records),
            "restored": sum(trace.mode == "restored" for trace in traces), "replanned": sum(trace.mode == "replanned" for trace in traces),
            "undone_steps": sum(r.undone for r in records), "undone_share": sum(r.undone for r in records) / sum(r.steps for r in records),
            "solved_with": _rate(touched) if touched else None,
            "solved_without": _rate(rest) if (rest := [r for r in records if not r.rollbacks]) else None}


def _selection(records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """How many plans were chosen among candidates, how often another than the first, how far those lay apart, and what choosing took."""
    choices = [choice for record in records for choice in record.choices]
    return {"choices": len(choices), "plans": sum(r.calls for r in records),
            "not_the_first": sum(choice.chosen != 0 for choice in choices) / len(choices) if choices else None,
            "spread": sum(choice.spread for choice in choices) / len(choices) if choices else None,
            "overhead_ms": _percentiles(ms for record in records for ms in record.select_ms)}


def _timing(records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """Steps between an observation and the first action taken from its plan, and the share of steps held still."""
    return {"staleness_steps": _percentiles(steps for r in records for steps in r.staleness), "idle_steps": sum(r.idle for r in records),
            "idle_share": sum(r.idle for r in records) / sum(r.steps for r in records)}


def _consistency(records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """Imagined frames that came due, and the mean of C = exp(-d) over them: of all, of solved episodes, and of the others."""
    def mean(of: Iterable[EpisodeRecord]) -> float | None:
        scores = [math.exp(-one.distance) for record in of for one in record.consistency]
        return sum(scores) / len(scores) if scores else None

    return {"frames": sum(len(r.consistency) for r in records), "mean": mean(records), "solved": mean(r for r in records if r.success),
            "not_solved": mean(r for r in records if not r.success)}


def _monitor(records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """How many episodes raised an alarm, by kind and by how they ended; of those that succeeded it was a false one."""
    ended = {"solved": [r for r in records if r.success], "not_solved": [r for r in records if not r.success]}
    return {"asked": sum(r.asked for r in records),
            **{kind: sum(any(a.kind == kind for a in r.alarms) for r in records) for kind in KINDS},
            **{name: rate_of([bool(r.alarms) for r in mine], "alarms") for name, mine in ended.items()}}


def _percentiles(values: Iterable[float]) -> dict[str, Any] | None:
    found = Percentiles.of(list(values))
    return None if found is None else asdict(found)
