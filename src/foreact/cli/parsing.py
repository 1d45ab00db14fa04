"""Words of the command line: options by argparse, settings as dotted `key=value` words, and nothing misspelt slips through.

    foreact train joint --data demos model.coupling.horizon=8
    foreact train joint --data demos --model.coupling.horizon 8
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Sequence
from typing import NoReturn

from foreact.contract.errors import ConfigError, nearest

__all__ = ["Parser", "choice", "parse"]

_SETTING = re.compile(r"[A-Za-z_][\w.]*=")


class Parser(argparse.ArgumentParser):
    """argparse with whole option names, kept line breaks, and our errors instead of its own."""

    def __init__(self, command: str, summary: str, text: str) -> None:
        super().__init__(prog=f"foreact {command}".strip(), description=f"{summary}\n\n{text}".strip(), allow_abbrev=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message, where=self.prog, next_step=f"{self.prog} --help")

    @property
    def options(self) -> dict[str, argparse.Action]:
        """Every option by its spelling, such as `--out`."""
        return dict(self._option_string_actions)


class choice:
    """A type for `add_argument`: one of `names`, and the nearest one in the error."""

    def __init__(self, where: str, names: Collection[str]) -> None:
        self._where, self._names = where, names

    def __call__(self, word: str) -> str:
        if word not in self._names:
            raise ConfigError("no such choice", where=self._where, found=word, accepted=", ".join(self._names),
                              next_step=nearest(word, self._names))
        return word


def parse(parser: Parser, words: Sequence[str], *, settings: bool, keys: Collection[str] = ()) -> tuple[argparse.Namespace, list[str]]:
    """Options, and settings as `key=value` words in order.

    settings: whether the command takes any. keys: settings without a dot, which may then also be written as options.
    Raises `ConfigError` for a word that is neither.
    """
    left, found, queue = [], [], list(words)
    while queue:
        word = queue.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        plain = name.replace("-", "_")
        action = parser.options.get(word)
        if action is not None and action.nargs != 0:
            left += [word, *queue[:1]]
            del queue[:1]
        elif word.startswith("--") and settings and ("." in name or plain in keys):
            if not equals and not queue:
                raise ConfigError("a setting needs a value", where=word, found="nothing", accepted=f"{name}=VALUE")
            found.append(f"{plain if plain in keys else name}={value if equals else queue.pop(0)}")
        elif _SETTING.match(word):
            if not settings:
                raise ConfigError("this command has no settings", where=parser.prog, found=word, next_step=f"{parser.prog} --help")
            found.append(word)
        else:
            left.append(word)
    namespace, extra = parser.parse_known_args(left)
    for word in extra:
        known = [*parser.options, *(f"--{key}" for key in keys)]
        if word.startswith("-"):
            raise ConfigError("no such option", where=parser.prog, found=word, next_step=nearest(word.partition("=")[0], known))
        raise ConfigError("one word too many", where=parser.prog, found=word,
                          accepted="settings have the form key=value" if settings else None, next_step=f"{parser.prog} --help")
    return namespace, found
