"""`foreact report RUN`."""

from __future__ import annotations

import argparse
from pathlib import Path

from foreact.cli.parsing import Parser
from foreact.cli.result import Result

__all__ = ["KEYS", "SETTINGS", "TEXT", "add_options", "main"]

TEXT = """One self-contained HTML file that opens offline: success with intervals, the paired difference to the baseline with its
test, learning curves, latency, and films in which the imagined future plays beside the real one. Films come from
evaluations that recorded some (videos.successes, videos.failures); whatever is absent, the page says so.

examples
  foreact eval runs/joint-tiny videos.successes=2 videos.failures=2
  foreact report runs/joint-tiny
  foreact report runs/joint-tiny --baseline runs/joint-tiny-baseline --evaluations main --out report.html"""
SETTINGS, KEYS = False, ()


def add_options(parser: Parser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("--baseline", type=Path, metavar="RUN", help="the run of the no-future baseline")
    parser.add_argument("--evaluations", nargs="+", metavar="NAME", help="which ones (default: all finished ones)")
    parser.add_argument("--title", default="", help="(default: the run folder)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="(default: RUN/report.html)")


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.cli.gather import gather
    from foreact.reporting import write_report
    from foreact.reporting.success import headline

    inputs = gather(options.run, baseline=options.baseline, evaluations=options.evaluations, title=options.title,
                    commands=(f"foreact eval {options.run}", f"foreact report {options.run}"))
    path = write_report(inputs, options.out or options.run / "report.html")
    return Result(data={"report": str(path), "headline": headline(inputs), "recordings": len(inputs.recordings)},
                  text=f"{headline(inputs)}\nreport: {path}")
