"""The page of accuracy at budget in a real browser: figures in both widths, nothing asked of the network, no name runs."""

import pytest
from budget_findings import NAMES, found

from foreact.reporting.budget import write_budget_page


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_budget_page(found(), tmp_path_factory.mktemp("page") / "budget.html", written="today")


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_stands_alone_and_shows_every_figure(browser, page, width):
    browser.open(page, width=width)
    assert browser.requests == [page.as_uri()] or all(url.startswith("data:") for url in browser.requests[1:])
    assert browser.evaluate("window.ran === undefined")
    assert browser.evaluate("document.body.scrollWidth <= window.innerWidth")
    drawn = "[...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().height > 60).map(s => s.ariaLabel)"
    shown = browser.evaluate(drawn)
    assert sorted(shown) == sorted(["Success against the median latency of one plan", "Success against latency, policy by policy",
                                    "Where the time of one plan goes", "How episodes ended"])
    paths = browser.evaluate("[...document.querySelectorAll('svg path')].filter(p => /NaN|Infinity/.test(p.getAttribute('d'))).length")
    assert paths == 0
    text = browser.evaluate("document.body.innerText")
    assert all(name in text for name in NAMES) and "no-future/own" in text
    assert browser.evaluate("[...document.querySelectorAll('table')].every(t => t.rows.length > 0)")


def test_one_policy_without_a_baseline_has_a_page_too(browser, tmp_path):
    alone = write_budget_page(found(("joint",), charged=False), tmp_path / "alone.html", written="today")
    browser.open(alone)
    text = browser.evaluate("document.body.innerText")
    assert "charge=own" in text and "Nothing was left out." in text
    only = write_budget_page(found(("no-future",)), tmp_path / "only.html", written="today")
    browser.open(only)
    assert browser.evaluate("document.querySelector('#each')") is None
