"""What is published, as a stranger gets it: `nox -s package` makes dist/ and runs this.

The wheel is installed into an environment that has nothing else. The README's commands are run
there as they are printed, but for the wheel in the place of the index or the checkout.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KEY = "sk-proj-9vTq2LwX7bYk4RmN8cZs6HdJ3gPf5AeU-Ab3d"
KEYS = {
    "OPENAI_API_KEY": (KEY, "proj_5fPqTn0w"),
    "SUPPORT_KEY": ("sk-proj-7bHn3QzM9wTx5KdR2cVf8JyL4sPg6AeW-Gh6j", "proj_support"),
    "BILLING_KEY": ("sk-proj-2kXv6FtB8nQm4ZcJ9rWd7HsL3yPg5TeA-Ef5g", "proj_billing"),
}
README = (ROOT / "README.md").read_text(encoding="utf-8")
(WHEEL,) = (ROOT / "dist").glob("*.whl")
(SDIST,) = (ROOT / "dist").glob("*.tar.gz")
VERSION = WHEEL.name.split("-")[1]

# Nothing of this checkout or of the caller's own settings is in reach.
INHERITED = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("OPENAI_", "PYTHON", "VIRTUAL_ENV"))
}


class Machine:
    """An environment, and a folder to work in.

    Args:
        home: where both are made.
        extras: what is installed besides the wheel, as in `wheel[redis]`.
    """

    def __init__(self, home: Path, extras: str = "") -> None:
        venv.create(home / "venv", with_pip=True)
        self.bin = home / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self.folder = home / "work"
        self.folder.mkdir()
        self.environment = {
            **INHERITED,
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
        }
        self.run(f"pip install --quiet '{WHEEL}{extras}'", status=0)

    def run(self, command: str, status: int | None = None, **variables: str) -> str:
        """What the shell command prints, outputs together; with a key on its standard input."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env={**self.environment, **variables},
            input=KEY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
        assert status in (None, done.returncode), f"{command}\n{done.stdout}"
        assert KEY not in done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(tmp_path_factory.mktemp("wheel"))


def metadata() -> Message:
    with zipfile.ZipFile(WHEEL) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(wheel.read(name))


def tracked(*paths: str) -> set[str]:
    """The files of the repository, those that are new but not ignored among them."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs git and a checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    return {name for name in done.stdout.splitlines() if (ROOT / name).exists()}


def test_the_source_distribution_is_the_repository() -> None:
    with tarfile.open(SDIST) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names - {"PKG-INFO"} == tracked()


def test_the_wheel_is_the_package() -> None:
    with zipfile.ZipFile(WHEEL) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == tracked("openai_project_guard")


def test_the_links_of_the_description_lead_somewhere_from_an_index() -> None:
    text = metadata().get_payload()
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert len(links) >= len(re.findall(r"\]\(([^)\s]+)\)", README)) > 0
    assert [link for link in links if not link.startswith(("https://", "#"))] == []


def test_the_changelog_has_a_dated_section_of_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"(?m)^## \[{re.escape(VERSION)}\] - \d{{4}}-\d\d-\d\d$", text)
    assert re.search(rf"(?m)^\[{re.escape(VERSION)}\]: https://", text)


def test_it_says_its_version(machine: Machine) -> None:
    assert machine.run("openai-project-guard --version", status=0).split()[-1] == VERSION
    assert machine.run("python -m openai_project_guard --version", status=0).split()[-1] == VERSION


def test_it_needs_nothing_that_it_does_not_require(machine: Machine) -> None:
    """Each command's help and each module, but those that are for an extra."""
    text = machine.run("openai-project-guard --help", status=0)
    commands = set(re.findall(r"(?m)^  ([a-z]+)  ", text))
    assert {"demo", "run", "register", "check", "doctor"} <= commands
    for command in sorted(commands):
        machine.run(f"openai-project-guard {command} --help", status=0)
    (machine.folder / "walk.py").write_text(
        "import importlib, pkgutil, openai_project_guard as package\n"
        "for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "    if module.name.rpartition('.')[2] in ('__main__', 'sitecustomize'):\n"
        "        continue\n"
        "    try: importlib.import_module(module.name)\n"
        "    except ModuleNotFoundError as error: print('lacks', error.name, module.name)\n"
    )
    lacking = re.findall(r"lacks (\S+) (\S+)", machine.run("python walk.py", status=0))
    foreign = {"opentelemetry", "prometheus_client", "pytest", "structlog", "redis", "jinja2"}
    assert {name.partition(".")[0] for name, _ in lacking} <= foreign, lacking


def test_the_demo_runs(machine: Machine) -> None:
    assert "all as expected" in machine.run("openai-project-guard demo", status=0)


@pytest.fixture(scope="module")
def api(machine: Machine) -> Iterator[str]:
    """The base URL of a loopback server, started from the wheel."""
    command = [machine.bin / "python", "-m", "openai_project_guard.loopback"]
    keys = [f"{name}={project}" for name, (_, project) in KEYS.items()]
    for key in keys:
        command += ["--key-env", key]
    environment = machine.environment | {name: key for name, (key, _) in KEYS.items()}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, encoding="utf-8"
    ) as server:
        assert server.stdout is not None
        yield next(line.split("=")[1].strip() for line in server.stdout if "BASE_URL" in line)
        server.terminate()


def test_the_commands_of_the_readme_work_as_printed(machine: Machine, api: str) -> None:
    (machine.folder / "app.py").write_text("import openai\nopenai.OpenAI().models.list()\n")
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```", README)
    spans = re.findall(r"`(openai-project-guard [^`]+)`", re.sub(r"(?s)```.*?```", "", README))
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    variables = {
        **{name: key for name, (key, _) in KEYS.items()},
        "OPENAI_BASE_URL": api,
        "OPENAI_PROJECT_ID": "proj_8hRsLm2x",
    }
    said = {}
    for command in [*filter(None, lines), *spans]:
        if not re.match(r"(python -m )?pip install ", command):  # done, with the wheel
            said[command] = machine.run(command, **variables)
            assert "usage:" not in said[command].lower(), said[command]
    (registered,) = (said[command] for command in said if " register " in command)
    assert "registered" in registered.lower()
    assert all("all as expected" in said[command] for command in said if " demo" in command)
    refused = next(said[command] for command in said if " run -- " in command)
    assert "ProjectMismatchError: GET " in refused
    assert "Nothing was sent." in refused


@pytest.fixture(scope="module")
def with_extras(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    extras = sorted(set(metadata().get_all("Provides-Extra") or []) - {"dev", "docs", "test"})
    assert set(extras) == {name for name, _, _ in EXTRAS}, "each has a row below"
    return Machine(tmp_path_factory.mktemp("extras"), f"[{','.join(extras)}]")


EXTRAS = [
    (
        "auto",
        "OPENAI_PROJECT_GUARD=enforce AUTOWRAPT_BOOTSTRAP=openai_project_guard python -c "
        "'import openai, openai_project_guard as g; print(g.is_enabled())'",
        "True",
    ),
    (
        "completion",
        "register-python-argcomplete openai-project-guard",
        "complete -o nospace",
    ),
    (
        "otel",
        "python -c 'import openai_project_guard.otel as o; print(o.__name__)'",
        "openai_project_guard.otel",
    ),
    (
        "redis",
        "openai-project-guard list --registry redis://127.0.0.1:1",
        "Connection refused",
    ),
    (
        "report",
        "openai-project-guard register proj_a; echo 'import openai; openai.models.list()' >app.py;"
        "OPENAI_API_KEY=$KEY openai-project-guard run --audit seen -- python app.py >said 2>&1;"
        "openai-project-guard report seen --html page.html; cat page.html",
        "app.py:1",
    ),
]


@pytest.mark.parametrize(("extra", "command", "shown"), EXTRAS, ids=[row[0] for row in EXTRAS])
def test_an_extra_brings_what_it_is_for(
    with_extras: Machine, extra: str, command: str, shown: str
) -> None:
    assert shown in with_extras.run(command, KEY=KEY)
