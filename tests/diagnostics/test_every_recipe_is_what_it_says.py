"""Every recipe, trained for a moment on real demonstrations: no check of `foreact verify` fails."""

import pytest

from foreact.cli.verify import demonstrations, verify_recipe
from foreact.data.lerobot import Dataset
from foreact.recipes import catalogue


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Recorded once for all processes of the test run."""
    folder = tmp_path_factory.getbasetemp().parent / "demonstrations"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOREACT_CACHE", str(folder))
        yield Dataset.open(demonstrations())


@pytest.mark.parametrize("name", catalogue.names())
def test_no_check_fails(name, data):
    verdict = verify_recipe(catalogue.recipe(name), data, steps=16)
    assert {check.name: check.says for check in verdict.checks if check.holds is False} == {}
    assert next(check for check in verdict.checks if check.name == "gate").holds is True
