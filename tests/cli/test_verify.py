"""`foreact verify`, `census` and `cite`: exit codes, JSON, and words that are wrong."""

import json

from foreact.cli.main import run


def said(capsys, *words, code=0):
    assert run([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_the_census_is_a_list_of_rows(capsys):
    rows = said(capsys, "census")
    assert len(rows) == 116
    assert {"name", "substrate", "backbone", "coupling", "regime", "state"} <= set(rows[0])
    assert {row["state"] for row in rows} <= {"works", "planned"}
    assert said(capsys, "census", "--works") == [row for row in rows if row["state"] == "works"]


def test_the_page_is_printed(capsys):
    assert run(["census", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("# The census")


def test_citations(capsys):
    assert "survey" in said(capsys, "cite", "joint")["bibtex"]
    assert "did you mean 'joint'" in said(capsys, "cite", "jont", code=2)["error"]["next_step"]


def test_a_file_that_defines_no_recipe_is_refused(capsys, tmp_path):
    (tmp_path / "empty.py").write_text("RECIPE = 3\n")
    error = said(capsys, "recipes", "show", str(tmp_path / "empty.py"), code=2)["error"]
    assert "defines no recipe" in error["what"]
    assert said(capsys, "recipes", "show", str(tmp_path / "none.py"), code=2)["error"]["what"] == "no such file"
