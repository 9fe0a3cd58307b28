"""Compares what a command printed with `--json` to the description that `--help` shows."""

from __future__ import annotations

from typing import Any

from openai_project_guard._cli.json_fields import FIELDS, NULLABLE


def assert_as_described(command: str, printed: Any) -> None:
    """Every field that is described is there with a value of its type, and no other."""
    _compare(FIELDS[command], printed, command)


def _compare(described: Any, value: Any, where: str) -> None:
    if isinstance(described, list):
        assert isinstance(value, list), where
        for item in value:
            _compare(described[0], item, f"{where}[]")
    elif isinstance(described, dict):
        if value is None:
            assert where.rpartition(".")[2] in NULLABLE, where
            return
        assert list(value) == list(described), where
        for name, field in described.items():
            _compare(field, value[name], f"{where}.{name}")
    else:
        assert _is(described, value), f"{where} is {value!r}, described as {described}"


def _is(described: str, value: Any) -> bool:
    for kind in described.split(" | "):
        if kind == "null":
            fits = value is None
        elif kind in ("true", "false"):
            fits = value is (kind == "true")
        elif kind == "number":
            fits = isinstance(value, int) and not isinstance(value, bool)
        elif kind.startswith('"') and "..." not in kind:
            fits = value == kind.strip('"')
        else:
            fits = isinstance(value, str)
        if fits:
            return True
    return False
