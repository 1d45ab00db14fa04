"""The page of consistency in a real browser: every figure is drawn in both widths, nothing is asked of the network, no name runs."""

from dataclasses import dataclass

import numpy as np
import pytest

from foreact.acting.consistency import Realised
from foreact.cli.diagnose_consistency import _plain
from foreact.diagnostics.consistency.examination import Frozen, examine
from foreact.diagnostics.consistency.separation import PAPER
from foreact.reporting.consistency import write_consistency_page

EVIL = "<img src=x onerror=window.ran=1>"


@dataclass(frozen=True)
class Episode:
    task: str
    seed: int
    success: bool
    consistency: tuple[Realised, ...]
    call_steps: tuple[int, ...]
    values: tuple[float, ...]
    condition: str = "clean"


def episodes(*, at=99, values=True):
    draw, found = np.random.default_rng(0), []
    for task, gap in ((EVIL, 0.5), ("push", -0.2)):
        for seed in range(12):
            success = seed % 3 != 0
            change = np.where(np.arange(8) < at, 1.0, 0.01) * np.exp(0.2 * draw.normal(size=8))
            far = 0.2 + (0 if success else gap)
            frames = tuple(Realised(step=8 * i, offset=8, distance=float(0.5 * c + far), change=float(c), on_plan=True,
                                    imagined=float(c)) for i, c in enumerate(change))
            found.append(Episode(task, seed, success, frames, tuple(range(0, 64, 8)), tuple(draw.random(8)) if values else ()))
    return found


def found(name, **more):
    told = examine(episodes(values="against" in more), resamples=10, **more)
    if told["against"] is not None:
        told["against"] |= {"name": EVIL, "same_policy": True, "protocols_differ_in": []}
    return {"name": name, "distance": "latent", **told}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    whole = found(EVIL, frozen=[Frozen(name=EVIL, at=32, records=episodes(at=4))], against=episodes(at=5))
    data = _plain({"evaluations": [whole, found("bare")], "paper": PAPER})
    frames = [[(e.success, f.distance, f.change) for e in episodes() for f in e.consistency]] * 2
    grey = np.full((16, 16, 3), 90, np.uint8)
    film = {"task": EVIL, "seed": 3, "since": 32, "moments": [{"step": 8 * i, "seen": grey, "imagined": grey // 2} for i in range(4)]}
    return write_consistency_page(data, frames, tmp_path_factory.mktemp("page") / "page.html", films=[[film], []], written="today")


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_stands_alone_and_shows_every_figure(browser, page, width):
    browser.open(page, width=width)
    assert browser.requests == [page.as_uri()] or all(url.startswith("data:") for url in browser.requests[1:])
    assert browser.evaluate("window.ran === undefined")
    assert browser.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 100)") == [True]
    assert browser.evaluate("document.body.scrollWidth <= window.innerWidth")
    drawn = "[...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().height > 60).map(s => s.ariaLabel)"
    shown = browser.evaluate(drawn)
    of_both = {"z-scores of successes and failures", "ROC of a regression on the score, out of fold",
               "Consistency of successes and failures by task",
               "ROC of the score, task by task", "distance against change", "consistency and change over time",
               "Change by task, aligned and misaligned", "AUC by score, plain and corrected"}
    of_one = {"change of frozen episodes and of successes", "Success less failure over time, of value and of consistency",
              "Difference of the two evaluations over time"}
    assert {label: shown.count(label) for label in set(shown)} == {**dict.fromkeys(of_both, 2), **dict.fromkeys(of_one, 1)}
    paths = browser.evaluate("[...document.querySelectorAll('svg path')].filter(p => /NaN|Infinity/.test(p.getAttribute('d'))).length")
    assert paths == 0
    assert browser.evaluate("[...document.querySelectorAll('table')].every(t => t.rows.length > 0)")
    text = browser.evaluate("document.body.innerText")
    assert "Cosmos-Policy on RoboCasa" in text and "0.76" in text and "0.88" in text and "nan" not in text.lower().split()
