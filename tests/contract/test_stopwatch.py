"""Laps nest, belong to one thread, and add up to what passed."""

import threading

import pytest

from foreact.contract.stopwatch import ACTION, FUTURE, PREPROCESSING, SELECTION, Stopwatch, lap


class Clock:
    """A second passes at every look."""

    now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def test_every_instant_belongs_to_the_innermost_lap():
    clock = Clock()
    with Stopwatch(PREPROCESSING, clock=clock) as watch:
        with lap(SELECTION):
            with lap(FUTURE):
                pass
            with lap(FUTURE):
                pass
        with lap(ACTION):
            pass
    assert watch.ms == {FUTURE: 2000.0, SELECTION: 3000.0, ACTION: 1000.0, PREPROCESSING: 3000.0}
    assert watch.total_ms == 1000.0 * (clock.now - 1)


def test_a_lap_may_be_named_before_it_ends_and_what_fails_is_timed():
    with Stopwatch(PREPROCESSING, clock=Clock()) as watch:
        with lap(FUTURE) as work:
            work.name = ACTION
        with pytest.raises(ValueError), lap(FUTURE):
            raise ValueError
    assert set(watch.ms) == {PREPROCESSING, ACTION, FUTURE}


def test_without_a_watch_and_in_other_threads_nothing_is_told():
    with lap(FUTURE) as work:
        assert work.seconds == 0.0

    def elsewhere():
        with lap(FUTURE):
            pass

    with Stopwatch(PREPROCESSING, clock=Clock()) as watch:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert set(watch.ms) == {PREPROCESSING}


def test_a_device_is_waited_for_at_every_boundary():
    waits = []
    with Stopwatch(PREPROCESSING, settle=lambda: waits.append(1)), lap(FUTURE):
        pass
    assert len(waits) == 4
