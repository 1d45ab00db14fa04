"""What a person types: options, settings, help, misspellings, exit codes, and JSON for machines."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from foreact import __version__
from foreact.cli.main import COMMANDS, run
from foreact.cli.parsing import Parser, parse
from foreact.contract.errors import ConfigError


@pytest.fixture
def parser():
    parser = Parser("try", "a command", "")
    parser.add_argument("recipe")
    parser.add_argument("--out")
    parser.add_argument("--log", nargs="+", default=[])
    parser.add_argument("--resume", action="store_true")
    return parser


@pytest.mark.parametrize("words", [
    ["joint", "model.coupling.horizon=8", "--out", "x"],
    ["joint", "--model.coupling.horizon=8", "--out=x"],
    ["--out", "x", "--model.coupling.horizon", "8", "joint"],
    ["joint", "--out", "x", "model.coupling.horizon=8"],
])
def test_a_setting_may_be_written_in_four_ways(parser, words):
    options, settings = parse(parser, words, settings=True)
    assert settings == ["model.coupling.horizon=8"]
    assert (options.recipe, options.out) == ("joint", "x")


def test_settings_keep_their_order_and_option_values_are_no_settings(parser):
    options, settings = parse(parser, ["a.b=1", "joint", "--out", "x=y", "a.c=2", "size=3"], settings=True, keys=("size",))
    assert settings == ["a.b=1", "a.c=2", "size=3"]
    assert options.out == "x=y"


@pytest.mark.parametrize("word", ["--train-seconds=3", "--train_seconds=3", "train_seconds=3"])
def test_a_key_without_a_dot_may_be_written_as_an_option(parser, word):
    assert parse(parser, ["joint", word], settings=True, keys=("train_seconds",))[1] == ["train_seconds=3"]


@pytest.mark.parametrize(("words", "said"), [
    (["joint", "--resum"], "did you mean '--resume'?"),
    (["joint", "--train_secnds", "3"], "did you mean '--train_seconds'?"),
    (["joint", "--a.b"], "needs a value"),
    (["joint", "more"], "one word too many"),
    ([], "recipe"),
    (["joint", "--out"], "expected one argument"),
])
def test_a_word_that_is_neither_is_refused(parser, words, said):
    with pytest.raises(ConfigError) as caught:
        parse(parser, words, settings=True, keys=("train_seconds",))
    assert said in str(caught.value)


def test_a_command_without_settings_takes_none(parser):
    with pytest.raises(ConfigError, match="no settings"):
        parse(parser, ["joint", "a.b=1"], settings=False)


@pytest.mark.parametrize(("words", "said"), [
    (["trian"], "did you mean 'train'?"),
    (["recipes", "shw", "joint"], "did you mean 'show'?"),
    (["recipes", "show", "jiont"], "did you mean 'joint'?"),
    (["recipes", "show", "joint", "--size", "tyni"], "did you mean 'tiny'?"),
    (["recipes", "show", "joint", "model.coupling.horizn=8"], "did you mean 'horizon'?"),
    (["recipes", "show", "joint", "model.coupling=JointGenration"], "did you mean 'JointGeneration'?"),
    (["recipes", "show", "joint", "--model.coupling.horizon", "many"], "int"),
    (["train", "joint"], "--data"),
    (["train", "joint", "--data", "x", "--bseline"], "did you mean '--baseline'?"),
    (["collect", "--tasks", "drawer-opn", "--out", "x"], "did you mean 'drawer-open'?"),
    (["collect", "--tasks", "drawer-open", "--out", "x", "expert.noise=1"], "did you mean 'noise_std'?"),
    (["collect", "--tasks", "drawer-open", "--out", "x", "--on", "rey"], "did you mean 'ray'?"),
    (["eval", "expert"], "which tasks?"),
    (["eval", "expert", "--tasks", "drawer-open", "--conditions", "cleen"], "'clean', 'random'"),
    (["quickstart", "jiont"], "did you mean 'joint'?"),
    (["quickstart", "demonstratons=3"], "did you mean 'demonstrations'?"),
    (["quickstart", "--training.optimiser.learning_rte=3"], "did you mean 'learning_rate'?"),
])
def test_a_misspelling_exits_with_2_and_the_nearest_name(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(words) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == [], "a refused command writes nothing"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_teaches_with_an_example(command, capsys):
    assert run([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert COMMANDS[command] in text
    assert f"\n  foreact {command}" in text


def test_the_overview_names_every_command(capsys):
    assert run([]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"foreact {__version__}\n"


def test_help_is_quick_because_nothing_heavy_is_imported():
    code = """if True:
        import sys
        from foreact.cli.main import run
        for words in (["--help"], ["train", "--help"], ["quickstart", "--help"]):
            assert run(words) == 0
        heavy = {"torch", "numpy", "mujoco", "pyarrow"} & set(sys.modules)
        assert not heavy, heavy
    """
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_python_m_foreact_is_foreact():
    done = subprocess.run([sys.executable, "-m", "foreact", "recipes", "lst"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "did you mean 'list'?" in done.stderr


def test_json_is_all_that_standard_output_holds(capsys):
    assert run(["recipes", "list", "--json"]) == 0
    assert "joint" in json.loads(capsys.readouterr().out)["recipes"]
    assert run(["recipes", "show", "nothing", "--json"]) == 2
    printed = capsys.readouterr()
    assert json.loads(printed.out)["error"]["kind"] == "ConfigError"
    assert "no such recipe" in printed.err


def test_an_error_shows_its_traceback_only_when_asked(monkeypatch, capsys):
    monkeypatch.setenv("FOREACT_DEBUG", "1")
    with pytest.raises(ConfigError):
        run(["recipes", "show", "nothing"])


def test_settings_named_in_the_help_are_those_of_the_configs():
    from foreact.cli import collect, evaluate
    from foreact.evaluation.collection import CollectConfig
    from foreact.evaluation.evaluate import EvaluationConfig

    def plain(config, *options):
        return {f.name for f in dataclasses.fields(config)} - set(options)

    assert set(collect.KEYS) == plain(CollectConfig, "tasks", "expert", "annotations", "codec")
    assert set(evaluate.KEYS) == plain(EvaluationConfig, "tasks", "conditions", "environment", "videos", "rollback", "disturb")
    for module in (collect, evaluate):
        assert all(key in module.TEXT for key in module.KEYS)


def test_a_comparison_spans_a_field_of_the_protocol_only_where_that_is_said(tmp_path, capsys):
    words = ["eval", "still", "--tasks", "reach", "seeds_per_task=1", "environment.horizon=3"]
    assert run([*words, "--out", str(tmp_path / "one")]) == 0
    other = [*words, "--out", str(tmp_path / "two"), "out_of_bounds=error", "--against", str(tmp_path / "one")]
    assert run(other) == 1 and "compare across out_of_bounds" in capsys.readouterr().err
    assert run([*other, "--across", "out_of_bounds"]) == 0 and "1 pairs" in capsys.readouterr().out
