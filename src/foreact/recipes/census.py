"""The survey's census of World Action Models, as data beside the recipes that make its rows run.

109 rows of "World Action Models: A Survey" (Shen et al., 2026, doi 10.20944/preprints202606.1403.v1, CC BY 4.0, tables 1 and 2), and the
systems that this library adds to them. A row works where a recipe names it and evidence lies beside; it is planned otherwise.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from foreact.contract.errors import ConfigError, nearest

__all__ = ["BEYOND", "SURVEY", "Row", "forget", "page", "row", "rows"]

SURVEY = "doi:10.20944/preprints202606.1403.v1"
BEYOND = ("AGRA", "MV-WAM", "GeoSem-WAM", "PointAction", "CLAW", "WAM-Nav", "3DThinkVLA")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A system: its place on the axes, and how far it has come here.

    state: "works" or "planned". recipe: the name of its recipe, if any. evidence: paths or figures that the state rests on.
    """

    name: str
    philosophy: str
    substrate: str
    backbone: str
    coupling: str
    regime: str
    first_submitted: str
    state: str
    recipe: str | None = None
    evidence: dict[str, Any] | None = None


@cache
def _table() -> dict[str, dict[str, str]]:
    """Rows of the survey and of those beyond it, by name."""
    text = files("foreact.recipes").joinpath("census.csv").read_text()
    return {line["name"]: line for line in csv.DictReader(text.splitlines())}


def row(name: str) -> dict[str, str]:
    """The survey's row of that name; raises `ConfigError` with the nearest one where there is none."""
    table = _table()
    if name not in table:
        raise ConfigError("the census has no such row", where="card.census", found=name, next_step=nearest(name, table))
    return table[name]


@cache
def _evidence() -> dict[str, Any]:
    """What was measured of each recipe: closed-loop results and verify reports, written by `foreact study anchors`."""
    return json.loads(files("foreact.recipes").joinpath("evidence.json").read_text())


def rows() -> list[Row]:
    """Every row in the survey's order, then those beyond it."""
    from foreact.recipes import catalogue

    cards = {catalogue.recipe(name).card.census: name for name in catalogue.names() if catalogue.recipe(name).card.census}
    found = []
    for name, line in _table().items():
        recipe = cards.get(name)
        evidence = _evidence().get(recipe) if recipe else None
        works = bool(evidence and evidence.get("beats_chance") and evidence.get("verified"))
        found.append(Row(
            name=name, philosophy=line["philosophy"], substrate=line["substrate"], backbone=line["backbone"], coupling=line["coupling"],
            regime=line["regime"], first_submitted=line["first_submitted"], state="works" if works else "planned", recipe=recipe,
            evidence=evidence))
    return found


def forget() -> None:
    """Read the evidence anew, after it was written."""
    _evidence.cache_clear()


def page() -> str:
    """The census as a page of the docs."""
    found = rows()
    works = sum(row.state == "works" for row in found)
    lines = [
        "# The census", "",
        f"The 109 World Action Models of the survey ({SURVEY}) and {len(BEYOND)} systems beside it, in its words; the places of the "
        "latter are ours. A row works where its recipe passes `foreact verify` and succeeds more often than chance in closed loop, with "
        f"both on record: {works} of {len(found)} do. The page is made by `foreact census --markdown`.", "",
        "| system | first submitted | philosophy | substrate | backbone | coupling | regime | state | evidence |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for row in found:
        place = (row.substrate, row.backbone, row.coupling, row.regime)
        cells = (row.name, row.first_submitted, row.philosophy, *place, row.state, _cell(row))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(row: Row) -> str:
    """What stands behind a row, in a few words."""
    if row.recipe is None:
        return ""
    if row.evidence is None:
        return f"recipe `{row.recipe}`, not measured yet"
    low, high = row.evidence["interval"]
    failed = [name for name, holds in row.evidence["checks"].items() if holds is False]
    verdict = "verify holds" if row.evidence["verified"] else f"verify fails: {', '.join(failed)}"
    return (f"recipe `{row.recipe}`: {row.evidence['successes']}/{row.evidence['n']} ({100 * low:.0f} to {100 * high:.0f} %), {verdict} "
            "([table](anchors.md))")
