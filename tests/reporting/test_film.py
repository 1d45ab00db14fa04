"""Alignment and encoding: what stands beside the real frame of step t was imagined for step t, and every browser plays it."""

import io
import re

import av
import numpy as np
import pytest
from pages import alarming, recording, returning

from foreact.contract.errors import SpecError
from foreact.reporting.film import GAP, PANEL_HEIGHT, difference_image, encode_mp4, film, frames_per_second, schedule
from foreact.reporting.inputs import Call, Recording
from foreact.reporting.player import stills
from foreact.reporting.value_curve import STRIP_HEIGHT, Strip, pieces, span


def decoded(mp4: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(mp4)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_the_newest_prediction_that_is_due_is_shown():
    shown = schedule(recording(steps=12))
    # calls at 0, 4, 8 with offsets 2, 4: nothing, then each target from its own step on, of equal targets the latest call
    expected = [None, None, (0, 2), (0, 2), (0, 4), (0, 4), (4, 6), (4, 6), (4, 8), (4, 8), (8, 10), (8, 10), (8, 12)]
    assert [s and (s.made, s.target) for s in shown] == expected


def test_a_nearer_prediction_for_the_same_step_wins():
    base = recording(steps=8)
    image = np.zeros((1, 16, 20, 3), np.uint8)
    calls = tuple(Call(step=step, actions=np.zeros((4, 2)), offsets=(offset,), imagined={"front": image})
                  for step, offset in ((0, 6), (4, 2)))
    shown = schedule(Recording(**{**vars(base), "frames": {"front": base.frames["front"]}, "calls": calls}))
    assert [s and s.made for s in shown] == [None] * 6 + [4] * 3


def test_real_and_imagined_are_of_one_moment_in_every_frame_of_the_film():
    made = film(recording(steps=12))
    frames = decoded(made.mp4)
    assert len(frames) == 13 and frames[0].shape == (made.height, made.width, 3)
    width = (made.width - 2 * GAP) // 3
    for step, (frame, shown) in enumerate(zip(frames, made.shown, strict=True)):
        for row in range(2):
            y = row * (PANEL_HEIGHT + GAP) + PANEL_HEIGHT // 2
            assert frame[y, width // 2].mean() == pytest.approx(10 * step, abs=3)
            if shown is not None:
                assert frame[y, width + GAP + width // 2].mean() == pytest.approx(10 * shown.target + 3, abs=3)
    assert made.mean_difference == {(s.made, s.target): pytest.approx(3.0) for s in made.shown if s}


def test_the_film_is_h264_in_yuv420p_with_stated_colours():
    red = np.zeros((64, 64, 3), np.uint8) + np.array([200, 30, 30], np.uint8)
    mp4 = encode_mp4([red] * 5, fps=10)
    with av.open(io.BytesIO(mp4)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt, int(stream.average_rate)) == ("h264", "yuv420p", 10)
        assert int(stream.codec_context.colorspace) == 1
    assert decoded(mp4)[2].reshape(-1, 3).mean(0) == pytest.approx([200, 30, 30], abs=4)


def test_a_policy_without_a_future_shows_its_cameras_side_by_side():
    made = film(recording(imagines=False))
    assert (made.columns, made.rows, made.mean_difference) == (2, 1, {})
    assert all(shown is None for shown in made.shown)


def test_odd_sizes_and_cameras_of_different_shape_are_encoded():
    base = recording(steps=4, imagines=False)
    frames = {"wide": np.zeros((5, 30, 71, 3), np.uint8), "small": np.zeros((5, 17, 13, 3), np.uint8)}
    made = film(Recording(**{**vars(base), "frames": frames}))
    assert len(decoded(made.mp4)) == 5 and made.width % 2 == 0 and made.height % 2 == 0


def test_the_difference_is_absolute_and_in_steps_of_255():
    low, high = np.full((4, 4, 3), 50, np.uint8), np.full((4, 4, 3), 90, np.uint8)
    for a, b in ((low, high), (high, low)):
        heat, mean = difference_image(a, b)
        assert mean == pytest.approx(40.0) and heat.shape == (4, 4, 3)


def test_films_last_about_twelve_seconds_within_10_and_30_frames_a_second():
    assert [frames_per_second(length) for length in (30, 240, 5000)] == [10, 20, 30]


def test_a_recording_that_does_not_fit_together_is_refused():
    base = recording()
    with pytest.raises(SpecError, match="offsets or cameras"):
        Recording(**{**vars(base), "calls": (Call(step=0, actions=np.zeros((8, 2)), offsets=(2,), imagined=base.calls[0].imagined),)})
    with pytest.raises(SpecError, match="name per action"):
        Recording(**{**vars(base), "executed": np.zeros((12, 3))})
    with pytest.raises(SpecError, match="equally many frames"):
        Recording(**{**vars(base), "frames": {}})


def test_stills_show_steps_at_which_the_same_predictions_fell_due():
    # calls every 4 with offsets 2 and 4: no step has both, so one kind is shown, with its reach
    html = stills(recording(steps=12))
    assert ("imagined 2 steps before" in html) != ("imagined 4 steps before" in html)
    assert [int(step) for step in re.findall(r"step (\d+)<", html)] == [4, 8, 12]
    assert stills(recording(imagines=False)) == ""


# --- rollbacks --------------------------------------------------------------------------------------------------------

def test_nothing_imagined_for_a_path_that_was_left_is_shown():
    """The call at step 8 imagined steps 10 and 12; at 12 the world was put back, and the discarded call's frames never stood."""
    pairs = [s and (s.call, s.target) for s in schedule(returning())]
    assert pairs[10:18] == [(2, 10), (2, 10), None, None, (4, 14), (4, 14), (4, 16), (4, 16)]
    assert [s and (s.call, s.target) for s in schedule(returning(restored=False))][12:15] == [(2, 12), (2, 12), (4, 14)]
    assert re.findall(r"step (\d+)<", stills(returning())) == [f"{t}" for t in (2, 6, 10, 14, 18, 22)]


def border(frame):
    """The colour at the left edge of the first panel."""
    return frame[PANEL_HEIGHT // 2, 1].astype(int)


def test_what_was_taken_back_is_in_the_film_and_marked():
    made = film(returning())
    frames = decoded(made.mp4)
    assert len(frames) == 25 and made.height == 2 * (PANEL_HEIGHT + GAP) + STRIP_HEIGHT
    for step, frame in enumerate(frames):
        red, green, blue = border(frame)
        if 4 < step < 12:
            assert red > green + 60 and red > blue + 60, step
        elif 12 <= step < 22:
            assert green > red + 60, step
        else:
            assert max(red, green, blue) - min(red, green, blue) < 12, step
    centre = PANEL_HEIGHT // 2, (made.width - 2 * GAP) // 6
    assert frames[12][centre].mean() == pytest.approx(frames[0][centre].mean() + 40, abs=4)  # restored: the level of step 4
    assert frames[11][centre].mean() == pytest.approx(105, abs=8)  # level 110, greyed


def test_where_the_world_stayed_nothing_is_taken_back():
    frames = decoded(film(returning(restored=False)).mp4)
    assert [border(f)[1] > border(f)[0] + 60 for f in frames] == [12 <= step < 22 for step in range(25)]


def test_an_alarm_frames_the_picture_for_a_while():
    frames = decoded(film(alarming()).mp4)
    assert [border(f)[0] > border(f)[1] + 60 for f in frames] == [step >= 12 for step in range(25)]


def test_the_strip_shows_the_past_and_dims_what_is_to_come():
    strip = Strip(returning(), 481)
    x = 20 * 12
    assert all((strip.at(step)[:, x - 100] != strip.at(24)[:, x - 100]).any() == (step < 7) for step in (0, 5, 8, 24))
    shaded = strip.at(24)[5, [20 * 3, 20 * 6, 20 * 11, 20 * 16]].astype(int)
    assert [red > blue for red, _, blue in shaded] == [False, True, True, False]


def test_a_curve_is_cut_where_the_answer_begins():
    assert pieces(returning()) == [[(0, 0.4), (4, 0.6), (8, 0.5), (12, 0.2)], [(12, 0.55), (16, 0.65), (20, 0.8)]]
    low, high = span(returning())
    assert low < 0.2 and high > 0.8 and high - low < 0.7
    assert film(recording()).height == 2 * PANEL_HEIGHT + GAP  # a model without a value has no strip
