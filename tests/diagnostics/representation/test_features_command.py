"""`foreact diagnose features` from its words to its page, on runs and a dataset of the smallest size."""

import json

import numpy as np
import pytest

from foreact.cli.main import run

SMALL = ["training.stages.0.steps=1", "training.stages.1.steps=1", "training.batch_size=4", "training.substrate.steps=4",
         "training.substrate.batch_size=4", "training.threads=1", "model.backbone.depth=3"]
FEW = ["frames=16", "tokens=200", "shown=2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOREACT_CACHE", str(folder / "cache"))
        for name, episodes, words in (("seen", 4, ["annotations.segmentation=true"]), ("plain", 2, [])):
            assert run(["collect", "--tasks", "button-press-topdown", "--out", str(folder / name), "--workers", "1", f"episodes={episodes}",
                        "size=32", "expert.steps_after_success=0", *words]) == 0
        for name, words in (("agra", ["model.coupling.head.depth=3"]), ("fast-wam", [])):
            assert run(["train", name, "--data", str(folder / "plain"), "--out", str(folder / name), "--device", "cpu", *SMALL,
                        *words]) == 0
        yield folder


def measured(folder, capsys, name, *words):
    capsys.readouterr()
    assert run(["diagnose", "features", str(folder / name), "--data", str(folder / "seen"), *FEW, *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_page_with_scores_by_layer_beside_the_teacher(folder, capsys):
    page = folder / "features.html"
    found = measured(folder, capsys, "agra", "--out", str(page))
    assert found["stream"] == "video" and found["sigma"] == 1.0 and found["evaluation"] == 1 and found["offset"] == 8
    assert found["layers"] == [1, 2, 3] and found["layer"] == 1  # a third of three
    assert list(found["probes"]) == ["1", "2", "3", "teacher", "pixels"]
    for scores in found["probes"].values():
        for target in ("action", "action_all", "position", "position_all", "segmentation"):
            one = scores[target]
            assert one["low"] - 1e-9 <= one["value"] <= one["high"] + 1e-9 and one["episodes"] == 4
    matrix = np.array(found["cka"]["matrix"], dtype=float)
    assert found["cka"]["names"] == ["1", "2", "3", "teacher"]
    np.testing.assert_allclose(np.diag(matrix), 1.0, atol=1e-9)
    np.testing.assert_allclose(matrix, matrix.T)
    text = page.read_text()
    assert "What the hidden states hold" in text and text.count("data:image/png") == 1 and "t-SNE" in text


def test_the_same_words_give_the_same_figures(folder, capsys):
    assert measured(folder, capsys, "agra", "layers=[2]") == measured(folder, capsys, "agra", "layers=[2]")


def test_a_model_that_acts_without_a_future_is_read_at_the_present(folder, capsys):
    found = measured(folder, capsys, "fast-wam", "layers=[1]")
    assert found["stream"] == "frame" and found["sigma"] == 0.0 and found["offset"] == 0 and found["teacher"] is None
    assert "teacher" not in found["probes"]


def test_a_teacher_is_taken_from_a_folder(folder, capsys):
    assert run(["teacher", "train", "--data", str(folder / "seen"), "--out", str(folder / "teacher"), "--device", "cpu", "steps=4",
                "batch_size=8", "measured=8", "threads=1", "image_size=[64,64]"]) == 0
    found = measured(folder, capsys, "fast-wam", f"teacher={folder / 'teacher'}", "layers=[1]")
    assert found["teacher"].startswith("teacher in") and list(found["probes"]) == ["1", "teacher", "pixels"]


def test_a_teacher_is_taken_from_another_run(folder, capsys):
    found = measured(folder, capsys, "fast-wam", f"teacher={folder / 'agra'}", "layers=[1]")
    own = measured(folder, capsys, "agra", "layers=[1]", "stream=frame", "cover=0.2")
    assert found["teacher"] == f"FrozenFeatures of {folder / 'agra'}" and own["teacher"] == "FrozenFeatures of this run"
    assert found["probes"]["teacher"]["action"] == own["probes"]["teacher"]["action"]  # the very same features of the very same frames


@pytest.mark.parametrize(("words", "says"), [
    (["layer=9"], "no such layer"), (["stream=action"], "grid of frames"), (["time=3"], "so far ahead"), (["frames=2"], "too small"),
    (["teacher=fast-wam"], "no teacher for these pictures"), (["evaluation=99"], "not evaluated so often")])
def test_what_is_not_there_is_named(folder, capsys, words, says):
    words = [word.replace("=fast-wam", f"={folder / 'fast-wam'}") for word in words]
    assert run(["diagnose", "features", str(folder / "agra"), "--data", str(folder / "seen"), *FEW, *words]) != 0
    assert says in capsys.readouterr().err


def test_the_episodes_of_the_training_are_refused(folder, capsys):
    assert run(["diagnose", "features", str(folder / "fast-wam"), "--data", str(folder / "plain"), *FEW]) != 0
    assert "trained on" in capsys.readouterr().err
