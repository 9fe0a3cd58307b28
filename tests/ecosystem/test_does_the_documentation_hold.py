"""Do README.md and docs/ say what is so? What they print is done, what they name is there."""

from __future__ import annotations

import builtins
import importlib.util
import json
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from doc_pages import (
    ALL,
    DOCS,
    KEY,
    KEYS,
    NOT_RUN,
    PAGES,
    ROOT,
    STAND_INS,
    TEXTS,
    Reader,
    blocks,
    every,
    joined,
    script,
    table,
)
from redis_server import RedisServer, needs_redis, project_file

import openai_project_guard as opg
from openai_project_guard._cli import main
from openai_project_guard._versions import LIBRARIES
from openai_project_guard.loopback import ADMIN_KEY, loopback_api

MONITORING = DOCS / "monitoring"
BEGINNINGS = (
    "README.md",
    "index.md",
    "laptop.md",
    "migration.md",
)  # where no key is registered yet

pytestmark = [
    pytest.mark.any_sdk,
    pytest.mark.skipif(not (ROOT / "mkdocs.yml").exists(), reason="this is no checkout"),
]


# What is printed is done


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A folder with a program, and a server that plays the API's part."""
    with loopback_api(dict(KEYS.values())) as api:
        reader = Reader(tmp_path, {"OPENAI_BASE_URL": api.base_url})
        reader.write("app.py", "import openai\nopenai.OpenAI().models.list()\n")
        reader.write("test_app.py", "def test_it():\n    import app\n")
        yield reader


ENVIRONMENTS = {
    "audit-and-report.md": {"OPENAI_PROJECT_ID": "proj_8hRsLm2x"},
    "errors.md": {"OPENAI_PROJECT_GUARD_HOSTS": "127.0.0.1", "OPENAI_PROJECT_ID": ""},
    "laptop.md": {"OPENAI_ADMIN_KEY": ADMIN_KEY},
    "migration.md": {
        "OPENAI_PROJECT_GUARD_HOSTS": "127.0.0.1",
        "OPENAI_API_KEY": KEYS["USER_KEY"][0],
    },
}
DONE = [
    pytest.param(page, marks=needs_redis if page == "fleet-on-redis.md" else ())
    for page in TEXTS
    if blocks(page, "sh", "python")
]


@pytest.mark.parametrize("page", DONE)
def test_each_page_is_done_as_it_says(page: str, reader: Reader, tmp_path: Path) -> None:
    reader.environment |= ENVIRONMENTS.get(page, {})
    if page == "alerts.md":
        shutil.copytree(MONITORING, reader.folder / "monitoring")
    if page not in BEGINNINGS:
        registered = (
            "openai-project-guard register proj_2cKwLm9x --alias stage --key-env SUPPORT_KEY\n"
            "openai-project-guard register proj_5fPqTn0w --alias support-bot\n"
        )
        assert reader.run(registered)[0] == 0
    if page == "fleet-on-redis.md":
        server = RedisServer(tmp_path / "redis").start()
        reader.environment["REDIS_PORT"] = str(server.port)
        try:
            for line in re.findall(r"(?m)^ACL .+$", TEXTS[page]):
                server.client().execute_command(*line.split())
            reader.read(page)
        finally:
            server.kill()
    else:
        reader.read(page)


def test_what_is_not_run_is_there() -> None:
    for page, first in NOT_RUN:
        lines = [block.first.partition("  #")[0].strip() for block in blocks(page, "sh")]
        assert first in lines
    for name in STAND_INS:
        assert re.search(rf"\b{name}\b", ALL)


@pytest.mark.parametrize("page", ["README.md", "index.md"])
def test_the_refusal_shown_is_what_a_program_gets(page: str, reader: Reader) -> None:
    (install, register, run) = next(
        block.body.splitlines() for block in blocks(page, "sh") if block.first == "pip install ."
    )
    assert install == "pip install ."
    assert reader.run(register)[0] == 0
    status, said = reader.run(f"unset OPENAI_BASE_URL\nOPENAI_PROJECT_ID=proj_8hRsLm2x {run}")
    assert status == 1
    assert KEY not in said
    said = joined(said.replace(str(reader.folder), "/srv/app"))
    for block in blocks(page, "text"):
        if "ProjectMismatch" in block.first:  # a picture shows it on the other page
            assert said.endswith(f" {joined(block.body)}")


def test_the_pictures_show_what_is_printed() -> None:
    for file, drawn in script("picture").pictures():
        if file.name != "demo.svg":  # tests/cli/test_demo.py compares that one
            committed = file.read_text(encoding="utf-8")
            assert words_of(committed) == words_of(drawn), f"{file.name}: run docs/picture.py"
            assert KEY not in committed


def words_of(svg: str) -> list[str]:
    shown = re.findall(r">([^<>]+)</text>", svg)
    return joined(" ".join(shown)).split()


def test_the_image_starts_what_its_dockerfile_says(reader: Reader) -> None:
    (dockerfile,) = blocks("container.md", "dockerfile")
    entry, command = (
        json.loads(found)
        for found in re.findall(r"(?m)^(?:ENTRYPOINT|CMD) (\[.+\])$", dockerfile.body)
    )
    reader.environment |= dict(re.findall(r"(?m)^ENV (\w+)=(\w+)$", dockerfile.body))
    assert reader.run("openai-project-guard register proj_5fPqTn0w")[0] == 0
    assert reader.run(shlex.join([*entry, *command])) == (0, "")
    reader.write("openai-projects.toml", "version = 0\n")
    assert reader.run(shlex.join([*entry, *command]))[0] == 2


def test_each_yaml_file_is_one_and_says_what_it_should(reader: Reader) -> None:
    yaml = pytest.importorskip("yaml")
    found = {block.title: yaml.safe_load(block.body) for block in every("yaml")}
    (container,) = found["deployment.yaml"]["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    (mount,) = container["volumeMounts"]
    named = Path(variables["OPENAI_PROJECT_GUARD_REGISTRY"])
    assert named == Path(mount["mountPath"], "openai-projects.toml")
    assert "subPath" not in mount
    assert reader.run("openai-project-guard register proj_5fPqTn0w")[0] == 0
    reader.environment |= {
        "OPENAI_PROJECT_GUARD": variables["OPENAI_PROJECT_GUARD"],
        "OPENAI_PROJECT_GUARD_REGISTRY": named.name,
    }
    assert reader.run(shlex.join(container["command"])) == (0, "")
    steps = found[".github/workflows/openai.yml"]["jobs"]["check"]["steps"]
    commands = [step["run"] for step in steps if "guard" in step.get("run", "")]
    assert len(commands) == 2
    assert reader.run("\n".join(commands))[0] == 0
    (repository,) = found[".pre-commit-config.yaml"]["repos"]
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    assert [each["id"] for each in repository["hooks"]] == [hook["id"]]


def test_the_exit_statuses_of_a_gate_are_those_of_its_table(reader: Reader) -> None:
    assert reader.run("openai-project-guard register proj_5fPqTn0w")[0] == 0
    reader.write("bad.toml", "version = 0\n")
    good = {"validate": "validate openai-projects.toml", "check": "check"}
    runs = {
        "0": good,
        "1": {"validate": "validate bad.toml", "check": "check --env-file wrong.env"},
        "2": {"validate": "validate none.toml", "check": "check --env-file none.env"},
    }
    reader.write("wrong.env", "OPENAI_PROJECT_ID=proj_8hRsLm2x\n")
    assert {status for status, *_ in table("ci.md", "exit status")} == set(runs)
    for status, commands in runs.items():
        for command in commands.values():
            assert reader.run(f"openai-project-guard {command}")[0] == int(status), command
    for set_wrong, outcome in (
        ("OPENAI_PROJECT_ID=proj_8hRsLm2x", "would be refused"),
        ("OPENAI_PROJECT_GUARD_UNREGISTERED=warn OPENAI_API_KEY=$BILLING_KEY", "with a warning"),
    ):
        check = "OPENAI_PROJECT_GUARD=warn openai-project-guard check"
        status, said = reader.run(f"{set_wrong} {check}")
        assert (status, outcome in said) == (1, True), said


def test_calls_under_the_plugins_fixture_leave_no_audit_as_the_gate_says(reader: Reader) -> None:
    (tests,) = (block for block in blocks("testing.md") if block.title == "test_projects.py")
    reader.write("test_projects.py", tests.body)
    reader.write("test_none.py", "def test_it(): pass\n")
    gate = next(block.body for block in blocks("ci.md", "sh") if "-- pytest" in block.body)
    for file in ("test_projects.py", "test_none.py"):
        status, said = reader.run(gate.replace("pytest -q", f"pytest -q {file}"))
        assert (status, "passed" in said) == (2, True), said
        assert said.endswith("There is no audit file in audit.\n")
        assert "There is no audit file in audit." in joined(TEXTS["ci.md"])
    assert reader.run("openai-project-guard register proj_5fPqTn0w")[0] == 0
    gate = gate.replace("pytest -q", "pytest -q test_app.py || true")
    right, wrong = (f"OPENAI_PROJECT_ID={project}\n" for project in ("proj_5fPqTn0w", "proj_8hRs"))
    assert reader.run(right + gate)[0] == 0
    assert reader.run(wrong + gate)[0] == 1
    assert reader.run(right + gate)[0] == 1  # it is added to what was there
    assert reader.run(f"rm -r audit\n{right}{gate}")[0] == 0


def test_the_source_of_a_registry_that_is_shown_works(reader: Reader) -> None:
    (source,) = blocks("registry-file.md", "python")
    reader.write("some_vault.py", source.body)
    (announced,) = blocks("registry-file.md", "toml")[-1:]
    name, value = re.findall(r'(?m)^(\w+) = "(.+)"$', announced.body)[0]
    assert "openai_project_guard.sources" in announced.first
    reader.write("some_vault-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: v\nVersion: 1\n")
    reader.write(
        "some_vault-1.dist-info/entry_points.txt",
        f"[openai_project_guard.sources]\n{name} = {value}\n",
    )
    server = f"""
import http.server, json, threading
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(json.dumps({{{KEY!r}: "proj_5fPqTn0w"}}).encode())
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
import openai, openai_project_guard as opg
opg.enable(registry=f"{name}://127.0.0.1:{{server.server_port}}/keys")
openai.OpenAI().models.list()
try:
    openai.OpenAI(project="proj_8hRsLm2x").models.list()
except opg.ProjectMismatchError as error:
    print(str(error).replace(str(server.server_port), "PORT").splitlines()[-1])
    print(error.verdict.expected)
"""
    status, said = reader.run(server, "python")
    fix, expected = said.splitlines()[-2:]
    assert (status, expected) == (0, "('proj_5fPqTn0w',)")
    assert fix.endswith(f"correct it in {name}://127.0.0.1:PORT/keys.")


# Commands, links, names


def printed_commands() -> list[str]:
    """Each command of ours in a shell block, on a line of its own, or in backquotes."""
    scripts = (block.body.replace("\\\n", " ") for block in every("sh"))
    lines = [line for script in scripts for line in script.splitlines()]
    spans = re.findall(r"`(openai-project-guard [^`]+)`", re.sub(r"(?s)```.*?```", "", ALL))
    found = [line for line in lines if line.startswith("openai-project-guard ")]
    return sorted({line.partition("  #")[0].strip() for line in [*found, *spans]})


@pytest.mark.parametrize("command", printed_commands())
def test_a_printed_command_is_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, name, *arguments = shlex.split(command)
    arguments = arguments[: arguments.index("--")] if "--" in arguments else arguments
    known = options_of(name, capsys)
    assert {word for word in arguments if word.startswith("--")} <= known


def options_of(command: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    with pytest.raises(SystemExit) as done:
        main([command, "--help"])
    assert done.value.code in (0, None)
    return set(re.findall(r"(?m)^  (?:-h, )?(--[a-z-]+)", capsys.readouterr().out))


def test_the_table_of_commands_has_each_with_all_its_options(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = re.findall(r"(?m)^\| `([a-z]+)([^`]*)` \|", TEXTS["command-line.md"])
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.findall(r"(?m)^ {2,4}([a-z]+) {2,}", capsys.readouterr().out)
    assert sorted(name for name, _ in rows) == sorted(commands)
    for name, written in rows:
        options = options_of(name, capsys) - {"--help"}
        assert set(re.findall(r"--[a-z-]+", written)) == options, name


def test_what_json_prints_is_as_generated() -> None:
    assert TEXTS["json.md"] == script("json_reference").page()


@pytest.mark.parametrize("name", TEXTS)
def test_a_link_leads_to_a_file_or_a_heading_that_is_there(name: str) -> None:
    folder = next(page for page in PAGES if page.name == name).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]):
        if "://" not in target:
            path, _, heading = target.partition("#")
            assert (folder / path).exists(), target
            assert folder == ROOT or not path.startswith(".."), f"{target} is not in the site"
            if heading:
                assert heading in headings_of(folder / path if path else folder / name), target


def headings_of(page: Path) -> set[str]:
    found = re.findall(r"(?m)^#+ (.+)$", page.read_text("utf-8"))
    plain = (re.sub(r"[^\w -]", "", text.lower()) for text in found)
    return {text.strip().replace(" ", "-") for text in plain}


@pytest.mark.parametrize("name", TEXTS)
def test_a_heading_and_a_row_of_a_table_stand_once_on_a_page(name: str) -> None:
    prose = re.sub(r"(?ms)^ *```.*?^ *```$", "", TEXTS[name])
    for kind in (r"(?m)^#+ .+$", r"(?m)^\| .+\|$"):
        lines = Counter(re.findall(kind, prose))
        assert [line for line, times in lines.items() if times > 1] == []


def test_no_heading_is_where_the_site_would_link_a_type_of_pythons_to() -> None:
    types = {name for name, value in vars(builtins).items() if isinstance(value, type)}
    for page in DOCS.glob("*.md"):
        assert not headings_of(page) & types, page.name


def test_the_readme_is_read_in_five_minutes_and_leads_to_every_page() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 150
    pages = {page.name for page in DOCS.glob("*.md")}
    assert set(re.findall(r"\]\(docs/([\w-]+\.md)\)", TEXTS["README.md"])) == pages
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    assert sorted(re.findall(r": ([\w-]+\.md)\b", navigation)) == sorted(pages)


def test_a_file_of_the_repository_that_is_named_is_there() -> None:
    for path in set(re.findall(r"`((?:examples|benchmarks|docs|tests)/[\w/.-]+)`", ALL)):
        assert (ROOT / path).exists() or (ROOT / f"{path}.py").exists(), path


def test_the_page_of_examples_has_every_file_of_them() -> None:
    included = re.findall(r'(?m)^```python title="(.+)"\n--8<-- "(.+)"$', TEXTS["examples.md"])
    files = {file.relative_to(ROOT).as_posix() for file in (ROOT / "examples").rglob("*.py")}
    assert {title for title, _ in included} == files
    assert all(title == file for title, file in included)


def test_a_page_of_python_has_every_public_name() -> None:
    in_full = re.findall(r"(?m)^::: openai_project_guard\.([\w.]+)$", TEXTS["api.md"])
    public = {name for name in in_full if "." not in name}
    assert public == set(opg.__all__)
    for name in in_full:
        module, _, attribute = f"openai_project_guard.{name}".rpartition(".")
        if importlib.util.find_spec(module.split(".")[0]) and attribute not in opg.__all__:
            found = importlib.import_module(module)
            assert attribute in found.__all__
            assert getattr(found, attribute).__doc__
    written = set(re.findall(r"\w+", TEXTS["python.md"])) | set(
        re.findall(r"\w+", TEXTS["errors.md"])
    )
    assert public - {"Entry"} <= written


def test_an_extra_that_is_named_is_one() -> None:
    extras = project_file()["project"]["optional-dependencies"]
    named = re.findall(r"pip install \"\S+\[([\w,]+)\]\"", ALL)
    assert named
    assert {extra for group in named for extra in group.split(",")} <= set(extras)


def test_what_an_extra_installs_is_named_as_it_is() -> None:
    extras = project_file()["project"]["optional-dependencies"]
    rows = {extra.strip("`"): library for extra, _, library in table("index.md", "extra")}
    assert rows == {
        extra: " ".join(f"`{library}`" for library in libraries)
        for extra, libraries in extras.items()
        if extra not in ("dev", "test")
    }
    assert {extra: [library] for extra, library in LIBRARIES.items()}.items() <= extras.items()
    of_extras = {library for libraries in extras.values() for library in libraries}
    assert set(re.findall(r"pip install \"([\w-]+>=[^\"]+)\"", ALL)) <= of_extras


def test_the_releases_that_the_readme_names_are_those_of_the_package() -> None:
    project = project_file()["project"]
    pythons = [kind.rpartition(" ")[2] for kind in project["classifiers"] if "3." in kind]
    assert f"Python {pythons[0]} to {pythons[-1]};" in TEXTS["README.md"]
    assert project["requires-python"] == f">={pythons[0]}"
    (oldest,) = (name[8:] for name in project["dependencies"] if name.startswith("openai>="))
    assert f"`openai` {oldest} and later" in TEXTS["README.md"]
