"""Makes a table in Markdown of what the frameworks' tests saw: `python table.py REPORT...`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

WAYS = {
    "chat": ["chat"],
    "async": ["async"],
    "streaming": ["stream", "async stream"],
    "embeddings": ["embeddings", "async embeddings"],
}
HEAD = [
    "framework",
    "version",
    "openai",
    *WAYS,
    "a refusal surfaces as",
    "retried",
    "round the SDK",
]


def row(lines: list[dict[str, Any]]) -> list[str]:
    """The cells of one framework."""
    seen = {line["way"] for line in lines}
    cells = [lines[0][name] for name in ("framework", "version", "openai")]
    cells += ["✓" if any(way in seen for way in ways) else "–" for ways in WAYS.values()]
    cells.append(joined(line["surfaced"] for line in lines))
    return [*cells, *(joined(line[of] for line in lines) or "no" for of in ("retries", "around"))]


def joined(remarks: Iterable[str]) -> str:
    """Each remark once."""
    return "; ".join(dict.fromkeys(remark for remark in remarks if remark))


def table(reports: Iterable[Path]) -> str:
    """The whole table, a row for each report."""
    rows = [row([json.loads(line) for line in path.read_text().splitlines()]) for path in reports]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [HEAD, ["---"] * len(HEAD), *rows])


if __name__ == "__main__":
    print(table(map(Path, sys.argv[1:])))
