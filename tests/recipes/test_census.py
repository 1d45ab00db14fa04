"""The census: every row of the survey once, states that follow from evidence, a page that is not stale."""

from pathlib import Path

import pytest

from foreact.contract.errors import ConfigError
from foreact.recipes import catalogue, census, citations

ROOT = Path(__file__).resolve().parents[2]


def test_every_row_is_there_once():
    rows = census.rows()
    assert len(rows) == len({row.name for row in rows}) == 109 + 7
    assert [row.name for row in rows[-7:]] == list(census.BEYOND)
    assert {row.philosophy for row in rows} == {"Render-and-Decode", "Latent-Only", "Video-Generation-Free"}
    by_philosophy = [sum(row.philosophy == p for row in rows[:109]) for p in ("Render-and-Decode", "Latent-Only", "Video-Generation-Free")]
    assert by_philosophy == [58, 38, 13]


def test_a_card_names_a_row_and_its_place():
    for name in catalogue.names():
        card = catalogue.recipe(name).card
        if card.census:
            row = census.row(card.census)
            assert card.axes == {axis: row[axis] for axis in card.axes}, name
    with pytest.raises(ConfigError, match="did you mean 'UniPi'"):
        census.row("UniPy")


def test_a_row_works_only_with_both_kinds_of_evidence(monkeypatch):
    recipe = next(name for name in catalogue.names() if catalogue.recipe(name).card.census)
    row = catalogue.recipe(recipe).card.census

    def state(**evidence):
        monkeypatch.setattr(census, "_evidence", lambda: {recipe: evidence} if evidence else {})
        return next(r.state for r in census.rows() if r.name == row)

    assert state() == "planned"
    assert state(beats_chance=True, verified=False) == "planned"
    assert state(beats_chance=False, verified=True) == "planned"
    assert state(beats_chance=True, verified=True) == "works"


def test_the_page_is_not_stale():
    assert (ROOT / "docs" / "census.md").read_text() == census.page(), "foreact census --markdown > docs/census.md"


def test_citations_name_the_recipe_its_parts_and_the_survey():
    found = citations.of(catalogue.recipe("joint"))
    assert next(iter(found)) == "joint" and list(found)[-1] == "survey"
    assert "Mixture-of-Transformers" in found["MixtureOfTransformers"]
    assert len(set(found.values())) == len(found)
    assert all(entry.count("{") == entry.count("}") for entry in found.values())
