"""One tree of errors, each with what, where, found, accepted and a next step."""

import inspect

from foreact.contract import errors
from foreact.contract.errors import ConfigError, ForeactError, MissingExtraError, nearest


def test_every_error_hangs_on_the_one_tree():
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, Exception)]
    assert len(classes) > 5
    assert all(issubclass(c, ForeactError) for c in classes)
    assert {c.exit_code for c in classes} == {1, 2}


def test_a_message_holds_all_five_parts():
    text = str(ConfigError("no such key", where="model.x", found="x", accepted="y, z", next_step="did you mean 'y'?"))
    assert text.splitlines() == ["model.x: no such key", "  found:    x", "  accepted: y, z", "  next:     did you mean 'y'?"]


def test_a_missing_package_names_its_extra():
    assert 'pip install "foreact[ray]"' in str(MissingExtraError("ray", "ray", "spreading over machines"))


def test_nearest_falls_back_to_the_whole_list():
    assert nearest("horzon", ["horizon", "steps"]) == "did you mean 'horizon'?"
    assert nearest("zzz", ["horizon", "steps"]) == "one of: horizon, steps"
