"""Puts what the frameworks' tests saw into a page's table: `python table.py PAGE REPORT...`.

It is printed, too. The page is left as it is where a report is missing for one of its rows.
"""

from __future__ import annotations

import json
import re
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
    "`openai`",
    "passes",
    "a refusal surfaces as",
    "retried by the framework",
    "goes round the SDK",
]
IN_PAGE = re.compile(rf"^\| {HEAD[0]} \| .*\n(?:\|.*\n)+", re.MULTILINE)


def row(lines: list[dict[str, Any]]) -> list[str]:
    """The cells of one framework."""
    seen = {line["way"] for line in lines}
    cells = [lines[0][name] for name in ("framework", "version", "openai")]
    cells.append(", ".join(name for name, ways in WAYS.items() if seen.intersection(ways)))
    cells.append(joined(line["surfaced"] for line in lines))
    return [*cells, *(joined(line[of] for line in lines) or "no" for of in ("retries", "around"))]


def joined(remarks: Iterable[str]) -> str:
    """Each remark once."""
    return "; ".join(dict.fromkeys(remark for remark in remarks if remark))


def table(reports: Iterable[Path]) -> str:
    """The whole table, a row for each report."""
    rows = [row([json.loads(line) for line in path.read_text().splitlines()]) for path in reports]
    ruler = ["---"] * len(HEAD)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [HEAD, ruler, *rows])


def main(page: Path, *reports: Path) -> None:
    """Prints the table and, if it is whole, puts it where the page has it."""
    printed = table(reports)
    print(printed, end="")
    text = page.read_text(encoding="utf-8")
    found = IN_PAGE.search(text)
    if found is not None and printed.count("\n") >= found[0].count("\n"):
        page.write_text(text[: found.start()] + printed + text[found.end() :], encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
