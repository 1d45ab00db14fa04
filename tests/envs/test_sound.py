"""Synthesised contact sound: a strike is heard in its own step and dies away at the rate of its resonances."""

import numpy as np
import pytest

from foreact.envs import sound
from foreact.envs.annotations import Annotations
from foreact.envs.episodes import Expert, record
from foreact.envs.metaworld import MetaWorld
from foreact.envs.sound import FLOOR, Ear, Modes, log_mel, modes_of

RATE, CONTROL, SILENCE = 8000, 80.0, np.float32(np.log(FLOOR))


def ear(frames=8, bands=16):
    return Ear(rate=RATE, control_hz=CONTROL, frames=frames, bands=bands)


def test_a_sine_lies_in_the_band_of_its_frequency_and_noise_has_unit_power_in_all():
    edges = np.linspace(*(2595 * np.log10(1 + f / 700) for f in (100, RATE / 2)), 18)[1:-1]
    time = np.arange(100) / RATE
    for band in (3, 8, 14):
        frequency = 700 * (10 ** (edges[band] / 2595) - 1)
        heard = log_mel(np.sin(2 * np.pi * frequency * time), RATE, 16)
        assert heard.argmax() == band
    assert np.array_equal(log_mel(np.zeros(100), RATE, 16), np.full(16, SILENCE))
    noise = np.random.default_rng(0).normal(size=(4000, 100))
    assert np.exp(log_mel(noise, RATE, 16)).mean(axis=0) == pytest.approx(np.ones(16), rel=0.1)


def test_a_strike_is_heard_in_its_step_alone_and_dies_away_at_the_stated_rate(monkeypatch):
    decay = 0.03
    monkeypatch.setattr(sound, "modes_of", lambda body: Modes(np.array([1600.0]), np.array([decay]), np.array([1.0])))
    listener = ear(frames=6)
    assert (listener.hear({}) == SILENCE).all()
    listener.hear({"button": 20.0})
    for _ in range(4):
        heard = listener.hear({"button": 20.0})  # held at the same force it is not struck again
    assert (heard[0] == SILENCE).all()
    energy = (np.exp(heard.astype(np.float64)) - FLOOR).sum(axis=1)
    assert energy[1] > 0.1
    # 1600 Hz is twenty whole cycles a step, so frames after the strike differ by the decay alone: exp(-2 T / tau)
    ratio = energy[3:] / energy[2:-1]
    assert ratio == pytest.approx(np.exp(-2 / (CONTROL * decay)), rel=0.01)


def test_twice_the_force_is_four_times_the_energy_and_letting_go_is_silent():
    one, two, loose = ear(), ear(), ear()
    soft, hard = (np.exp(e.hear({"door": force})[-1].astype(np.float64)) - FLOOR for e, force in ((one, 5.0), (two, 10.0)))
    assert hard.sum() == pytest.approx(4 * soft.sum(), rel=1e-3)
    assert not loose.step({}).any()
    struck, held = ear(), ear()
    struck.step({"door": 5.0})
    held.step({"door": 5.0})
    assert np.array_equal(struck.step({}), held.step({"door": 5.0}))


def test_a_thing_sounds_the_same_every_time_and_another_thing_otherwise():
    assert np.array_equal(ear().step({"door": 5.0}), ear().step({"door": 5.0}))
    assert not np.allclose(modes_of("door").frequency, modes_of("drawer").frequency)
    modes = modes_of("door")
    assert (modes.frequency >= 300).all() and (modes.frequency <= 3000).all() and (modes.decay >= 0.02).all()


def test_an_episode_is_silent_until_the_hand_touches_and_then_is_not():
    env = MetaWorld.Config(task="button-press-topdown", size=32).build()
    wanted = Annotations(contacts=True, audio=True)
    notes = record(env, 3, Expert(noisy_fraction=0.0), wanted).contacts
    env.close()
    assert notes["audio"].shape == (len(notes["contacts"]), 8, 16) and notes["audio"].dtype == np.float32
    first = int(np.flatnonzero(notes["contacts"][:, 1] > 0)[0])
    assert (notes["audio"][:first] == SILENCE).all()
    assert notes["audio"][first, -1].max() > SILENCE + 1
    # each row holds the last eight steps
    assert np.array_equal(notes["audio"][first + 3, -4], notes["audio"][first, -1])
