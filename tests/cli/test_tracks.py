"""Tracks: jobs of one name side by side are told apart, and what is done is not done again."""

from foreact.cli.children import Children
from foreact.cli.tracks import Job, run_tracks


def _job(folder):
    return Job("saying the version", ["--version"], folder / "said", folder / "log", tells=True)


def test_jobs_that_share_a_name_are_each_run_once_and_settled(tmp_path):
    jobs = [_job(tmp_path / name) for name in ("one", "other")]
    with Children() as children:
        run_tracks(children, [[job] for job in jobs], workers=2)
    assert all(job.done.read_text().startswith("foreact") for job in jobs)
    before = [job.done.stat().st_mtime_ns for job in jobs]
    with Children() as children:
        run_tracks(children, [[job] for job in jobs], workers=2)
    assert before == [job.done.stat().st_mtime_ns for job in jobs]
