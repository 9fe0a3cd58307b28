"""The pages of the documentation, block by block, and a reader who does what a page says.

A page is one session in a folder of its own: its files are written, its commands and its Python are
run in the order in which they stand there, what one exports the next one has, and what a page shows
as output is all that was printed, but for what a line "…" stands for. `OPENAI_BASE_URL` is a
loopback server, so that calls are answered.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted(DOCS.glob("*.md"))]
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES if page.exists()}
ALL = "\n".join(TEXTS.values())

KEY = "sk-proj-9vTq2LwX7bYk4RmN8cZs6HdJ3gPf5AeU-Ab3d"
KEYS: dict[str, tuple[str, str | tuple[str, ...]]] = {
    "OPENAI_API_KEY": (KEY, "proj_5fPqTn0w"),
    "USER_KEY": ("sk-4tWc8RmZ2xNq6JyB9fLs3VhK7dGp5TeUWq1r", ("proj_5fPqTn0w", "proj_8hRsLm2x")),
    "NEW_KEY": ("sk-proj-4mWc8RtZ2xNq6JyB9fLs3VhK7dGp5TeU-Kl8m", "proj_5fPqTn0w"),
    "SUPPORT_KEY": ("sk-proj-7bHn3QzM9wTx5KdR2cVf8JyL4sPg6AeW-Gh6j", "proj_support"),
    "BILLING_KEY": ("sk-proj-2kXv6FtB8nQm4ZcJ9rWd7HsL3yPg5TeA-Ef5g", "proj_billing"),
}

# Other people's programs, which a page names and no test runs: each answers that all went well.
STAND_INS = {
    "pip": "what it would install is under test already; the extras that it names are compared",
    "kubectl": "there is no cluster",
    "docker": "there is no daemon; the Dockerfile's and the env file's contents are tried without",
    "gunicorn": "tests/ecosystem/test_zero_code.py runs it, in the session that installs it",
    "nox": "it would run this test",
}
# The same where it is not installed; the rules are tested by a test of their own, which is skipped.
MAY_BE_MISSING = ("promtool",)
# Blocks that are not run here.
NOT_RUN = {
    ("performance.md", "python benchmarks/run.py"): "takes minutes; tests/benchmarks runs parts",
    ("performance.md", "python benchmarks/run.py --json >docs/benchmark.json"): "the same",
    (
        "tenants.md",
        "export SUPPORT_KEY=sk-proj-not-a-real-key-Gh6j BILLING_KEY=sk-proj-not-a-real-key-Ef5g",
    ): "it serves until it is interrupted",
    ("testing.md", "python -m openai_project_guard.loopback"): "it serves until it is interrupted",
    ("command-line.md", "python -m openai_project_guard.loopback"): "it serves until then",
    ("examples.md", "python examples/celery_task.py"): "tests/ecosystem/test_examples.py runs it",
    ("examples.md", "mypy --strict examples/typed.py"): "the same",
    ("examples.md", "python examples/audited_service/day.py audit"): "tests/audit runs it",
}
# What a page shows as text that is not the output of the block before it, and what compares it.
NOT_OUTPUT = {
    ("README.md", "openai_project_guard.ProjectMismatchError:"): "a test of its own, here",
    ("index.md", "openai_project_guard.ProjectMismatchError:"): "the same test",
    ("json.md", ""): "generated, and compared as a whole",
    ("fleet-on-redis.md", "ACL SETUSER"): "given to a real server, before the page's commands",
    ("fleet-on-redis.md", "%R~NAME"): "a part of such a line",
}
# A line that a page means for another place than this machine, and what it is here.
ELSEWHERE = [
    (r"rediss://(\w+):PASSWORD@redis\.internal:6379", r"redis://\1:PASSWORD@127.0.0.1:$REDIS_PORT"),
    (r"/var/lib/myapp/", "./"),
]

GUARD = """\
#!{python}
import os, sys
sys.argv[0] = "openai-project-guard"
words = sys.argv[1:]
if words[:1] in (["register"], ["fingerprint"]) and "--key-env" not in words:  # typed at a prompt
    typed, end = os.pipe()
    os.write(end, os.environ["OPENAI_API_KEY"].encode())
    os.close(end)
    os.dup2(typed, 0)
if words[:1] in (["check"], ["doctor"]):  # they send nothing, and are of api.openai.com
    os.environ.pop("OPENAI_BASE_URL", None)
if words[:1] == ["copy"] and "--dry-run" not in words:  # answered at a prompt
    sys.argv.append("--yes")
from openai_project_guard._cli import main
sys.exit(main())
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        title: the name of the file that it is, if it has one.
        status: the exit status that the page expects of it, by a comment above it.
    """

    page: str
    line: int
    language: str
    title: str | None
    body: str
    status: int

    @property
    def first(self) -> str:
        return self.body.partition("\n")[0]

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


_INCLUDED = re.compile(r'(?m)^--8<-- "(.+)"$')
"""A line in whose place the site has a file of the repository."""


def _file_of(line: re.Match[str]) -> str:
    return (ROOT / line[1]).read_text(encoding="utf-8").removesuffix("\n")


def blocks(page: str, *languages: str) -> list[Block]:
    text, found = TEXTS[page], []
    fence = (
        r"(?ms)^(?:<!-- exit status (?P<status>\d) -->\n)?"
        r"(?P<indent> *)```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n"
        r"(?P<body>.*?)^(?P=indent)```$"
    )
    for match in re.finditer(fence, text):
        if not languages or match["language"] in languages:
            line = text.count("\n", 0, match.start("language")) + 1
            body = _INCLUDED.sub(_file_of, textwrap.dedent(match["body"]))
            status = int(match["status"] or 0)
            found.append(Block(page, line, match["language"], match["title"], body, status))
    return found


def joined(text: str) -> str:
    """Text without its line breaks and layout, any time as one, the API for its stand-in."""
    text = re.sub(r"127\.0\.0\.1(:\d+)?(?=[/ ])", "api.openai.com", text)
    text = re.sub(r"(20\d\d-)?\d\d-\d\d \d\d:\d\d", "DATE", text)
    text = re.sub(r"\bin \d+\.\d\ds\b", "in TIME", text)
    return " ".join(re.sub(r"[─│┼]+", " ", text).split())


class Reader:
    """Does what pages say, in a folder."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder / "app"
        self.folder.mkdir()
        self.exports = folder / "exports"
        self.exports.write_text("")
        programs = folder / "bin"
        programs.mkdir()
        for name, script in self._programs():
            (programs / name).write_text(script)
            (programs / name).chmod(0o755)
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OPENAI_", "PYTEST_", "COV_", "AUTOWRAPT_", "GITHUB_"))
        }
        self.environment = {
            **inherited,
            "HOME": str(folder / "home"),
            "XDG_CONFIG_HOME": str(folder / "home" / ".config"),
            "PATH": f"{programs}{os.pathsep}{inherited['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONIOENCODING": "utf-8",
            "PYTHONUNBUFFERED": "1",  # output and log in the order in which a terminal has them
            "NO_COLOR": "1",
            "EXPORTS": str(self.exports),
            "OPENAI_PROJECT_ID": "proj_5fPqTn0w",
            **{name: key for name, (key, _) in KEYS.items()},
            **environment,
        }

    @staticmethod
    def _programs() -> Iterator[tuple[str, str]]:
        missing = [name for name in MAY_BE_MISSING if shutil.which(name) is None]
        yield from ((name, "#!/bin/sh\nexit 0\n") for name in (*STAND_INS, *missing))
        yield "openai-project-guard", GUARD.format(python=sys.executable)
        yield "python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
        yield "pytest", f'#!/bin/sh\nexec "{sys.executable}" -m pytest "$@"\n'

    def write(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def run(self, script: str, language: str = "sh") -> tuple[int, str]:
        """The exit status of a block, and what it printed."""
        for pattern, here in ELSEWHERE:
            script = re.sub(pattern, here, script)
        if language == "python":
            self.write("block.py", script)
            script = "python block.py"
        code = (
            '. "$EXPORTS"\ntrap \'declare -px | grep " OPENAI_\\| [A-Z]*_KEY" >"$EXPORTS"\' EXIT\n'
        )
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", code + script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=180,
            check=False,
        )
        return done.returncode, done.stdout

    def read(self, page: str) -> None:
        """Does all that a page says, and compares what it shows."""
        said: str | None = None
        shown: list[Block] = []
        for block in blocks(page):
            if block.title is not None:
                self.write(block.title, block.body)
            elif block.language in ("sh", "python"):
                _compare(shown, said)
                said, shown = None, []
                if (page, block.first.partition("  #")[0].strip()) in NOT_RUN:
                    continue
                status, said = self.run(block.body, block.language)
                assert status == block.status, f"{block.where}: {status}\n{said}"
            elif block.language == "text" and not is_no_output(block):
                shown.append(block)
        _compare(shown, said)


def _compare(shown: list[Block], said: str | None) -> None:
    """Holds what a page shows against all that was printed; a line "…" stands for what is not."""
    if not shown:
        return
    assert said is not None, f"{shown[0].where}: the output of what?"
    parts = "".join(f"\n{block.body}\n" for block in shown).split("\n…\n")
    pattern = ".*".join(re.escape(joined(part)) for part in parts)
    assert re.fullmatch(pattern, joined(said)), f"{shown[0].where}: this was printed:\n{said}"


def is_no_output(block: Block) -> bool:
    return any(block.page == page and block.body.startswith(start) for page, start in NOT_OUTPUT)


def every(language: str) -> list[Block]:
    return [block for page in TEXTS for block in blocks(page, language)]


def table(page: str, first: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading."""
    head = next(at for at in re.finditer(rf"(?m)^\| {first} \|.*\n\|[-|]+\n", TEXTS[page]))
    rows = []
    for line in TEXTS[page][head.end() :].splitlines():
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" |")])
    return rows


def script(name: str) -> ModuleType:
    """A script of docs/."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
