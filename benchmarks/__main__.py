"""`python -m benchmarks [NAME ...] [--table-only]`: run the benchmarks one after the other, then write docs/benchmarks.md.

Each benchmark is a script or a package of this folder that writes results/NAME.json. They run alone, one thread each, because numbers
taken side by side would measure each other. Packages need more than this environment, and run only when they are named.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from foreact.contract.errors import nearest
from foreact.contract.storage import atomic_write_text

HERE = Path(__file__).parent
TABLE = HERE.parent / "docs" / "benchmarks.md"
SCRIPTS = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))
NAMES = sorted([*SCRIPTS, *(path.parent.name for path in HERE.glob("*/__main__.py"))])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: {', '.join(SCRIPTS)})")
    parser.add_argument("--table-only", action="store_true", help="run nothing, write the table anew")
    options = parser.parse_args()
    for name in options.names:
        if name not in NAMES:
            parser.error(f"no benchmark '{name}'; {nearest(name, NAMES)}")
    failed = [] if options.table_only else [name for name in options.names or SCRIPTS if not _ran(name)]
    atomic_write_text(TABLE, table())
    print(f"table: {TABLE}")
    return 1 if failed else 0


def _ran(name: str) -> bool:
    print(f"--- {name}", flush=True)
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    what = [HERE / f"{name}.py"] if name in SCRIPTS else ["-m", f"benchmarks.{name}"]
    return subprocess.run([sys.executable, *what], env=environment, cwd=HERE.parent, check=False).returncode == 0


def table() -> str:
    """Every finished result as one Markdown table per benchmark: settings above, measures below."""
    parts = ["# Benchmarks", "",
             "Written by `make bench`; the raw numbers are in `benchmarks/results/`. Ratios within one run say more than absolute",
             "figures: those belong to the machine and to what else it was doing."]
    for path in sorted((HERE / "results").glob("*.json")):
        if path.stem in NAMES:
            parts += ["", f"## {path.stem}", "", *_rows(json.loads(path.read_text()))]
    return "\n".join(parts) + "\n"


def _rows(result: Mapping[str, Any]) -> Iterator[str]:
    """One row for each mapping of numbers, its names in the first column; values of one form share a table."""
    form: tuple[str, ...] | None = None
    for name, values in _groups(result, ""):
        columns = tuple(values)
        if columns != form:
            yield from ([] if form is None else [""])
            yield f"| | {' | '.join(column.replace('_', ' ') for column in columns)} |"
            yield f"| --- |{' ---: |' * len(columns)}"
            form = columns
        yield f"| {name.replace('_', ' ')} | {' | '.join(_said(value) for value in values.values())} |"


def _groups(result: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping of plain values with its path; a row of a list is named by its words."""
    plain = {key: value for key, value in result.items() if not isinstance(value, Mapping) and not _is_rows(value)}
    if plain:
        yield prefix or "setting", plain
    for key, value in result.items():
        if isinstance(value, Mapping):
            yield from _groups(value, f"{prefix}, {key}" if prefix else key)
        elif _is_rows(value):
            for row in value:
                words = ", ".join(item for item in row.values() if isinstance(item, str))
                yield words, {name: item for name, item in row.items() if not isinstance(item, str)}


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _said(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
