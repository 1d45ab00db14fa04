"""The sound of contact, synthesised: a simulator of rigid bodies makes none, so what is heard here is made from its forces.

Every object rings in a few damped resonances, a_k exp(-t/tau_k) sin(2 pi f_k t), which the name of its body chooses, so that a
thing sounds the same in every episode. When the normal force F of the hand on it has grown over a control step, it is struck with
strength (F_t - F_{t-1}) / 10 N, in the middle of that step, since when within the step is not known. There is no room, no noise, no
sound of sliding and none of the motors: it says when and what was struck and how hard, and is no recording of anything.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FLOOR", "Ear", "Modes", "log_mel", "modes_of"]

FLOOR = 1e-6
"""Energy below which nothing is heard; silence is log(FLOOR) in every band."""
_FULL_FORCE = 10.0
_LOWEST_HZ = 100.0


@dataclass(frozen=True)
class Modes:
    """Resonances of one object: frequencies in Hz, decay times tau in s, amplitudes at a strike of full force."""

    frequency: NDArray[np.float64]
    decay: NDArray[np.float64]
    amplitude: NDArray[np.float64]


def modes_of(body: str, count: int = 4) -> Modes:
    """The resonances that a body's name stands for: 300 to 3000 Hz, tau from 20 to 80 ms, higher ones weaker."""
    draw = np.random.Generator(np.random.PCG64(zlib.crc32(body.encode())))
    frequency = np.sort(np.exp(draw.uniform(np.log(300.0), np.log(3000.0), count)))
    return Modes(frequency, draw.uniform(0.02, 0.08, count), 1.0 / np.arange(1, count + 1))


def log_mel(samples: NDArray[np.float64], rate: int, bands: int) -> NDArray[np.float32]:
    """(..., samples) -> (..., bands): log of FLOOR plus the mean power under triangles evenly spaced in mel, after a Hann window.

    mel(f) = 2595 log10(1 + f/700) (O'Shaughnessy, 1987), from 100 Hz to half of `rate`. The window's energy is divided out, so
    white noise of unit variance has a power of about 1 in every band.
    """
    length = samples.shape[-1]
    window = np.hanning(length + 1)[:-1]  # periodic
    padded = 4 * length  # narrow triangles need a finer grid of frequencies than the frame gives
    power = np.abs(np.fft.rfft(samples * window, padded)) ** 2 / np.square(window).sum()
    edges = np.linspace(_mel(_LOWEST_HZ), _mel(rate / 2), bands + 2)
    place = _mel(np.fft.rfftfreq(padded, 1 / rate))
    step = edges[1] - edges[0]
    triangles = np.clip(1 - np.abs(place[None] - edges[1:-1, None]) / step, 0, None)
    triangles /= triangles.sum(axis=1, keepdims=True)
    return np.log(power @ triangles.T + FLOOR).astype(np.float32)


def _mel(hertz: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)


class Ear:
    """Hears one episode. rate: samples per second; control_hz: steps per second; frames: steps that are remembered."""

    def __init__(self, *, rate: int, control_hz: float, frames: int, bands: int) -> None:
        self._rate, self._length, self._bands = rate, round(rate / control_hz), bands
        self._heard = deque([np.full(bands, np.log(FLOOR), np.float32)] * frames, maxlen=frames)
        self._force: dict[str, float] = {}
        self._ringing: dict[str, NDArray[np.complex128]] = {}

    def hear(self, forces: Mapping[str, float]) -> NDArray[np.float32]:
        """Normal forces in N by body at the end of a control step -> (frames, bands) of the last steps, oldest first."""
        self._heard.append(log_mel(self.step(forces), self._rate, self._bands))
        return np.stack(self._heard)

    def step(self, forces: Mapping[str, float]) -> NDArray[np.float64]:
        """The samples of the control step at whose end the forces are these."""
        sound, middle = np.zeros(self._length), self._length // 2
        for body in sorted(set(forces) | set(self._ringing)):
            modes = modes_of(body)
            per_sample = np.exp((-1 / modes.decay + 2j * np.pi * modes.frequency) / self._rate)
            state = self._ringing.get(body, np.zeros(len(per_sample), np.complex128))
            powers = per_sample ** np.arange(self._length + 1)[:, None]
            strike = max(forces.get(body, 0.0) - self._force.get(body, 0.0), 0.0) / _FULL_FORCE * modes.amplitude
            sound += (state * powers[:-1]).imag.sum(axis=1)
            sound[middle:] += (strike * powers[: self._length - middle]).imag.sum(axis=1)
            self._ringing[body] = state * powers[-1] + strike * powers[self._length - middle]
        self._force = dict(forces)
        return sound
