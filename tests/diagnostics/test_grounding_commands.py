"""`foreact diagnose intervention` and `attention` from their words to their pages, on a run and a dataset of the smallest size."""

import json

import pytest

from foreact.cli.main import run

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
