"""What a server counts and measures, in Prometheus's text format 0.0.4."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter

__all__ = ["Metrics"]

_TIMES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_HISTOGRAMS = {
    "foreact_request_seconds": ("From the arrival of a request to its answer.", _TIMES),
    "foreact_plan_seconds": ("One batch of plans in the model.", _TIMES),
    "foreact_batch_rows": ("Sessions planned together.", (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)),
}
_COUNTERS = {
    "foreact_requests_total": "Requests by what became of them.",
    "foreact_connections_total": "Connections by what became of them.",
    "foreact_sessions_expired_total": "Sessions that nobody came back for.",
    "foreact_alarms_total": "Alarms of the sessions' monitors, by kind.",
}
_GAUGES = {
    "foreact_ready": "1 once the model is warmed up.",
    "foreact_sessions_connected": "Sessions with a connection.",
    "foreact_sessions_waiting": "Sessions kept for a client to come back to.",
    "process_resident_memory_bytes": "Resident memory.",
}


class Metrics:
    """Counted from the event loop and from the thread that plans."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._buckets = {name: [0] * (len(bounds) + 1) for name, (_, bounds) in _HISTOGRAMS.items()}
        self._sums = dict.fromkeys(_HISTOGRAMS, 0.0)

    def count(self, name: str, outcome: str, by: int = 1) -> None:
        with self._lock:
            self._counts[name, outcome] += by

    def observe(self, name: str, value: float) -> None:
        with self._lock:
            self._buckets[name][bisect_left(_HISTOGRAMS[name][1], value)] += 1
            self._sums[name] += value

    def text(self, gauges: dict[str, float]) -> str:
        """The page; `gauges`: what is so now, by name."""
        lines: list[str] = []
        with self._lock:
            for name, told in _COUNTERS.items():
                lines += [f"# HELP {name} {told}", f"# TYPE {name} counter"]
                lines += [f'{name}{{outcome="{outcome}"}} {n}' for (of, outcome), n in sorted(self._counts.items()) if of == name]
            for name, (told, bounds) in _HISTOGRAMS.items():
                lines += [f"# HELP {name} {told}", f"# TYPE {name} histogram"]
                below = 0
                for bound, n in zip((*map(str, bounds), "+Inf"), self._buckets[name], strict=True):
                    below += n
                    lines.append(f'{name}_bucket{{le="{bound}"}} {below}')
                lines += [f"{name}_sum {self._sums[name]:.6f}", f"{name}_count {below}"]
        for name, told in _GAUGES.items():
            lines += [f"# HELP {name} {told}", f"# TYPE {name} gauge", f"{name} {gauges[name]:g}"]
        return "\n".join(lines) + "\n"
