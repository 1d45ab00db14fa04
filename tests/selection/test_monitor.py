"""The monitor: what it expects of successes, the stated rate of false alarms, when it rises, and what it refuses."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from foreact.contract.errors import ConfigError, DatasetError
from foreact.selection.calibration_file import read_calibration, write_calibration
from foreact.selection.monitor import Calibration, Expected, Monitor, calibrate, due, needed, stalled, surprise

KNOWN = {"policy": "one", "distance": "latent"}


@dataclass(frozen=True)
class Seen:
    """A frame as an evaluation keeps it."""

    step: int
    offset: int
    distance: float
    change: float
    imagined: float | None = 1.0
    motion: float | None = 0.5


def episodes(count, seed=0, *, frames=8, drift=0.0):
    """log d = 0.3 + 0.5 log c + 0.2 e + drift, plans every 8 steps for 8 and 16 ahead."""
    rng = np.random.default_rng(seed)

    def frame(step, offset):
        change = np.exp(rng.normal(0, 1))
        return Seen(step, offset, float(np.exp(0.3 + 0.5 * np.log(change) + 0.2 * rng.normal() + drift)), float(change),
                    float(change * np.exp(0.1 * rng.normal())), float(rng.uniform(0.2, 1)))

    return [(index, [frame(8 * step, offset) for step in range(frames) for offset in (8, 16)]) for index in range(count)]


def alarms(calibration, frames):
    monitor = Monitor(calibration)
    for step, group in due(frames):
        monitor.see(step, group)
    return monitor.alarms


def test_the_expectation_is_the_line_that_made_the_frames():
    known = calibrate(episodes(200), **KNOWN)
    assert [one.offset for one in known.expected] == [8, 16] and (known.fitted, known.held_out) == (100, 100)
    for one in known.expected:
        assert (one.base, one.slope, one.spread) == pytest.approx((0.3, 0.5, 0.2), abs=0.03)


def test_what_moves_fast_may_be_imagined_worse():
    known = calibrate(episodes(200), **KNOWN)
    expected, far = known.expected[0], float(np.exp(0.3 + 0.5 * 2))
    assert surprise(Seen(0, 8, far, float(np.exp(2.0))), expected, known.floor) == pytest.approx(0, abs=0.5)
    assert surprise(Seen(0, 8, far, 1.0), expected, known.floor) == pytest.approx(5, abs=0.6)
    beyond = [surprise(Seen(0, 8, 1e4, change), expected, known.floor) for change in (1e3, 1e5)]
    assert beyond[0] == beyond[1] > 10, "more change than was ever seen excuses nothing"


def test_a_fresh_success_raises_an_alarm_at_the_stated_rate():
    """Over many calibrations the mean is what split conformal prediction promises: floor((n + 1) rate) / (n + 1), of n held out."""
    found = []
    for trial in range(30):
        known = calibrate(episodes(38, 2 * trial, frames=6), **KNOWN, rate=0.25, slack=0.2)
        found += [bool(alarms(known, frames)) for _, frames in episodes(20, 2 * trial + 1, frames=6)]
    exact = 5 / 20
    assert np.mean(found) == pytest.approx(exact, abs=3 * np.sqrt(exact * (1 - exact) * (1 / 20 + 1 / 19) / 30))


def test_drift_raises_it_soon_and_once():
    known = calibrate(episodes(200), **KNOWN)
    quiet, loud = episodes(1, 7)[0][1], episodes(1, 8, drift=1.5)[0][1]
    both = [*[one for one in quiet if one.step + one.offset <= 32], *[replace(one, step=one.step) for one in loud
                                                                       if one.step + one.offset > 32]]
    (raised,) = alarms(known, both)
    assert raised.kind == "mismatch" and 32 < raised.step <= 32 + 16 and raised.score > 1
    assert not alarms(known, quiet)


def test_after_it_fell_back_it_can_rise_again_and_a_restart_is_a_fresh_beginning():
    known = calibrate(episodes(200), **KNOWN)
    bad, good = Seen(0, 8, 20.0, 1.0), Seen(0, 8, 0.05, 1.0)
    monitor, heard = Monitor(known), []
    for step, frame in enumerate([bad] * 3 + [good] * 9 + [bad] * 3):
        heard.append(bool(monitor.see(step, [frame])))
    assert sum(heard) == len(monitor.alarms) == 2 and heard[0] and heard[12]
    monitor.restart()
    assert monitor.see(99, [good]) == () and monitor.scores[-1].mismatch == 0 and len(monitor.alarms) == 2
    assert monitor.see(100, []) == () and len(monitor.scores) == 16, "nothing came due, nothing is said"


def test_a_world_that_stands_still_as_imagined_though_motion_is_commanded_is_a_collapse():
    known = calibrate(episodes(200), **KNOWN)
    still = Seen(0, 8, 0.02, 1e-3, imagined=1e-3, motion=0.8)
    assert stalled(still, known.expected[0])
    for changed in ({"change": 1.0}, {"imagined": 1.0}, {"motion": 0.0}):
        assert not stalled(replace(still, **changed), known.expected[0])
    raised = alarms(known, [replace(still, step=8 * step) for step in range(20)])
    assert [one.kind for one in raised] == ["collapse"] and raised[0].step <= 8 * 6
    assert not alarms(known, [replace(still, step=8 * step, motion=0.0) for step in range(20)]), "a robot at rest is no collapse"


def test_how_many_successes_a_rate_needs():
    assert [needed(rate) for rate in (0.05, 0.1, 0.2, 0.5)] == [19, 9, 4, 1]
    assert calibrate(episodes(38), **KNOWN).held_out == 19
    with pytest.raises(DatasetError, match=r"too few successful episodes(.|\n)*37 in which(.|\n)*38 or more for a rate of 0.05"):
        calibrate(episodes(37), **KNOWN)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        calibrate(episodes(40), **KNOWN, rate=1.0)
    with pytest.raises(DatasetError, match="an earlier version"):
        calibrate([(seed, [replace(one, motion=None) for one in frames]) for seed, frames in episodes(40)], **KNOWN)


def test_a_calibration_is_kept_and_belongs_to_one_policy_and_one_distance(tmp_path):
    known = calibrate(episodes(40), **KNOWN)
    write_calibration(known, tmp_path / "monitor.json")
    assert read_calibration(tmp_path / "monitor.json") == known
    assert replace(known, mismatch=9.0).fingerprint != known.fingerprint == read_calibration(tmp_path / "monitor.json").fingerprint
    known.require_for("one", "latent", where="here")
    with pytest.raises(ConfigError, match="another policy"):
        known.require_for("two", "latent", where="here")
    with pytest.raises(ConfigError, match="another distance"):
        known.require_for("one", "pixel", where="here")
    (tmp_path / "other.json").write_text("{}")
    for name in ("other.json", "absent.json"):
        with pytest.raises(DatasetError, match="no calibration"):
            read_calibration(tmp_path / name)


def test_by_hand():
    """One offset, an expectation of log d = log c, deviation 1/2, slack 1: the sum of what surprise exceeds it by, over 4."""
    one = Expected(offset=8, base=0.0, slope=1.0, spread=0.5, low=-2.0, high=2.0, still=0.1, imagined_still=0.1, moving=0.1)
    known = Calibration(**KNOWN, rate=0.05, fitted=1, held_out=19, seeds=(0,), expected=(one,), floor=1e-3, slack=1.0, mismatch=4.0,
                        collapse=2.0)
    monitor = Monitor(known)
    for step, log_d in ((8, 1.0), (16, 0.0), (24, 2.0), (32, 2.0)):  # z: 2, 0, 4, 4; the sum: 1, 0, 3, 6
        monitor.see(step, [Seen(step - 8, 8, float(np.exp(log_d)), 1.0)])
    assert [score.mismatch for score in monitor.scores] == pytest.approx([0.25, 0, 0.75, 1.5])
    assert [(alarm.step, alarm.kind) for alarm in monitor.alarms] == [(32, "mismatch")] and monitor.alarms[0].score == pytest.approx(1.5)
