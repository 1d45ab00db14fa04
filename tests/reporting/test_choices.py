"""What was chosen among stands near the film, from an evaluation's recordings to the page."""

from dataclasses import replace

import pages
import pytest

from foreact.evaluation.recording import RecordingMeta
from foreact.evaluation.selecting import Choice as Told
from foreact.reporting.choices import choice_figure, choices_in_words
from foreact.reporting.inputs import Choice
from foreact.reporting.report import write_report
from foreact.reporting.runs import read_recording


@pytest.fixture
def chosen():
    made = pages.recording()
    scores = ((0.9, 0.7, 0.8), (0.5, 0.6, 0.55), (0.3, 0.3, 0.4))
    found = zip(made.calls[:3], scores, strict=True)
    return replace(made, choices=tuple(Choice(step=call.step, chosen=s.index(max(s)), scores=s) for call, s in found))


def test_the_page_tells_how_often_another_than_the_first_was_taken_and_draws_every_candidate(chosen, tmp_path):
    said = f"3 of {len(chosen.calls)} plans were chosen among 3 candidates; in 2 of them another than the first was taken."
    assert choices_in_words(chosen) == said and said in choice_figure(chosen, name="x")
    page = write_report(pages.inputs(chosen), tmp_path / "page.html").read_text()
    assert "Which of its plans were taken" in page and said in page


def test_where_nothing_was_chosen_nothing_is_shown(tmp_path):
    plain = pages.recording()
    assert choice_figure(plain, name="x") == choices_in_words(plain) == ""
    assert "Which of its plans were taken" not in write_report(pages.inputs(plain), tmp_path / "page.html").read_text()


def test_recordings_carry_the_choices_and_older_ones_have_none(tmp_path):
    import numpy as np

    from foreact.evaluation.recording import Recording

    meta = RecordingMeta(task="drawer-open", condition="clean", seed=1, success=True, instruction="open", rate_hz=20.0, cameras=("scene",),
                         state_names=("x",), action_names=("dx",), action_low=(-1.0,), action_high=(1.0,), policy="joint",
                         choices=(Told(call=0, step=0, chosen=1, scores=(0.1, 0.2), spread=0.3),))
    made = Recording(meta=meta, frames={"scene": np.zeros((3, 3, 4, 4), np.uint8)}, state=np.zeros((3, 1), np.float32),
                     actions=np.zeros((2, 1), np.float32), success=np.zeros(2, bool), call_steps=np.zeros(1, np.int64),
                     call_ms=np.zeros(1), plans=np.zeros((1, 2, 1), np.float32), offsets=np.zeros(0, np.int64))
    path = made.save(tmp_path)
    assert Recording.load(path).meta == meta
    assert read_recording(path).choices == (Choice(step=0, chosen=1, scores=(0.1, 0.2)),)
