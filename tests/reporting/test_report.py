"""The page in a real browser: it decodes every film, asks nothing of the network, and runs no text that a dataset holds."""

import re
from dataclasses import replace

import numpy as np
import pytest
from pages import alarming, inputs, policy, recording, returning

from foreact.reporting import ReportInputs, write_report
from foreact.reporting.figures import action_figure, smooth
from foreact.reporting.inputs import Policy
from foreact.reporting.page import json_block
from foreact.reporting.success import headline, paired, success_section, verdict

EVIL = '<script>document.documentElement.dataset.evil="yes"</script><img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report with five films, in which a title, an instruction and a policy's name attack the page."""
    films = (recording(instruction=EVIL), recording(success=False, policy=EVIL, seed=1_000_001), recording(imagines=False),
             recording(seed=1_000_002), recording(cameras=("front",)))
    return write_report(replace(inputs(*films), title=EVIL), tmp_path_factory.mktemp("report") / "report.html")


def test_the_browser_decodes_every_film_and_sends_no_request(report, browser):
    browser.open(report)
    browser.until("Number(document.documentElement.dataset.decoded) === 5")
    assert browser.evaluate("document.documentElement.dataset.failed") == "0"
    assert browser.evaluate("[...document.querySelectorAll('video')].map((v) => v.videoWidth > 0 && v.duration > 1)") == [True] * 5
    assert browser.requests[0] == report.as_uri() and all(url.startswith("data:") for url in browser.requests[1:])


def test_nothing_on_the_page_points_outside(report):
    text = re.sub(r"<a\b[^>]*>", "", report.read_text())
    asked = re.findall(r"""(?:src|href|poster|action|data)\s*=\s*["']([^"']{0,40})""", text)
    assert asked and all(value.startswith(("data:", "#")) for value in asked), asked
    assert not re.findall(r"url\((?!#)[^)]{0,40}\)|@import", text)
    assert "default-src 'none'" in text


def test_text_of_a_dataset_never_runs(report, browser):
    browser.open(report)
    assert browser.evaluate("document.documentElement.dataset.evil") is None
    assert browser.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    assert browser.evaluate("document.querySelector('.instruction').textContent") == f"\u201c{EVIL}\u201d"
    assert "</script>" not in json_block({"task": "</script><script>"})[:-9]


def test_labels_and_markers_follow_the_slider(report, browser):
    browser.open(report)
    seek = "const s = document.querySelector('.film input'); s.value = 7; s.dispatchEvent(new Event('input'));"
    browser.evaluate(f"(() => {{ {seek} }})()")
    browser.until("document.querySelector('.film video').currentTime > 0.7 && !document.querySelector('.film video').seeking")
    # a frame that was on its way when the slider moved may still be presented first
    browser.until("document.querySelector('.film .seen').textContent === 'step 7 of 12'")
    assert browser.evaluate("document.querySelector('.film .when').textContent") == "at step 4 for step 6, held 1"
    assert browser.evaluate("document.querySelector('.film').classList.contains('aligned')") is False
    shift, span = browser.evaluate("""(() => {
        const x = (line) => parseFloat(line.querySelector("path").getAttribute("d").slice(1));
        const now = document.querySelector(".now"), end = document.querySelector(".end");
        return [parseFloat(now.getAttribute("transform").match(/[\\d.]+/)[0]), x(end) - x(now)]; })()""")
    assert shift == pytest.approx(span * 7 / 12, abs=0.1)


def test_the_browser_shows_the_frame_that_the_label_names(report, browser):
    """Grey level 10 t at step t on the left; 10 (t + o) + 3 on the right: read back from the pixels that are on screen."""
    browser.open(report)
    browser.until("Number(document.documentElement.dataset.decoded) === 5")
    # Away from where the film happens to stand: a frame that is there already is not presented again.
    browser.evaluate("""new Promise((done) => {
        const film = document.querySelector(".film"), video = film.querySelector("video"), slider = film.querySelector("input");
        video.addEventListener("seeked", () => { if (video.paused && !video.seeking) done(); });
        slider.value = 2; slider.dispatchEvent(new Event("input")); })""")
    for step, imagined in ((6, 63), (7, 63), (10, 103)):
        levels = browser.evaluate(f"""(async () => {{
            const film = document.querySelector(".film"), video = film.querySelector("video"), slider = film.querySelector("input");
            const fps = JSON.parse(film.querySelector("script").textContent).fps;
            // The page asked first, so at every presented frame it has painted before this looks.
            const presented = new Promise((done) => {{
                const look = (_, meta) => Math.floor(meta.mediaTime * fps + 0.01) === {step} ? done()
                    : video.requestVideoFrameCallback(look);
                video.requestVideoFrameCallback(look); }});
            slider.value = {step}; slider.dispatchEvent(new Event("input"));
            const late = new Promise((_, fail) => setTimeout(() => fail(new Error("the frame was never presented")), 60000));
            await Promise.race([presented, late]);
            const canvas = film.querySelector("canvas"), context = canvas.getContext("2d");
            return [1 / 6, 0.5].map((x) => context.getImageData(x * canvas.width, canvas.height / 4, 1, 1).data[0]); }})()""")
        assert levels == [pytest.approx(10 * step, abs=4), pytest.approx(imagined, abs=4)]


def test_a_rollback_is_told_drawn_and_followed(tmp_path, browser):
    path = write_report(inputs(returning(), returning(restored=False)), tmp_path / "report.html")
    browser.open(path)
    browser.until("Number(document.documentElement.dataset.decoded) === 2")
    hero = "document.querySelector('#hero')"
    said = browser.evaluate(f"{hero}.innerText")
    assert "At step 12 the value had fallen to 0.20, from a peak of 0.60 at step 4: the world was put back to there" in said
    assert "step 4: the peak" in said and "step 12: restored" in said and "value of the plan" in said
    for step, label in ((8, "step 8 of 24, taken back later"), (12, "step 12 of 24")):
        browser.evaluate(f"""(() => {{ const s = document.querySelector('.film input'); s.value = {step};
            s.dispatchEvent(new Event('input')); }})()""")
        # a frame that was on its way when the slider moved may still be presented first
        browser.until(f"{hero}.querySelector('.seen').textContent === {label!r}")
    now = "document.querySelector('#hero .actions .now').getAttribute('transform')"
    assert float(browser.evaluate(now).split("(")[1].split()[0]) > 100  # the marker of the curve moved along
    assert "planned anew" not in said and "drawn anew from where the robot stood" in browser.evaluate("document.body.innerText")
    browser.open(path, width=390, height=800)
    assert browser.evaluate("document.documentElement.scrollWidth") == 390


def test_alarms_stand_on_the_time_axis_above_the_film(tmp_path, browser):
    path = write_report(inputs(alarming(asked=True), recording(success=False)), tmp_path / "report.html")
    browser.open(path)
    browser.until("Number(document.documentElement.dataset.decoded) === 2")
    where = """(() => {
        const box = (name) => document.querySelector(`#hero ${name}`).getBoundingClientRect();
        const x = (one) => one.left + one.width / 2, all = (name) => [...document.querySelectorAll(`#hero .watch ${name}`)];
        const axis = box(".watch .threshold"), slider = box(".film input"), reach = box(".reach");
        const marks = all(".alarm").map((line) => x(line.getBoundingClientRect()));
        return {above: box(".watch").bottom <= box(".screen").top, left: axis.left, width: axis.width, marks,
                steps: all(".alarm").map((line) => Number(line.dataset.step)), names: all(".mark").map((one) => one.textContent),
                slider: [slider.left, slider.width], lines: document.querySelectorAll(".watch").length}; })()"""
    found = browser.evaluate(where)
    assert found["above"] and found["lines"] == 1, "only an episode that was watched has a track"
    assert found["steps"] == [12, 20] and found["names"] == ["mismatch", "collapse"]
    for step, mark in zip(found["steps"], found["marks"], strict=True):
        assert mark == pytest.approx(found["left"] + found["width"] * step / 24, abs=1)
    assert [found["left"] - 8, found["width"] + 16] == pytest.approx(found["slider"], abs=2), "it lies over the slider"
    over = browser.evaluate("""[...document.querySelectorAll('#hero .watch polyline')].map((line) => line.getAttribute('points'))""")
    threshold = float(browser.evaluate("document.querySelector('#hero .threshold').getAttribute('d')").split("H")[0].split()[1])
    above = [[float(pair.split(",")[1]) < threshold for pair in line.split()] for line in over]
    assert above == [[step in (12, 14, 16) for step in range(2, 24, 2)], [step >= 20 for step in range(2, 24, 2)]]
    said = browser.evaluate("document.querySelector('#hero').innerText")
    assert "Alarm at step 12, mismatch: what came was not what had been imagined, 1.4 times the threshold." in said
    assert "The robot asked for help, and the episode ended." in said
    browser.evaluate("(() => { const s = document.querySelector('.film input'); s.value = 12; s.dispatchEvent(new Event('input')); })()")
    browser.until("document.querySelector('#hero .seen').textContent === 'step 12 of 24'")
    moved = "document.querySelector('#hero .watch .now').getBoundingClientRect().left"
    assert browser.evaluate(moved) == pytest.approx(found["marks"][0], abs=2), "the marker of the track is on the step that is shown"
    browser.open(path, width=390, height=800)
    assert browser.evaluate("document.documentElement.scrollWidth") == 390


def test_how_often_episodes_went_back_is_said_where_they_could():
    given = inputs()
    rule = replace(given.protocols[0], fields={"rollback": {"delta": 0.2}})
    episodes = tuple(replace(e, rollbacks=2, undone=5) if e.seed == 1_000_000 else e for e in given.model.episodes)
    told = "4 of 40 did, 8 times in all, of which 4 succeeded. 5 % of all steps were taken back"
    assert told in success_section(replace(given, model=replace(given.model, episodes=episodes), protocols=(rule,)))
    assert "went back" not in success_section(given)


def test_nothing_is_wider_than_a_phone(report, browser):
    browser.open(report, width=390, height=800)
    assert browser.evaluate("document.documentElement.scrollWidth") == 390


def test_dark_is_dark(report, browser):
    colours = []
    for dark in (False, True):
        browser.open(report, dark=dark)
        colours.append(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(246, 245, 242)", "rgb(16, 18, 23)"]
    browser.evaluate("document.querySelector('#theme').click()")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == colours[0]


def test_the_film_is_the_first_thing_on_the_page(report):
    text = report.read_text()
    body = text[text.index("<main"):]
    assert body.index("<video") < body.index("<h1>") < body.index('id="success"')


def test_ids_are_unique_over_all_figures(report):
    ids = re.findall(r'\bid="([^"]+)"', report.read_text())
    assert len(ids) == len(set(ids))


def test_a_run_without_anything_says_what_is_absent(tmp_path, browser):
    path = write_report(ReportInputs(title="bare", model=Policy(name="bare")), tmp_path / "report.html")
    text = path.read_text()
    for words in ("Not yet trained or evaluated", "No episode was recorded", "has not been evaluated", "has logged no losses",
                  "No latency", "names no axes", "no protocol"):
        assert words in text, words
    browser.open(path)
    assert browser.evaluate("document.documentElement.dataset.videos") == "0"


def test_a_run_without_a_baseline_says_nothing_about_the_future(tmp_path):
    text = write_report(replace(inputs(), baseline=None), tmp_path / "report.html").read_text()
    assert "No baseline was evaluated" in text and "without its imagined future" not in text


def test_the_headline_counts_the_first_condition():
    assert headline(inputs()) == ("The robot succeeded in 18 of 20 unseen episodes; without its imagined future, in 10 of 20.")


def test_only_episodes_that_both_ran_are_paired_and_the_verdict_needs_evidence():
    ours, theirs = policy("a", 9), policy("b", 5)
    fewer = replace(theirs, episodes=theirs.episodes[::2])
    assert paired(ours, fewer, "clean").n == 10
    assert "chance could explain" in verdict(paired(policy("a", 6), policy("b", 5), "clean"))
    assert verdict(paired(ours, theirs, "clean")).startswith("With the future better: +40 points")
    assert verdict(paired(theirs, ours, "clean")).startswith("With the future worse: \u221240 points")


def test_a_figure_takes_its_colours_from_the_page_and_keeps_its_text():
    svg = action_figure(recording(), name="x", across=2)
    assert "var(--fig-model)" in svg and ">gripper</text>" in svg and not re.search(r"#[0-9a-f]{6}", svg)
    assert svg.count('class="now"') == svg.count('class="end"') == 4
    assert svg == action_figure(recording(), name="x", across=2)


def test_the_running_mean():
    assert smooth(np.array([1.0, 3.0, 5.0, 7.0]), 2) == pytest.approx([1, 2, 4, 6])


def test_writing_again_replaces_the_page_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    assert write_report(ReportInputs(title="x", model=Policy(name="x")), path) == path
    assert "old" not in path.read_text()[:200] and [p.name for p in tmp_path.iterdir()] == ["report.html"]
