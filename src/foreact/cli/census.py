"""`foreact census`: every system of the survey's census, its place on the axes, and whether it works here."""

from __future__ import annotations

import argparse

from foreact.cli.parsing import Parser
from foreact.cli.result import Result

__all__ = ["KEYS", "SETTINGS", "TEXT", "add_options", "main"]

TEXT = """The survey's 109 World Action Models and seven systems beside it, with their place on the four axes. A row works where a recipe of
it passes `foreact verify`, succeeds more often than chance in closed loop, and both are on record; it is planned otherwise.

examples
  foreact census
  foreact census --works
  foreact census --json"""
SETTINGS, KEYS = False, ()


def add_options(parser: Parser) -> None:
    parser.add_argument("--works", action="store_true", help="only the rows that work here")
    parser.add_argument("--markdown", action="store_true", help="the page of the docs")


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.contract.config import encode
    from foreact.recipes import census

    if options.markdown:
        return Result(data={"page": census.page()}, text=census.page().rstrip("\n"))
    rows = [row for row in census.rows() if row.state == "works" or not options.works]
    width = max((len(row.name) for row in rows), default=0)
    lines = [f"{row.name:<{width}}  {row.state:<8} ({row.substrate}, {row.backbone}, {row.coupling}, {row.regime})"
             + (f"  foreact recipes show {row.recipe}" if row.recipe else "") for row in rows]
    works = sum(row.state == "works" for row in rows)
    return Result(data=[encode(row) for row in rows], text="\n".join([*lines, "", f"{works} of {len(rows)} work here"]))
