"""`foreact cite RECIPE`: the BibTeX of a recipe and of the parts that it is made of."""

from __future__ import annotations

import argparse

from foreact.cli.parsing import Parser
from foreact.cli.result import Result

__all__ = ["KEYS", "SETTINGS", "TEXT", "add_options", "main"]

TEXT = """Prints the BibTeX of the system that a recipe reproduces, of the parts that its config names, and of the survey that places it.

examples
  foreact cite joint
  foreact cite jepa --json"""
SETTINGS, KEYS = False, ()


def add_options(parser: Parser) -> None:
    parser.add_argument("recipe", help="its name, see: foreact recipes list")


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.recipes import catalogue, citations

    found = citations.of(catalogue.recipe(options.recipe))
    return Result(data={"recipe": options.recipe, "bibtex": found}, text="\n\n".join(found.values()))
