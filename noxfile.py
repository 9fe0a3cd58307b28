"""The checks, each in an environment of its own: `nox -l` lists them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"  # sessions by tag, one parameter apart from the others
nox.options.default_venv_backend = "uv" if shutil.which("uv") else "virtualenv"
nox.options.sessions = ["lint", "tests"]
nox.options.reuse_venv = "yes"

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14", "3.15"]

# Releases of openai, and what each needs besides to work at all. `tests` runs on the newest.
# Before 0.28 httpx took the `proxies=` that old releases hand to it; and what they have no extra
# for, the loopback server's own tests need.
SDKS = {
    "1.20.0": ["httpx<0.28", "websockets<16"],
    "1.40.0": ["httpx<0.28", "websockets<16"],
    "1.66.0": [],
    "1.109.1": [],
    "2.0.0": [],
    "2.30.0": [],
    "2.35.0": [],
    "2.54.0": [],
    "3.0.0": [],
}
# Those on which a change has to hold before it goes in; the others are for a release.
CI_SDKS = ("1.20.0", "1.109.1", "2.54.0")

# Releases of websockets between which the place has moved where a connection is opened.
WEBSOCKETS = ["13.0", "13.1", "14.2", "16.0", "17.4"]

# Whose own tests are run with the guard in between. A name without a release is the newest.
SDK_SUITES = [nox.param("openai", id="newest"), nox.param("openai==2.54.0", id="2.54.0")]

# What is hooked or called by name, and so may break us by a release of its own.
UPSTREAM = ["openai", "httpx2", "websockets", "wrapt", "redis"]

# Extras that the suite uses; each is one package.
OLDEST_EXTRAS = ("redis", "otel", "completion", "report")

# What people call the SDK through, and what each needs: it decides on the release of openai.
FRAMEWORKS = {
    "langchain": ["langchain-openai"],
    "llamaindex": ["llama-index-llms-openai", "llama-index-embeddings-openai"],
    "litellm": ["litellm", "mcp", "tenacity"],  # it imports the last two without requiring them
    "instructor": ["instructor"],
    "agents": ["openai-agents"],
    "pydantic_ai": ["pydantic-ai-slim[openai]"],
    "dspy": ["dspy[numpy]", "mcp"],
    "semantic_kernel": ["semantic-kernel"],
    "haystack": ["haystack-ai"],
    "crewai": ["crewai"],
}


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The whole suite on the newest openai: `nox -s tests -- -k sweep`."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=PYTHONS)
@nox.parametrize("openai", [nox.param(r, id=r, tags=["ci"] if r in CI_SDKS else []) for r in SDKS])
def sdk(session: nox.Session, openai: str) -> None:
    """What depends on the SDK, on an older openai; tests of what that has not are skipped."""
    session.install(".[test]", f"openai=={openai}", *SDKS[openai])
    session.run("python", "-m", "pytest", "-m", "not any_sdk", *session.posargs)


@nox.session(python=PYTHONS[1])
@nox.parametrize("release", WEBSOCKETS)
def websockets(session: nox.Session, release: str) -> None:
    """The tests of WebSockets on each release that is hooked in a way of its own."""
    session.install(".[test]", "trio")
    session.install(f"websockets=={release}")  # apart: whatever bounds the SDK sets to it
    names = (
        "test_websockets_of_the_sdk",
        "test_websockets_opened_directly",
        "test_unsupported_sdk",
    )
    session.run("python", "-m", "pytest", *(f"tests/hooks/{name}.py" for name in names))


@nox.session(python=PYTHONS[1])
@nox.parametrize("openai", SDK_SUITES)
def sdk_suite(session: nox.Session, openai: str) -> None:
    """The SDK's own tests, without the guard and with it judging every call: what is different.

    Takes half an hour; `nox -s sdk_suite -- -n 4 --ignore=tests/api_resources` less.
    """
    folder = Path(session.create_tmp(), "sdk")
    shutil.rmtree(folder, ignore_errors=True)
    session.install("pip")
    options = ("--no-binary", "openai", "--no-deps", "--dest", str(folder))
    session.run("python", "-m", "pip", "download", "--quiet", *options, openai)
    (archive,) = folder.glob("openai-*.tar.gz")
    shutil.unpack_archive(archive, folder)
    source = folder / archive.name.removesuffix(".tar.gz")

    project = nox.project.load_toml(source / "pyproject.toml")
    groups = project.get("dependency-groups") or {"dev": project["tool"]["rye"]["dev-dependencies"]}
    checkers = re.compile(r"(types-|pandas-stubs|mypy|pyright|ty\b|nox)")
    tools = [tool for tool in groups["dev"] if not checkers.match(tool)]
    extras = set(project["project"]["optional-dependencies"]) - {"voice_helpers"}  # a microphone
    release = f"openai[{','.join(sorted(extras))}]=={project['project']['version']}"
    session.install("-e", ".", release, *tools)
    options = session.posargs or ["-n", "2"]
    session.run("python", "tests/sdk_suite/compare.py", str(source), *options)


@nox.session(python=PYTHONS[1])
def tomorrow(session: nox.Session) -> None:
    """What depends on others, on the newest of them: pre-releases where there are any."""
    session.install(".[test]")
    first, *others = (f"{name}>=0a0" for name in UPSTREAM)  # which allows their pre-releases alone
    session.install("--upgrade", first)
    session.install("--upgrade", *others)  # apart: whatever bounds the SDK sets to them
    show = f"from importlib.metadata import version; print({{n: version(n) for n in {UPSTREAM}}})"
    session.run("python", "-c", show)
    session.run("python", "-m", "pytest", "tests/hooks", "tests/registry/redis", *session.posargs)


@nox.session(python=PYTHONS[1])
def oldest(session: nox.Session) -> None:
    """The whole suite on the oldest releases that pyproject.toml allows; see `sdk` for openai's."""
    project = nox.project.load_toml()["project"]
    extras = project["optional-dependencies"]
    used = [*project["dependencies"], *(extras[name][0] for name in OLDEST_EXTRAS)]
    pins = [each.replace(">=", "==") for each in used if not each.startswith("openai")]
    session.install(".[test]", *pins, "setuptools<81")  # which opentelemetry's runner imported
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=PYTHONS[1])
@nox.parametrize("server", ["redis-server", "valkey-server"])
def redis_servers(session: nox.Session, server: str) -> None:
    """The tests of a registry in Redis, on each server that is installed."""
    if not shutil.which(server):
        session.skip(f"there is no {server} here")
    session.run(server, "--version", external=True)
    session.install(".[test]")
    env = {"TEST_REDIS_COMMAND": server}
    session.run("python", "-m", "pytest", "tests/registry/redis", *session.posargs, env=env)


@nox.session(python=PYTHONS[1], tags=["ci"])
def package(session: nox.Session) -> None:
    """What is published, made into dist/, looked at, and used as a stranger would."""
    session.install("build", "twine", "check-wheel-contents", "pytest")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))
    session.run("check-wheel-contents", "dist")
    session.run("python", "-m", "pytest", "tests/package/with_wheel.py")


@nox.session(python=PYTHONS[1])
def sdist(session: nox.Session) -> None:
    """The source distribution, unpacked elsewhere: it installs and tests itself."""
    folder = Path(session.create_tmp(), "sdist")
    shutil.rmtree(folder, ignore_errors=True)
    session.install("build")
    session.run("python", "-m", "build", "--sdist", "--outdir", str(folder))
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder)
    with session.chdir(folder / archive.name.removesuffix(".tar.gz")):
        session.install(".[test]")
        session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=PYTHONS[1])
def workflows(session: nox.Session) -> None:
    """The workflows of .github: their form, and what could be misused in them."""
    session.install("check-jsonschema", "zizmor")
    files = [str(path) for path in sorted(Path(".github/workflows").glob("*.yml"))]
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
    session.run(
        "check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml"
    )
    session.run("zizmor", "--offline", ".github")
    if shutil.which("actionlint"):
        session.run("actionlint", external=True)
    else:
        session.log("Skipped: actionlint is not installed.")


@nox.session(python=PYTHONS[1])
def zero_code(session: nox.Session) -> None:
    """The guard in programs that never heard of it, by the servers and shells they run under."""
    servers = (
        "gunicorn",
        "celery",
        "uvicorn",
        "jupyter_client",
        "ipykernel",
        "pyinstaller",
        "uvloop",
        "trio",
        "gevent",
    )
    tracers = ("ddtrace", "opentelemetry-instrumentation")
    session.install(".[test,auto]", *servers, *tracers)
    files = (
        *("tests/ecosystem/test_zero_code.py", "tests/ecosystem/test_pytest_plugin.py"),
        "tests/check/test_where_was_it_called_in_programs.py",
        "tests/audit/test_example_service.py",
        "tests/ecosystem/test_processes.py",
    )
    session.run("python", "-m", "pytest", *files)


@nox.session(python=PYTHONS[1])
def examples(session: nox.Session) -> None:
    """Every example, and what type checkers say of a project made of them; none is skipped."""
    session.install(".[test]", "celery", "mypy", "pyright[nodejs]", "ty")
    file = "tests/ecosystem/test_examples.py"
    session.run("python", "-m", "pytest", file, "-rs", *session.posargs)


@nox.session(python=PYTHONS[1], tags=["ci"])
def lint(session: nox.Session) -> None:
    """Style and types."""
    session.install("-e", ".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("pyright")


@nox.session(python=PYTHONS[1])
def coverage(session: nox.Session) -> None:
    """The whole suite with branch coverage; fails below what pyproject.toml asks for."""
    session.install("-e", ".[dev]")  # some tests ask type checkers
    # Without our pytest plugin: pytest would load what it imports before the measuring starts.
    options = ("-p", "no:openai_project_guard", "--cov", "--cov-report=term")
    session.run("python", "-m", "pytest", *options, *session.posargs)


@nox.session(python=PYTHONS[1])
@nox.parametrize("framework", list(FRAMEWORKS))
def frameworks(session: nox.Session, framework: str) -> None:
    """Each framework for real, against the loopback server: the table of docs/frameworks.md."""
    session.install(".", "pytest", *FRAMEWORKS[framework])
    report = session.cache_dir / f"framework-{framework}.jsonl"
    report.unlink(missing_ok=True)
    file = f"tests/frameworks/with_{framework}.py"
    env = {"FRAMEWORKS_REPORT": str(report)}
    session.run("python", "-m", "pytest", file, *session.posargs, env=env)
    session.notify("frameworks_table")


@nox.session(venv_backend="none")
def frameworks_table(session: nox.Session) -> None:
    """Makes what the frameworks' tests saw when they last ran the table of docs/frameworks.md."""
    reports = [session.cache_dir / f"framework-{framework}.jsonl" for framework in FRAMEWORKS]
    found = [str(report) for report in reports if report.exists()]
    session.run("python", "tests/frameworks/table.py", "docs/frameworks.md", *found)


@nox.session(python=PYTHONS[1], tags=["ci"])
def docs(session: nox.Session) -> None:
    """Builds the documentation as a site in site/, without a warning, and reads its YAML.

    The other tests of the documentation need nothing of their own: `tests` runs them.
    """
    session.install("-e", ".[test]", "-r", "docs/requirements.txt")
    session.run("zensical", "build", "--strict", "--clean")
    file = "tests/ecosystem/test_does_the_documentation_hold.py"
    session.run("python", "-m", "pytest", file, "-k", "yaml", *session.posargs)


@nox.session(python=PYTHONS[1])
def bench(session: nox.Session) -> None:
    """What the guard costs, coarsely, and whether an allowed call takes more steps than it did."""
    session.install("-e", ".")
    # 1: a target is missed, which is for a reader to judge; on a busy machine it means little.
    session.run("python", "benchmarks/run.py", "--quick", *session.posargs, success_codes=[0, 1])
    session.run("python", "benchmarks/instructions.py")


@nox.session(python=PYTHONS[1])
def mutants(session: nox.Session) -> None:
    """Which changes of the code no test notices: `nox -s mutants -- _keys _check/ --sample 50`.

    Without arguments some 3,500: a second each, and a minute where one survives. What
    cannot be told from the code is listed with the reason in tests/mutants/equivalent.json.
    `--again OUTPUT` runs those that survived in an earlier output.
    """
    session.install("-e", ".[test]", "cosmic-ray>=8.4,<9")
    session.run("python", "tests/mutants/run.py", *session.posargs)


@nox.session(python=PYTHONS[1])
def flaky(session: nox.Session) -> None:
    """The whole suite 20 times, four tests at once, in another order each time: `-- 5` for five."""
    session.install(".[test]", "pytest-randomly")
    for _ in range(int(session.posargs[0]) if session.posargs else 20):
        session.run("python", "-m", "pytest", "-q", "-n", "4")


@nox.session(python=PYTHONS[1])
def fuzz(session: nox.Session) -> None:
    """Mangled input for whatever reads input: `nox -s fuzz -- --minutes 20 "registry text"`."""
    session.install("-e", ".[test]")
    session.run("python", "tests/fuzz/run.py", *session.posargs)


@nox.session(python=[PYTHONS[1], "3.15"])
def soak(session: nox.Session) -> None:
    """Calls from threads, tasks and forks while all around them changes: `-- --calls 1000000`."""
    session.install("-e", ".[test]")
    session.run("python", "tests/soak/run.py", *session.posargs)
