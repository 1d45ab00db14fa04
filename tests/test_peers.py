"""The benchmark beside other projects: turns, ratios and errors, with contestants made here, and foreact's own at a small size."""

import math
import sys
from pathlib import Path

import pytest
from benchmarks.peers.__main__ import main
from benchmarks.peers.contestants import Contestant, Entry, alternate, compared
from benchmarks.peers.policy import SIZE, summary

ROOT = Path(__file__).parents[1]
WORKER = """
import sys
sys.path.insert(0, {workers!r})
from wire import serve

def build(case, size):
    if case == "broken":
        raise ValueError("no such case")
    if case == "gone":
        raise SystemExit
    print("what a library says")  # must not stand between the answers
    def work():
        sum(range(size["work"] * (2 if case == "twice" else 1)))
    return work, {{"parameters": size["work"]}}

serve(build)
"""


@pytest.fixture
def contestant(tmp_path):
    """Of a project made for this."""
    (tmp_path / "made.py").write_text(WORKER.format(workers=str(ROOT / "benchmarks" / "peers" / "workers")))
    with Contestant(str(tmp_path / "made"), Path(sys.executable), threads=1, log=tmp_path / "log") as made:
        yield made


def test_turns_are_timed_and_compared_round_by_round(contestant):
    entries = [Entry("made", "once", contestant), Entry("made", "twice", contestant)]
    found = alternate(entries, {"work": 200_000}, rounds=5, seconds=0.02)
    assert [len(one["cpu"]) for one in found.values()] == [5, 5]
    assert all(one["parameters"] == 200_000 for one in found.values())
    (row,) = compared(found, [("made, once", "made, twice", 0.5)])
    assert row["median"] == pytest.approx(0.5, abs=0.2)
    assert row["least"] <= row["median"] <= row["greatest"] and row["aim"] == "aim at most 0.5"
    (rate,) = compared(found, [("made, once", "made, twice", 3)], rates=True)
    assert rate["median"] == pytest.approx(1 / row["median"], rel=0.02) and rate["aim"] == "aim at least 3"


@pytest.mark.parametrize(("case", "said"), [("broken", "ValueError: no such case"), ("gone", "the process ended")])
def test_what_goes_wrong_there_is_said_here(contestant, case, said):
    with pytest.raises(RuntimeError, match=said):
        contestant.ask(do="build", case=case, size={"work": 1})


@pytest.mark.parametrize("case", ["joint", "one way", "action-only"])
def test_our_own_call_is_what_the_size_says(tmp_path, case):
    small = {**SIZE, "layers": 1, "text_tokens": 8, "steps": 2}
    with Contestant("policy_foreact", Path(sys.executable), threads=1, path=(ROOT, ROOT / "src"), log=tmp_path / "log") as ours:
        built = [ours.ask(do="build", case=case + more, size=small) for more in ("", " products")]
        times = {more: ours.ask(do="time", case=case + more, seconds=0.02) for more in ("", " products")}
    assert built[0]["parameters"] == built[1]["parameters"] > 1e6 and built[1]["products"] > 20
    assert all(time["calls"] >= 1 and 0 < time["cpu"] < math.inf for time in times.values())
    assert times[""]["cpu"] > times[" products"]["cpu"], "a call does more than its products"


def test_the_table_has_a_row_for_each_and_every_ratio_that_is_aimed_at():
    names = ["foreact, joint", "openwam 0.2.0, joint", "LeRobot 0.6.1 FastWAM core, joint", "foreact, action-only",
             "LeRobot 0.6.1 FastWAM core, action-only", "foreact, joint products", "foreact, joint products in cache",
             "foreact, action-only products"]
    told = summary({name: {"parameters": 1, "cpu": [0.1 * (i + 1)] * 3, "wall": [0.1] * 3} for i, name in enumerate(names)})
    assert [row["who"] for row in told["calls"]] == names and told["calls"][1]["cpu_ms"] == pytest.approx(200)
    assert told["ratios"][0] == {"what": "foreact, joint : openwam 0.2.0, joint", "median": 0.5, "least": 0.5, "greatest": 0.5,
                                 "aim": "aim at most 0.33"}


def test_an_unknown_part_and_lacking_environments_are_refused(tmp_path, capsys):
    for words, said in ((["polcy"], "policy"), (["policy", "--envs", str(tmp_path)], "no environment for openwam, fastwam")):
        with pytest.raises(SystemExit):
            main(words)
        assert said in capsys.readouterr().err
