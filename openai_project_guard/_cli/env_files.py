"""Reads `--env-file` as python-dotenv does, over an environment that it does not change.

What a file says beats the environment, a later file an earlier one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from openai_project_guard._cli import complain
from openai_project_guard._cli.key_input import API_KEY
from openai_project_guard._errors import ConfigurationError, hide_frames
from openai_project_guard._keys import redact, without_random

_MOST_WORK = 2_000_000  # python-dotenv looks from each `${` to the end of its value
_SPACES = re.compile(r"[^\S\r\n]{100,}")
_MOST_LOOKS = 25_000_000  # python-dotenv looks from each of them to the last: 5,000 in a row
_MOST_LOOKS_IN_ALL = 100_000_000
_MOST_UNKNOWN = 200  # variables that one value refers to; the next may refer to them all
_MOST_GROWN = 131_071  # characters; Linux starts no program with a longer variable
_MOST_GROWN_IN_ALL = 2_097_152  # nor does it with more of them
_MOST_TEXT = 1_048_576  # characters
_STAND_IN = "sk-proj-stands-in-for-a-key-that-is-not-known"


@dataclass(frozen=True)
class EnvFile:
    """One file, with what it makes of an environment."""

    path: str
    values: dict[str, str] = field(repr=False)  # there are keys among them
    unknown: dict[str, tuple[str, ...]]  # what refers to variables that are not there, with these
    skipped: tuple[int, ...]  # the numbers of the lines that are not NAME=value
    replaced: tuple[str, ...]  # what the environment has with another value

    @property
    def unknown_of_openai(self) -> dict[str, tuple[str, ...]]:
        """Those of the unknown variables that the SDK or the guard may read."""
        return {name: refers for name, refers in self.unknown.items() if name.startswith("OPENAI_")}


@hide_frames
def read_env_files(paths: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with the files laid over it; a line that is skipped is warned of.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    merged = dict(environ)
    for path in paths:
        env_file = read_env_file(path, merged)
        merged.update(env_file.values)
        for line in env_file.skipped:
            problem = "this is not NAME=value, so it was skipped."
            complain(f"{redact(path)}, line {line}: {problem}", "warning")
    return merged


@hide_frames
def read_env_file(path: str, environ: Mapping[str, str]) -> EnvFile:
    """What one file sets; `${NAME}` is taken from the lines above, or else from the environment."""
    from io import StringIO

    from dotenv.parser import parse_stream
    from dotenv.variables import Variable, parse_variables

    known: dict[str, str | None] = dict(environ)
    values: dict[str, str] = {}
    unknown: dict[str, tuple[str, ...]] = {}
    skipped = []
    grown = 0
    for binding in parse_stream(StringIO(_text(path))):
        if binding.error:  # the parser counts the empty lines above a statement as part of it
            text = binding.original.string
            above = text[: len(text) - len(text.lstrip())].splitlines()
            skipped.append(binding.original.line + len(above))
        if binding.key is None or binding.value is None:  # a name alone sets nothing
            continue
        if binding.value.count("${") * len(binding.value) > _MOST_WORK:
            raise _error(path, binding.original.line, "this value has too many ${ in it.")
        atoms = list(parse_variables(binding.value))
        missing: dict[str, None] = {}
        for atom in atoms:
            if isinstance(atom, Variable):
                if atom.name not in known and atom.default is None:
                    missing[without_random(atom.name)] = None  # a pasted key, perhaps
                missing.update(dict.fromkeys(unknown.get(atom.name, ())))
        if len(missing) > _MOST_UNKNOWN:
            problem = (
                f"this value refers to {len(missing)} variables that are not set, by way of others "
                f"too; at most {_MOST_UNKNOWN} may be."
            )
            raise _error(path, binding.original.line, problem)
        unknown.pop(binding.key, None)
        if missing:
            unknown[binding.key] = tuple(missing)
        value = "".join(atom.resolve(known) for atom in atoms)
        if len(value) > max(_MOST_GROWN, len(binding.value)):  # it may double at each line
            problem = (
                f"with what its ${{...}} stand for, this value has {len(value):,} characters; at "
                f"most {_MOST_GROWN:,} fit in a variable."
            )
            raise _error(path, binding.original.line, problem)
        grown += max(0, len(value) - len(binding.value))
        if grown > _MOST_GROWN_IN_ALL:
            problem = (
                "with what their ${...} stand for, the values down to here are longer by "
                f"{grown:,} characters; at most {_MOST_GROWN_IN_ALL:,} fit in an environment."
            )
            raise _error(path, binding.original.line, problem)
        known[binding.key] = values[binding.key] = value
    replaced = tuple(name for name in values if environ.get(name, values[name]) != values[name])
    return EnvFile(path, values, unknown, tuple(skipped), replaced)


def environment_of(env_file: EnvFile) -> AbstractContextManager[None]:
    """`os.environ` has the file's values inside. Of what is not known, only the key is made up."""
    merged = {**os.environ, **env_file.values}
    for name in env_file.unknown_of_openai:
        del merged[name]
    if API_KEY in env_file.unknown:
        merged[API_KEY] = _STAND_IN
    return environment(merged)


@contextmanager
def environment(environ: Mapping[str, str]) -> Iterator[None]:
    """`os.environ` is this one inside."""
    before = dict(os.environ)
    _become(environ)
    try:
        yield
    finally:
        _become(before)


def _become(environ: Mapping[str, str]) -> None:
    for name in os.environ.keys() - environ.keys():
        del os.environ[name]
    os.environ.update(environ)


def _error(path: str, line: int, problem: str) -> ConfigurationError:
    return ConfigurationError(f"--env-file {redact(path)}, line {line}: {problem}")


def _text(path: str) -> str:
    name = f"--env-file {redact(path)}:"
    try:
        # Lines end as they end in the file, for the parser to see; Windows writes a mark before.
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = file.read(_MOST_TEXT + 1)
    except UnicodeDecodeError:
        raise ConfigurationError(f"{name} it is not UTF-8. Save it as UTF-8.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "this is no file name"
        where = redact(os.getcwd())
        raise ConfigurationError(
            f"{name} it cannot be read ({reason}), seen from {where}."
        ) from None
    if len(text) > _MOST_TEXT:
        raise ConfigurationError(f"{name} it has more than {_MOST_TEXT:,} characters.")
    looks = 0
    for spaces in _SPACES.finditer(text):
        looks_here = (spaces.end() - spaces.start()) ** 2
        looks += looks_here
        if looks_here >= _MOST_LOOKS or looks >= _MOST_LOOKS_IN_ALL:
            line = text.count("\n", 0, spaces.start()) + 1
            raise _error(path, line, "it has too many spaces in a row.")
    if "\0" in text:
        raise ConfigurationError(f"{name} there is a NUL character in it, so it is no text file.")
    return text
