"""`foreact diagnose intervention`, `attention` and `grounding` from words to page, on a run and a dataset of the smallest size."""

import json

import pytest

from foreact.cli.main import run
from foreact.cli.seen_frames import figures

SMALL = ["training.stages.0.steps=1", "training.stages.1.steps=1", "training.batch_size=4", "training.substrate.steps=4",
         "training.substrate.batch_size=4", "training.threads=1", "model.backbone.depth=3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grounding")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOREACT_CACHE", str(folder / "cache"))
        for name, words in {"seen": ["annotations.segmentation=true"], "plain": []}.items():
            assert run(["collect", "--tasks", "button-press-topdown", "--out", str(folder / name), "--workers", "1", "episodes=2",
                        "size=32", "expert.steps_after_success=0", *words]) == 0
        assert run(["train", "joint", "--data", str(folder / "plain"), "--out", str(folder / "run"), "--device", "cpu", *SMALL]) == 0
        yield folder


def test_frames_of_one_episode_are_one_value():
    rows = [{"ratio": 1.0}, {"ratio": 3.0}, {"ratio": 5.0}, {"ratio": None}]
    found = figures(rows, ("ratio",), of=[7, 7, 8, 9])["ratio"]
    assert (found["value"], found["n"]) == (3.5, 2)
    assert figures([{"ratio": None}], ("ratio",), of=[0]) == {}


def test_figures_with_intervals_and_controls(folder, capsys):
    page = folder / "heat.html"
    words = ["diagnose", "intervention", str(folder / "run"), "--data", str(folder / "seen"), "--out", str(page), "frames=2", "--json"]
    assert run(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["settings"]["layer"] == 1  # a third of three layers
    assert {"share", "ratio", "shuffled", "without_common"} <= set(found["figures"])
    for one in found["figures"].values():
        assert one["n"] >= 1 and one["low"] - 1e-9 <= one["value"] <= one["high"] + 1e-9
    assert len(found["frames"]) == 2
    text = page.read_text()
    assert "Where the action is sensitive" in text and "data:image/png" in text


def test_attention_with_figures_by_layer_head_and_step(folder, capsys):
    page = folder / "attention.html"
    words = ["diagnose", "attention", str(folder / "run"), "--data", str(folder / "seen"), "--out", str(page), "frames=2", "--json"]
    assert run(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["settings"]["stream"] == "video"
    assert {"share", "ratio", "shuffled", "without_common", "moved", "on_stream"} <= set(found["figures"])
    assert sum(found["looks_at"].values()) == pytest.approx(1)
    assert found["figures"]["on_stream"]["value"] == pytest.approx(found["looks_at"]["video"])
    assert list(found["by_layer"]) == ["1", "2", "3"]
    table = found["ratio_by_layer_and_step"]
    assert (len(table), len(table[0])) == (3, len(found["by_step"]))
    assert {"ratio", "shuffled", "without_common", "share"} <= set(found["by_head"]["0"])
    text = page.read_text()
    assert "Where the action looks" in text and text.count("data:image/png") == 4
    assert "http" not in text.replace("http-equiv", "")


def test_attention_of_one_layer_is_its_row_of_the_whole(folder, capsys):
    words = ["diagnose", "attention", str(folder / "run"), "--data", str(folder / "seen"), "frames=2", "--json"]
    assert run(words) == 0
    whole = json.loads(capsys.readouterr().out)
    assert run([*words, "layer=2"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"]["ratio"] == whole["by_layer"]["2"]["ratio"]


@pytest.mark.parametrize(("words", "says"), [
    (["layer=9"], "no such layer"), (["head=9"], "no such head"), (["step=-1"], "no such step"), (["camera=roof"], "does not look through"),
    (["stream=state"], "does not look at the frames"), (["frames=1"], "an interval needs frames")])
def test_what_attention_has_not_is_named(folder, capsys, words, says):
    assert run(["diagnose", "attention", str(folder / "run"), "--data", str(folder / "seen"), "frames=2", *words]) != 0
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(("words", "says"), [
    (["layer=9"], "no such layer"), (["stream=action"], "grid of frames"), (["camera=roof"], "does not look through"),
    (["replace=zero"], "no such replacement")])
def test_what_is_not_there_is_named(folder, capsys, words, says):
    assert run(["diagnose", "intervention", str(folder / "run"), "--data", str(folder / "seen"), "frames=2", *words]) != 0
    assert says in capsys.readouterr().err


def test_a_dataset_without_segmentation_is_refused(folder, capsys):
    assert run(["diagnose", "intervention", str(folder / "run"), "--data", str(folder / "plain"), "frames=2"]) != 0
    assert "segmentation.scene" in capsys.readouterr().err


NAMING = ["--instructions", "press the button from above", "slide the window open", "frames=2", "shown=1"]


def test_one_model_beside_itself_differs_in_nothing(folder, capsys):
    page, picture, trained = folder / "naming.html", folder / "naming.png", str(folder / "run")
    assert run(["diagnose", "grounding", trained, trained, "--names", "before", "after", *NAMING, "--out", str(page), "--picture",
                str(picture), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["figures"]["before"] == found["figures"]["after"]
    for kind in ("attention", "sensitivity"):
        assert {"named", "unnamed", "shuffled", "without_common", "moved"} <= set(found["figures"]["before"][kind])
        assert {one["value"] for one in found["differences"][kind].values()} == {0.0}
    assert [scene["seed"] >= 500_000 for scene in found["scenes"]] == [True, True]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "Does it look at what is named?" in page.read_text()


def test_frames_of_a_dataset_have_a_mask_for_their_own_instruction(folder, capsys):
    assert run(["diagnose", "grounding", str(folder / "run"), "--data", str(folder / "seen"), *NAMING, "looked=attention", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (figures,) = found["figures"].values()
    assert "named" in figures["attention"] and "unnamed" not in figures["attention"]
    assert found["differences"] == {} and set(found["scenes"][0]) == {"episode", "frame"}


@pytest.mark.parametrize(("words", "says"), [
    (["--names", "one", "two"], "a name of its own"), (["--instructions", "eat the banana", "press the button from above"], "told so"),
    (["--instructions", "press the button from above"], "two things or more")])
def test_what_grounding_cannot_stage_is_named(folder, capsys, words, says):
    assert run(["diagnose", "grounding", str(folder / "run"), *NAMING, *words]) != 0
    assert says in capsys.readouterr().err
