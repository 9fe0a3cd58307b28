"""Writes docs/json.md: what each command prints with `--json`, as its `--help` says it.

Run it from anywhere, in an environment that has the package: python docs/json_reference.py
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from openai_project_guard._cli.json_fields import FIELDS, describe

PAGE = Path(__file__).parent / "json.md"

HEAD = """\
# What `--json` prints

Each command's `--help` shows its own. Fields are only ever added: none is taken away or given
another meaning. `text`, `number` and `null` are JSON's; `...` is any number of the same.
"""


def page() -> str:
    """The page in Markdown."""
    sections = [HEAD]
    for command in FIELDS:
        # A heading `list` alone would be where the API pages link the type of that name to.
        described = textwrap.dedent(describe(command).partition("\n")[2])
        sections.append(f"## `{command} --json`\n\n```text\n{described}\n```\n")
    return "\n".join(sections)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
