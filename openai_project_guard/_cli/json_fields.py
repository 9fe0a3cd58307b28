"""What each command's `--json` prints: for `--help`, the documentation and the tests.

A field is added here before it is printed; none is ever taken away or given another meaning.
"""

from __future__ import annotations

from textwrap import indent

_SOURCES = """\
"sources": [
  {
    "kind": "file" | "url" | "variable", "name": text, "projects": number,
    "keys": number, "age_seconds": number | null, "error": text | null
  }, ...
]"""

_DIAGNOSIS = """\
"mode": "enforce" | "inject" | "warn" | "off",
"judged_as": "enforce" | "inject",
"verdict": {
  "outcome": "allowed" | "injected" | "warned" | "blocked",
  "reason": text | null, "expected": [project id, ...],
  "actual": text | null, "key_hint": text, "method": text, "host": text,
  "path": text, "transport": "http" | "websocket",
  "call_site": text | null, "client_site": text | null,
  "origin": text | null, "answered": text | null
} | null,
"refusal": {"type": text, "message": text} | null,
"mistakes": [
  {
    "name": text, "sentence": text, "cure": text, "is_wrong": true | false
  }, ...
],
"live": {
  "status": number | null, "code": text | null,
  "message": text | null, "project": text | null,
  "organization": text | null, "agrees": true | false
} | null,
"error": text | null"""

_CHECK = f"""\
{{
  "passes": true | false,
{indent(_DIAGNOSIS, "  ")}
}}"""

_CALL = """\
{
      "answer": text, "billed": project id | null,
      "project_header": text | null, "requests": number,
      "connections": number, "bytes": number, "text": text
    }"""

FIELDS = {
    "demo": f"""\
[
  {{
    "call": text,
    "without_guard": {_CALL},
    "with_guard": {_CALL},
    "as_expected": true | false, "problems": [text, ...]
  }}, ...
]""",
    "list": f"""\
{{
{indent(_SOURCES, "  ")},
  "projects": [
    {{
      "project": project id, "alias": text | null,
      "organization": text | null, "source": text
    }}, ...
  ],
  "keys": [
    {{
      "fingerprint": "sha256:...", "hint": text, "project": project id,
      "alias": text | null, "organization": text | null, "note": text | null,
      "place": text, "source": text
    }}, ...
  ]
}}""",
    "fingerprint": '{"fingerprint": "sha256:...", "hint": text}',
    "validate": """\
{
  "valid": true | false,
  "mistakes": [{"file": text, "line": number | null, "message": text}, ...]
}""",
    "check": _CHECK,
    "check --env-file": f"""\
{{
  "files": [
    {{
      "file": text, "passes": true | false | null,
      "unknown": [{{"name": text, "refers_to": [text, ...]}}, ...],
      "skipped_lines": [number, ...], "error": text | null,
      "check": {indent(_CHECK, "      ").lstrip()} | null
    }}, ...
  ]
}}""",
    "doctor": f"""\
{{
  "in_order": true | false,
{indent(_DIAGNOSIS, "  ")},
  "versions": {{
    "python": text, "openai-project-guard": text | null, "openai": text | null,
    "wrapt": text | null, "httpx": text | null, "httpx2": text | null,
    "websockets": text | null, "tomlkit": text | null
  }},
  "hooks": {{
    "found": [text, ...], "lost": [text, ...], "error": text | null,
    "proofs": [
      {{
        "client": text, "matching": text, "wrong": text,
        "is_good": true | false
      }}, ...
    ]
  }},
  "values": [
    {{
      "header": text, "name": text, "kind": "variable" | "argument" | "unread",
      "value": text | null, "wins": true | false
    }}, ...
  ],
{indent(_SOURCES, "  ")},
  "settings": [{{"name": text, "value": text, "from": variable | null}}, ...]
}}""",
    "copy": """\
{
  "written": true | false,
  "difference": [{"change": "+" | "-" | "~", "what": text}, ...],
  "conflicts": [text, ...]
}""",
    "report": """\
{
  "files": number, "processes": number, "folders": [text, ...],
  "hosts": [text, ...], "since": ISO 8601 time | null,
  "first": ISO 8601 time | null, "last": ISO 8601 time | null,
  "skipped_lines": number, "unreadable": [{"file": text, "error": text}, ...],
  "others": number,
  "projects": [
    {
      "project": project id | null, "calls": number, "blocked": number,
      "warned": number, "drift": number, "injected": number, "allowed": number
    }, ...
  ],
  "changes": [
    {
      "change": text, "client_site": text | null, "key_hint": text | null,
      "project": project id | null, "count": number,
      "call_sites": [text | null, ...],
      "sent": [
        {
          "actual": text | null, "origin": text | null,
          "expected": [project id, ...], "count": number
        }, ...
      ]
    }, ...
  ],
  "calls": [
    {
      "call_site": text | null, "client_site": text | null,
      "key_hint": text | null, "project": project id | null,
      "outcome": "allowed" | "injected" | "warned" | "blocked",
      "reason": text | null, "host": text | null, "method": text | null,
      "count": number, "first": ISO 8601 time, "last": ISO 8601 time,
      "origin": text | null, "expected": [project id, ...],
      "actual": text | null, "answered": text | null,
      "transport": "http" | "websocket", "others": true | false,
      "change": text | null
    }, ...
  ]
}""",
    "sync": """\
{
  "registry": text, "listed": number,
  "added": [{"project": project id, "alias": text | null}, ...],
  "unlisted": [{"project": project id, "alias": text | null}, ...],
  "pruned": true | false,
  "keys": [
    {
      "variable": text, "hint": text,
      "outcome": "bound" | "registered" | "moved" | "ambiguous" | "unknown",
      "projects": [project id, ...], "says": text
    }, ...
  ],
  "dry_run": true | false
}""",
}


def describe(command: str) -> str:
    """The description of a command's JSON, in the shape of the JSON itself."""
    option = "".join(f"with {option} " for option in command.split()[1:])
    what = "a list of objects" if FIELDS[command].startswith("[") else "one object"
    return f"--json {option}prints {what}:\n{indent(FIELDS[command], '  ')}"
