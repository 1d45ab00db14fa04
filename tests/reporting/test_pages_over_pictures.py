"""The pages of attention and grounding in a real browser: every picture is there, nothing is asked of the network, no text runs."""

import numpy as np
import pytest

from foreact.reporting.attention import Shown, write_attention_page
from foreact.reporting.side_by_side import Row, write_side_by_side_page

EVIL = "<img src=x onerror=window.ran=1>"
PICTURE = np.full((16, 16, 3), 90, np.uint8)
MASK = np.zeros((16, 16), bool)
MASK[2:7, 2:7] = True
HEAT = np.arange(16.0).reshape(4, 4) / 120
ONE = {"value": 1.2, "low": 1.0, "high": 1.4, "n": 2}
FIGURES = dict.fromkeys(("ratio", "shuffled", "without_common", "share", "centroid", "moved", "on_stream"), ONE)
NAMING = dict.fromkeys(("named", "unnamed", "shuffled", "without_common", "moved", "centroid"), ONE)


def attention(path):
    row = {"instruction": EVIL, "others": ["slide"], "episode": 1, "frame": 2, "ratio": 1.2, "shuffled": 1.0, "without_common": 0.5,
           "share": 0.1, "centroid": None}
    found = {"run": EVIL, "settings": {"stream": "video"}, "figures": FIGURES, "looks_at": {"video": 0.6, "state": 0.4},
             "by_layer": {"1": FIGURES, "2": FIGURES}, "by_step": {"0": FIGURES}, "by_head": {"0": FIGURES, "1": FIGURES},
             "ratio_by_layer_and_step": [[1.0], [2.0]], "ratio_by_layer_and_head": [[1.0, 0.5], [2.0, 1.5]], "frames": [row, row]}
    shown = Shown(picture=PICTURE, mask=MASK, heats=np.stack([HEAT, HEAT[::-1]]), heads=[HEAT, HEAT])
    return write_attention_page(found, [shown, shown], 2, path)


def grounding(path):
    found = {"instructions": [EVIL, "slide"], "figures": {EVIL: {"attention": NAMING}}, "differences": {}, "scenes": [{"seed": 500_000}]}
    row = Row(name=EVIL, heats={"attention": [HEAT, HEAT[::-1]]}, ratios={"attention": {"named": 1.0, "unnamed": None}})
    return write_side_by_side_page(found, [(PICTURE, [MASK, None], [row])], path)


@pytest.mark.parametrize(("write", "pictures"), [(attention, 4), (grounding, 1)])
def test_a_page_stands_alone(browser, tmp_path, write, pictures):
    page = write(tmp_path / "page.html")
    browser.open(page)
    assert browser.requests[0] == page.as_uri() and all(url.startswith("data:") for url in browser.requests[1:])
    assert browser.evaluate("[...document.images].filter(i => i.complete && i.naturalWidth > 100).length") == pictures
    assert browser.evaluate("window.ran === undefined")
    assert browser.evaluate("document.body.scrollWidth <= window.innerWidth")
