"""Compares what a command printed with `--json` to the description that `--help` shows."""

from __future__ import annotations

import re
from typing import Any

from openai_project_guard._cli.json_fields import FIELDS

_TOKEN = re.compile(r'\s*("[^"]*"|[{}\[\],:|]|\.\.\.|[\w ]*\w)')


def assert_as_described(command: str, printed: Any) -> None:
    """Every field that is described is there, in that order, with a value of its type."""
    _compare(_Description(FIELDS[command]).value(), printed, command)


class _Description:
    """Reads a description: a list is `[one, ...]`, an object a dict, the rest a list of words."""

    def __init__(self, text: str) -> None:
        self.tokens = _TOKEN.findall(text)
        assert not _TOKEN.sub("", text).strip()

    def take(self, expected: str | None = None) -> str:
        token: str = self.tokens.pop(0)
        assert expected in (None, token), f"{token} where {expected} is expected"
        return token

    def value(self) -> tuple[Any, ...]:
        """The alternatives that are described."""
        found = [self._alternative()]
        while self.tokens and self.tokens[0] == "|":
            self.take()
            found.append(self._alternative())
        return tuple(found)

    def _alternative(self) -> Any:
        first = self.take()
        if first == "[":
            item = self.value()
            for token in (",", "...", "]"):
                self.take(token)
            return [item]
        if first != "{":
            return first
        fields = {}
        while first != "}":
            name = self.take().strip('"')
            self.take(":")
            fields[name] = self.value()
            first = self.take()
            assert first in ",}"
        return fields


def _compare(described: tuple[Any, ...], value: Any, where: str) -> None:
    for kind in described:
        if isinstance(kind, list) and isinstance(value, list):
            for item in value:
                _compare(kind[0], item, f"{where}[]")
            return
        if isinstance(kind, dict) and isinstance(value, dict):
            assert list(value) == list(kind), where
            for name, field in kind.items():
                _compare(field, value[name], f"{where}.{name}")
            return
    fits = any(_is(kind, value) for kind in described if isinstance(kind, str))
    assert fits, f"{where} is {value!r}, described as {described}"


def _is(kind: str, value: Any) -> bool:
    if kind == "null":
        return value is None
    if kind in ("true", "false"):
        return value is (kind == "true")
    if kind == "number":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind.startswith('"') and "..." not in kind:
        return bool(value == kind.strip('"'))
    return isinstance(value, str)
