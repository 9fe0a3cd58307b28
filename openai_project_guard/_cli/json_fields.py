"""What each command's `--json` prints: for `--help`, the documentation and the tests.

A field is added here before it is printed; none is ever taken away or given another meaning.
"""

from __future__ import annotations

from typing import Any

_TEXT, _NUMBER, _BOOL = "text", "number", "true | false"
_TEXT_OR_NULL, _NUMBER_OR_NULL = "text | null", "number | null"
_TIME, _TIME_OR_NULL = "ISO 8601 time", "ISO 8601 time | null"

_SOURCE = {
    "kind": '"file" | "url" | "variable"',
    "name": _TEXT,
    "projects": _NUMBER,
    "keys": _NUMBER,
    "age_seconds": _NUMBER_OR_NULL,
    "error": _TEXT_OR_NULL,
}
_DIAGNOSIS = {
    "mode": '"enforce" | "inject" | "warn" | "off"',
    "judged_as": '"enforce" | "inject"',
    "verdict": {
        "outcome": '"allowed" | "injected" | "warned" | "blocked"',
        "reason": _TEXT_OR_NULL,
        "expected": ["project id"],
        "actual": _TEXT_OR_NULL,
        "key_hint": _TEXT,
        "method": _TEXT,
        "host": _TEXT,
        "path": _TEXT,
        "transport": '"http" | "websocket"',
        "call_site": _TEXT_OR_NULL,
        "client_site": _TEXT_OR_NULL,
        "origin": _TEXT_OR_NULL,
        "answered": _TEXT_OR_NULL,
    },
    "refusal": {"type": _TEXT, "message": _TEXT},
    "mistakes": [{"name": _TEXT, "sentence": _TEXT, "cure": _TEXT, "is_wrong": _BOOL}],
    "live": {
        "status": _NUMBER_OR_NULL,
        "code": _TEXT_OR_NULL,
        "message": _TEXT_OR_NULL,
        "project": _TEXT_OR_NULL,
        "organization": _TEXT_OR_NULL,
        "agrees": _BOOL,
    },
    "error": _TEXT_OR_NULL,
}
_CALL = {
    "answer": _TEXT,
    "billed": "project id | null",
    "project_header": _TEXT_OR_NULL,
    "requests": _NUMBER,
    "connections": _NUMBER,
    "bytes": _NUMBER,
    "text": _TEXT,
}

FIELDS: dict[str, Any] = {
    "demo": [
        {
            "call": _TEXT,
            "without_guard": _CALL,
            "with_guard": _CALL,
            "as_expected": _BOOL,
            "problems": [_TEXT],
        }
    ],
    "list": {
        "sources": [_SOURCE],
        "projects": [
            {
                "project": "project id",
                "alias": _TEXT_OR_NULL,
                "organization": _TEXT_OR_NULL,
                "source": _TEXT,
            }
        ],
        "keys": [
            {
                "fingerprint": '"sha256:..."',
                "hint": _TEXT,
                "project": "project id",
                "alias": _TEXT_OR_NULL,
                "organization": _TEXT_OR_NULL,
                "note": _TEXT_OR_NULL,
                "place": _TEXT,
                "source": _TEXT,
            }
        ],
    },
    "fingerprint": {"fingerprint": '"sha256:..."', "hint": _TEXT},
    "validate": {
        "valid": _BOOL,
        "mistakes": [{"file": _TEXT, "line": _NUMBER_OR_NULL, "message": _TEXT}],
    },
    "check": {"passes": _BOOL, **_DIAGNOSIS},
    "check --env-file": {
        "files": [
            {
                "file": _TEXT,
                "passes": "true | false | null",
                "unknown": [{"name": _TEXT, "refers_to": [_TEXT]}],
                "skipped_lines": [_NUMBER],
                "error": _TEXT_OR_NULL,
                "check": {"passes": _BOOL, **_DIAGNOSIS},
            }
        ]
    },
    "doctor": {
        "in_order": _BOOL,
        **_DIAGNOSIS,
        "versions": {
            "python": _TEXT,
            "openai-project-guard": _TEXT_OR_NULL,
            "openai": _TEXT_OR_NULL,
            "wrapt": _TEXT_OR_NULL,
            "httpx": _TEXT_OR_NULL,
            "httpx2": _TEXT_OR_NULL,
            "websockets": _TEXT_OR_NULL,
            "tomlkit": _TEXT_OR_NULL,
        },
        "hooks": {
            "found": [_TEXT],
            "lost": [_TEXT],
            "error": _TEXT_OR_NULL,
            "proofs": [{"client": _TEXT, "matching": _TEXT, "wrong": _TEXT, "is_good": _BOOL}],
        },
        "values": [
            {
                "header": _TEXT,
                "name": _TEXT,
                "kind": '"variable" | "argument" | "unread"',
                "value": _TEXT_OR_NULL,
                "wins": _BOOL,
            }
        ],
        "sources": [_SOURCE],
        "settings": [{"name": _TEXT, "value": _TEXT, "from": "variable | null"}],
    },
    "copy": {
        "written": _BOOL,
        "difference": [{"change": '"+" | "-" | "~"', "what": _TEXT}],
        "conflicts": [_TEXT],
    },
    "report": {
        "files": _NUMBER,
        "hosts": [_TEXT],
        "since": _TIME_OR_NULL,
        "first": _TIME_OR_NULL,
        "last": _TIME_OR_NULL,
        "skipped_lines": _NUMBER,
        "unreadable": [{"file": _TEXT, "error": _TEXT}],
        "others": _NUMBER,
        "projects": [
            {
                "project": "project id | null",
                "calls": _NUMBER,
                "blocked": _NUMBER,
                "warned": _NUMBER,
                "drift": _NUMBER,
                "injected": _NUMBER,
                "allowed": _NUMBER,
            }
        ],
        "changes": [
            {
                "change": _TEXT,
                "client_site": _TEXT_OR_NULL,
                "key_hint": _TEXT_OR_NULL,
                "project": "project id | null",
                "count": _NUMBER,
                "call_sites": [_TEXT_OR_NULL],
            }
        ],
        "calls": [
            {
                "call_site": _TEXT_OR_NULL,
                "client_site": _TEXT_OR_NULL,
                "key_hint": _TEXT_OR_NULL,
                "project": "project id | null",
                "outcome": '"allowed" | "injected" | "warned" | "blocked"',
                "reason": _TEXT_OR_NULL,
                "host": _TEXT_OR_NULL,
                "method": _TEXT_OR_NULL,
                "count": _NUMBER,
                "first": _TIME,
                "last": _TIME,
                "origin": _TEXT_OR_NULL,
                "expected": ["project id"],
                "actual": _TEXT_OR_NULL,
                "answered": _TEXT_OR_NULL,
                "transport": '"http" | "websocket"',
                "others": _BOOL,
                "change": _TEXT_OR_NULL,
            }
        ],
    },
    "sync": {
        "registry": _TEXT,
        "listed": _NUMBER,
        "added": [{"project": "project id", "alias": _TEXT_OR_NULL}],
        "unlisted": [{"project": "project id", "alias": _TEXT_OR_NULL}],
        "pruned": _BOOL,
        "keys": [
            {
                "variable": _TEXT,
                "hint": _TEXT,
                "outcome": '"bound" | "registered" | "moved" | "ambiguous" | "unknown"',
                "projects": ["project id"],
                "says": _TEXT,
            }
        ],
        "dry_run": _BOOL,
    },
}

_LINE = 66  # characters, that the name in front of it fits too

NULLABLE = frozenset({"verdict", "refusal", "live", "check"})
"""The objects that may be null."""


def describe(command: str) -> str:
    """The description of a command's JSON, in the shape of the JSON itself."""
    fields = FIELDS[command]
    option = "".join(f"with {option} " for option in command.split()[1:])
    what = "a list of objects" if isinstance(fields, list) else "one object"
    return f"--json {option}prints {what}:\n{_describe(fields, '  ')}"


def _describe(value: Any, indent: str) -> str:
    if isinstance(value, list):
        inner = _describe(value[0], indent)
        return f"{indent}[{inner.strip()}, ...]"
    if isinstance(value, str):
        return indent + value
    fields = []
    for name, field in value.items():
        null = " | null" if name in NULLABLE else ""
        fields.append(f'"{name}": {_describe(field, indent + "  ").strip()}{null}')
    line = f"{indent}{{{', '.join(fields)}}}"
    if len(line) < _LINE and "\n" not in line:
        return line
    return f"{indent}{{\n" + "".join(f"{indent}  {field},\n" for field in fields) + f"{indent}}}"
