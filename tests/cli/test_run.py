"""`openai-project-guard run`: what does the program notice of it, and what stops it from starting?

Whether its children are guarded, of every kind, is in `ecosystem/test_zero_code.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
import zipapp
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from machine import PATIENCE, REFUSED, ROOT, RUN, Machine
from support import STRANGER, A, B, write_registry

from openai_project_guard._cli.run.program import run_to_end
from openai_project_guard.loopback import loopback_api

pytestmark = pytest.mark.sdk

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such thing")
STARTUP = str(ROOT / "openai_project_guard" / "_startup")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with loopback_api({A: "proj_a", B: "proj_b"}) as api:
        yield Machine(tmp_path, api, "run")


def run(machine: Machine, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`openai-project-guard run` with these arguments."""
    return machine.execute(*RUN, *arguments, **variables)


# --- what the program sees ----------------------------------------------------------------------

LOOK = """
    import json, os, signal, sys
    own = ("PYTHONPATH", "OPENAI_PROJECT_GUARD", "OPENAI_PROJECT_GUARD_REGISTRY", "LC_CTYPE", "_")
    print(json.dumps({
        "path": sys.path,
        "argv": sys.argv,
        "orig_argv": sys.orig_argv[1:],
        "executable": sys.executable,
        "prefix": sys.prefix,
        "flags": str(sys.flags),
        "main": [__name__, globals().get("__file__"), __package__],
        "directory": os.getcwd(),
        "environment": {k: v for k, v in os.environ.items() if k not in own},
        "hooks": len(sys.path_hooks),
        "is_cached": any(path.endswith("_startup") for path in sys.path_importer_cache),
        "signals": [str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)],
        "input": sys.stdin.read(),
        "modules": sorted(sys.modules),
        "finders": [type(finder).__name__ for finder in sys.meta_path],
    }))
"""


def seen_by(machine: Machine, *command: str, **variables: str) -> tuple[dict[str, Any], list[Any]]:
    """What a program sees with `run` and without it, apart from modules and finders; these too."""
    seen, rest = [], []
    for before in (RUN + ("--",), ()):  # noqa: RUF005
        done = machine.execute(*before, *command, stdin="some\ninput\n", **variables)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        look = json.loads(done.stdout)
        rest.append((set(look.pop("modules")), look.pop("finders")))
        seen.append(look)
    assert seen[0] == seen[1]
    return seen[0], rest


def test_a_program_sees_what_it_sees_without_us(machine: Machine) -> None:
    machine.write("app.py", LOOK)
    machine.write("package/__init__.py", "")
    machine.write("package/__main__.py", LOOK)
    zipapp.create_archive(machine.directory / "package", machine.directory / "app.pyz")
    look = [line.strip() for line in LOOK.splitlines()]
    seen = [
        seen_by(machine, sys.executable, *arguments)
        for arguments in (
            ("app.py", "-x", "--", "--mode", "some mode"),
            ("-m", "package", "--project"),
            ("-X", "dev", "-c", "\n".join(look), "-m", "some"),
            ("app.pyz", "argument"),
            ("package",),
        )
    ]
    here = machine.directory.name
    firsts = [Path(look["path"][0]).name for look, _ in seen]
    assert firsts == [here, here, "", "app.pyz", "package"]
    for _, ((modules, finders), (modules_without, finders_without)) in seen:
        assert modules - modules_without <= {"sitecustomize"}  # Debian has one of its own
        assert modules_without <= modules
        assert finders[:1] == ["Finder"]
        assert finders[1:] == finders_without


@pytest.mark.parametrize("python_path", [None, "", "some", f"{os.pathsep}some{os.pathsep}"])
def test_the_programs_own_python_path_is_kept(machine: Machine, python_path: str | None) -> None:
    machine.write("app.py", LOOK)
    variables = {"PYTHONPATH": python_path} if python_path is not None else {}
    if python_path is None:
        del machine.environment["PYTHONPATH"]
    installed = subprocess.run(
        [sys.executable, "-c", "import openai_project_guard"],
        cwd=machine.directory,
        env={**machine.environment, "PYTHONPATH": ""},
        check=False,
        capture_output=True,
    )
    if installed.returncode:
        pytest.skip("the package is not installed")
    seen_by(machine, sys.executable, "app.py", **variables)
    told = run(machine, "--", "-c", "import os; print(os.environ['PYTHONPATH'])", **variables)
    expected = [STARTUP, *(python_path.split(os.pathsep) if python_path else ())]
    assert [Path(entry).name for entry in told.stdout.strip().split(os.pathsep)] == [
        Path(entry).name for entry in expected
    ]


@POSIX
def test_a_console_script(machine: Machine) -> None:
    script = machine.write("bin/tool", f"#!{sys.executable}\n{'import json, os'}\n")
    script.write_text(script.read_text() + "\n".join(line[4:] for line in LOOK.splitlines()))
    script.chmod(0o755)
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    look, _ = seen_by(machine, "tool", "--argument", PATH=path)
    assert look["argv"] == [str(script), "--argument"]


def test_nothing_of_ours_is_imported_before_openai_is(machine: Machine) -> None:
    """To ask whether `openai` is installed, as many libraries do, imports nothing either."""
    machine.write(
        "app.py",
        """
        import sys
        from importlib.util import find_spec

        def loaded():
            return sorted({"openai_project_guard", "wrapt", "openai"} & set(sys.modules))

        print(loaded())
        spec = find_spec("openai")
        print(loaded(), spec.origin.endswith("__init__.py"), spec.loader.name)
        import openai
        print(loaded(), type(openai.__loader__).__name__, openai.__spec__.loader.name)
        assert type(openai.__loader__) is type(openai.__spec__.loader)
        import openai_project_guard
        print(openai_project_guard.is_enabled())
        """,
    )
    seen = machine.output("app.py").splitlines()
    assert seen == [
        "[]",
        "[] True openai",
        "['openai', 'openai_project_guard', 'wrapt'] SourceFileLoader openai",
        "True",
    ]


def test_an_import_that_is_put_off_is_guarded_too(machine: Machine) -> None:
    machine.write(
        "app.py",
        """
        import sys
        from importlib.util import LazyLoader, find_spec, module_from_spec

        spec = find_spec("openai")
        spec.loader = LazyLoader(spec.loader)
        lazy = spec.loader
        sys.modules["openai"] = module_from_spec(spec)
        lazy.exec_module(sys.modules["openai"])
        from application import call
        print(call("proj_a"), call("proj_b"))
        """,
    )
    assert machine.output("app.py").split() == ["answered", REFUSED]


def test_a_program_that_sets_the_guard_up_by_itself_has_its_way(machine: Machine) -> None:
    machine.write(
        "app.py",
        """
        import openai_project_guard as opg
        assert opg.is_enabled()
        opg.disable()
        from application import call
        print(opg.is_enabled(), call("proj_b"))
        """,
    )
    assert machine.output("app.py").split() == ["False", "AuthenticationError"]


@pytest.mark.parametrize(
    ("program", "says_it"),
    [
        ("from application import call; print(call('proj_b'))", True),
        ("import openai_project_guard; from application import call; print(call('proj_b'))", True),
        ("print('no call')", False),
        ("import openai_project_guard as g; g.disable(); import openai", False),
        ("import openai_project_guard as g; g.enable(); import openai", False),
    ],
)
def test_a_child_that_lost_the_variable_says_so_when_it_imports_openai(
    machine: Machine, program: str, says_it: bool
) -> None:
    machine.write(
        "app.py",
        f"""
        import os, subprocess, sys
        names = [name for name in os.environ if not name.startswith("OPENAI_PROJECT_GUARD")]
        picked = {{name: os.environ[name] for name in names}}
        subprocess.run([sys.executable, "-c", {program!r}], env=picked, check=True)
        """,
    )
    done = run(machine, "--", sys.executable, "app.py")
    assert done.returncode == 0, done.stderr
    said = "but OPENAI_PROJECT_GUARD was taken out of this process's environment: calls are not"
    assert done.stderr.count(said) == done.stderr.count("\n") == says_it
    assert "AuthenticationError" in done.stdout or "call(" not in program  # it was not checked


# --- start-up modules of others -----------------------------------------------------------------

OWN = """
    import sys
    sys.path.insert(0, "/somewhere")
    sys.stderr.write("own start-up\\n")
    if "fail" in sys.argv:
        raise RuntimeError("on purpose")
    if sys.argv[0] == "-c" and "import" in sys.argv:  # not in the process of `run` itself
        from application import call
        sys.stderr.write(call("proj_b"))
"""


def test_the_programs_own_sitecustomize_runs_as_without_us(machine: Machine) -> None:
    machine.write("own/sitecustomize.py", OWN)
    code = "import sys; print(sys.modules.get('sitecustomize'), sys.path)"
    path = os.pathsep.join([str(machine.directory / "own"), str(machine.directory), str(ROOT)])
    for argument in ("", "fail"):
        with_us, without = (
            machine.execute(*before, sys.executable, "-c", code, argument, PYTHONPATH=path)
            for before in ((*RUN, "--"), ())
        )
        # It runs in the process of `run`, too, as it would in every Python.
        assert with_us.stderr == without.stderr * 2
        assert "own start-up" in without.stderr
        assert ("on purpose" in without.stderr) is bool(argument)
        if argument:
            assert without.stdout.startswith("None")
        else:
            assert "sitecustomize.py" in without.stdout
        assert with_us.stdout == without.stdout
    guarded = machine.python("-c", "pass", "import", PYTHONPATH=path)
    assert guarded.stderr.splitlines()[-1].endswith(REFUSED), guarded.stderr
    assert machine.api.ledger == ()


AROUND_EACH_FINDER = """
class Around:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, *arguments):
        return self.finder.find_spec(*arguments)
    def __getattr__(self, name):
        return getattr(self.finder, name)

finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
sys.meta_path[:] = map(Around, finders)
"""
KEEPING_WHAT_IS_FOUND = AROUND_EACH_FINDER.replace(
    "        return self.finder.find_spec(*arguments)",
    """        name = arguments[0]
        if name not in vars(self):
            vars(self)[name] = self.finder.find_spec(*arguments)
        return vars(self)[name]""",
)
AROUND_EACH_LOADER = """
class Timed(importlib.abc.Loader):  # its create_module() makes a plain module
    def __init__(self, inner):
        self.inner = inner
    def exec_module(self, module):
        self.inner.exec_module(module)

class Tool:
    def find_spec(self, name, path=None, target=None):
        if name != "openai":
            return None
        for finder in sys.meta_path[sys.meta_path.index(self) + 1:]:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                spec.loader = Timed(spec.loader)
                return spec

sys.meta_path.insert(0, Tool())
"""


IN_EACH_WAY = pytest.mark.parametrize("how", ["run", "imported", "imported, and set later"])


def call_beside(machine: Machine, how: str, tool: str, *, then: str = "") -> list[str]:
    """What a wrong call ends as, beside a tool that the program brings, and what is printed then.

    The guard comes in one of these ways. Where nothing but its import brings it, it is off.
    """
    first = "" if how == "run" else "import openai_project_guard"
    later = "os.environ['OPENAI_PROJECT_GUARD'] = 'enforce'" if how.endswith("later") else ""
    head = "import importlib.abc, importlib.util, os, sys"
    last = "from application import call\nprint(call('proj_b'))"
    machine.write("tool.py", "\n".join([head, first, tool, later, last, then]))
    before = (*RUN, "--") if how == "run" else ()
    done = machine.execute(*before, sys.executable, "tool.py", PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def ends_as(how: str) -> str:
    return "AuthenticationError" if how == "imported" else REFUSED


@pytest.mark.parametrize(
    "tool", [AROUND_EACH_FINDER, KEEPING_WHAT_IS_FOUND, AROUND_EACH_LOADER], ids=range(3)
)
@IN_EACH_WAY
def test_a_tool_may_stand_around_finders_or_loaders(machine: Machine, tool: str, how: str) -> None:
    """As one does that measures imports."""
    assert call_beside(machine, how, tool) == [ends_as(how)]


@IN_EACH_WAY
@pytest.mark.parametrize("makes_it", ["by itself", "as the loader inside does"])
def test_what_a_tool_does_at_an_import_is_done_once(
    machine: Machine, how: str, makes_it: str
) -> None:
    tool = f"""
class Timed(importlib.abc.Loader):
    def __init__(self, inner):
        self.inner = inner
    def create_module(self, spec):
        return {"None" if makes_it == "by itself" else "self.inner.create_module(spec)"}
    def exec_module(self, module):
        self.inner.exec_module(module)
        ran.append(module.__name__)

class Once:
    def find_spec(self, name, path=None, target=None):
        if name == "openai":
            sys.meta_path.remove(self)
            spec = importlib.util.find_spec(name)
            spec.loader = Timed(spec.loader)
            return spec

ran = []
sys.meta_path.insert(0, Once())
"""
    then = """
import openai
assert type(openai.__loader__) is type(openai.__spec__.loader) is Timed
assert sys.modules["openai"] is openai
print(*ran)
"""
    assert call_beside(machine, how, tool, then=then) == [ends_as(how), "openai"]


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_spec_can_be_copied_and_the_module_has_its_own_loader(
    machine: Machine, is_kept: bool
) -> None:
    machine.write(
        "copied.py",
        f"""
        import copy, importlib.util, sys
        from importlib.machinery import SourceFileLoader
        spec = copy.deepcopy(importlib.util.find_spec("openai"))
        if {is_kept}:
            openai = importlib.util.module_from_spec(spec)
            sys.modules["openai"] = openai
            spec.loader.exec_module(openai)
        else:
            import openai
        assert type(openai.__loader__) is type(openai.__spec__.loader) is SourceFileLoader
        from application import call
        print(call("proj_b"))
        """,
    )
    assert machine.output("copied.py").split() == [REFUSED]


def test_run_within_run(machine: Machine) -> None:
    done = machine.execute(*RUN, "--", *RUN, "--mode", "warn", "--", "application.py", "proj_b")
    assert done.stdout.split() == ["AuthenticationError"]  # the inner one says warn
    nested = machine.execute(
        *RUN, "--", *RUN, "--", "-c", "import os; print(os.environ['PYTHONPATH'])"
    )
    assert nested.stdout.count(STARTUP) == 1


# --- the process --------------------------------------------------------------------------------


def test_the_exit_status_is_the_programs(machine: Machine) -> None:
    for code, status in (("pass", 0), ("raise SystemExit(7)", 7), ("1/0", 1)):
        assert run(machine, "--", "-c", code).returncode == status
    assert run(machine, "--", "missing.py").returncode == 2  # as Python says it


@POSIX
def test_signals_reach_the_program_itself(machine: Machine) -> None:
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "print(os.getpid(), flush=True)\n"
        "while True: time.sleep(0.1)"
    )
    for number, status in ((signal.SIGTERM, 5), (signal.SIGKILL, -signal.SIGKILL)):
        with subprocess.Popen(
            [*RUN, "--", "-c", code], env=machine.environment, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert int(process.stdout.readline()) == process.pid
            process.send_signal(number)
            assert process.wait(PATIENCE) == status


@POSIX
def test_a_signal_that_python_ignores_is_not_ignored_by_the_program(machine: Machine) -> None:
    assert run(machine, "--", "sh", "-c", "kill -PIPE $$").returncode == -signal.SIGPIPE


def test_where_a_process_cannot_become_another_it_stays_beside_it(tmp_path: Path) -> None:
    """As on Windows."""
    before = signal.getsignal(signal.SIGINT)
    assert run_to_end([sys.executable, "-c", "raise SystemExit(9)"]) == 9
    assert signal.getsignal(signal.SIGINT) is before


# --- settings -----------------------------------------------------------------------------------


def test_the_options(machine: Machine) -> None:
    del machine.environment["OPENAI_PROJECT_GUARD_KEYS"]
    write_registry(machine.directory / "keys.toml", a=f"proj_a:{A}", b=f"proj_b:{B}")
    call = "from application import call; print(call({project}))"

    def answer(*options: str, project: str = "'proj_b'", **variables: str) -> str:
        done = run(machine, *options, "--", "-c", call.format(project=project), **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    registry = ("--registry", "keys.toml")
    assert answer(*registry) == REFUSED
    assert answer(*registry, project="'proj_a'") == "answered"
    assert answer(*registry, "--project", "b", project="'proj_a'") == "ProjectScopeError"
    assert answer(*registry, "--mode", "enforce", project="None") == "ProjectMissingError"
    assert answer(*registry, "--mode", "inject", project="None") == "answered"
    assert machine.api.ledger[-1].project_header == "proj_a"
    assert answer(*registry, "--mode", "warn") == "AuthenticationError"
    assert answer(*registry, "--mode", "off") == "AuthenticationError"
    # An option beats the environment, which beats the default; off, set by hand, is off.
    assert answer(*registry, OPENAI_PROJECT_GUARD="off") == "AuthenticationError"
    assert answer(*registry, OPENAI_PROJECT_GUARD="") == REFUSED
    assert answer(*registry, "--mode", "enforce", OPENAI_PROJECT_GUARD="off") == REFUSED
    assert answer(OPENAI_PROJECT_GUARD_REGISTRY="keys.toml") == REFUSED
    # A file says what the environment does not, and an option beats it.
    machine.write(".env", 'OPENAI_PROJECT_GUARD_REGISTRY="keys.toml"\nOPENAI_PROJECT_GUARD=warn\n')
    assert answer("--env-file", ".env") == "AuthenticationError"
    assert answer("--env-file", ".env", "--mode", "enforce") == REFUSED


@pytest.mark.parametrize(
    ("library", "ask"),
    [
        ("aiohttp", "asyncio.run(ask(headers))"),
        ("httpx", "httpx.get(url, headers=headers).status_code"),
        ("httpx2", "httpx2.get(url, headers=headers).status_code"),
        ("requests", "requests.get(url, headers=headers).status_code"),
        ("urllib3", "urllib3.PoolManager().request('GET', url, headers=headers).status"),
    ],
)
def test_scope_process_reaches_a_program_without_openai(
    machine: Machine, library: str, ask: str
) -> None:
    pytest.importorskip(library)
    machine.write(
        "app.py",
        f"""
        import asyncio, os, {library}
        url = os.environ["OPENAI_BASE_URL"] + "/models"
        async def ask(headers):
            async with aiohttp.ClientSession() as session:
                async with session.get(url, headers=headers) as answer:
                    return answer.status
        key = "Bearer " + os.environ["SOME_KEY"]
        for project in ("proj_a", "proj_b"):
            try:
                headers = {{"Authorization": key, "OpenAI-Project": project}}
                print({ask})
            except Exception as error:
                print(type(error).__name__)
        """,
    )
    command = ("--", sys.executable, "app.py")
    assert run(machine, "--scope", "process", *command).stdout.split() == ["200", REFUSED]
    assert [line.project_header for line in machine.api.ledger] == ["proj_a"]
    assert run(machine, *command).stdout.split() == ["200", "401"]


@pytest.mark.parametrize("is_named", [True, False])
def test_a_child_in_another_directory_finds_the_registry(machine: Machine, is_named: bool) -> None:
    del machine.environment["OPENAI_PROJECT_GUARD_KEYS"]
    path = "config/keys.toml" if is_named else "openai-projects.toml"
    write_registry(machine.directory / path, a=f"proj_a:{A}")
    (machine.directory / "elsewhere").mkdir()
    code = (
        "import os, sys; os.chdir('elsewhere'); sys.path.append('..');"
        "from application import call; print(call('proj_a'), call('proj_b'))"
    )
    options = ("--registry", path) if is_named else ()
    assert run(machine, *options, "--", "-c", code).stdout.split() == ["answered", REFUSED]


URL = "redis://svc:not-a-real-password@127.0.0.1:1/0"
BROKEN = {"OPENAI_PROJECT_GUARD": "off", "OPENAI_PROJECT_GUARD_REGISTRY": "none.toml"}


def test_the_audit_folder_is_absolute(machine: Machine) -> None:
    code = "import os; print(os.environ['OPENAI_PROJECT_GUARD_AUDIT'])"
    done = run(machine, "--audit", "seen", "--", "-c", code)
    assert done.stdout.strip() == str(machine.directory / "seen")


@pytest.mark.parametrize(
    ("options", "variables", "said"),
    [
        (["--audit", URL], {}, "error: --audit is 'redis://…@127.0.0.1:1/0', a URL"),
        (["--audit", "redis:/svc:not-a-real-password@h/0"], {}, "'redis:/…@h/0', a URL"),
        ([], {"OPENAI_PROJECT_GUARD_OVERRIDE": "enforce", **BROKEN}, "none.toml"),
        (["--registry", "none.toml"], {}, "none.toml: there is no such file"),
        (["--registry", "bad.toml"], {}, "bad.toml"),
        ([], {"OPENAI_PROJECT_GUARD": "enforced"}, "OPENAI_PROJECT_GUARD is 'enforced'"),
        ([], {"OPENAI_PROJECT_GUARD_KEYS": "nonsense"}, "OPENAI_PROJECT_GUARD_KEYS"),
        ([], {"OPENAI_PROJECT_GUARD_HOSTS": "a b"}, "OPENAI_PROJECT_GUARD_HOSTS"),
        (["--project", "nobody"], {}, "error: --project 'nobody' is neither a project id"),
        (["--mode", "enforced"], {}, "--mode"),
        (["--env-file", "none.env"], {}, "none.env"),
        (["--no-such-option"], {}, "--no-such-option"),
    ],
)
def test_a_wrong_setting_stops_before_the_program_starts(
    machine: Machine, options: list[str], variables: dict[str, str], said: str
) -> None:
    machine.write("bad.toml", "version = 1\n<<<<<<< HEAD\n")
    done = run(machine, *options, "--", "-c", "print('started')", **variables)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "not-a-real-password" not in done.stderr
    assert not list(machine.directory.rglob("*not-a-real-password*"))


def test_in_warn_a_registry_that_cannot_be_read_is_told_of_once(machine: Machine) -> None:
    """By the program, whose logging may be set up to keep it; and not where it makes no call."""
    machine.write("bad.toml", "nonsense")
    for program, times in (("import openai", 1), ("pass", 0)):
        done = run(machine, "--mode", "warn", "--registry", "bad.toml", "--", "-c", program)
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr.count("this is not TOML") == times


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([], "Name a command after --"),
        (["--"], "Name a command after --"),
        (["--", "pyhton"], "There is no command 'pyhton' on PATH. Did you mean python?"),
        (["--", "./data.txt"], "It is a file that is not executable"),
        (["--", "-I", "app.py"], "Python's option -I ignores PYTHONPATH"),
        (["--", sys.executable, "-X", "dev", "-bE", "app.py"], "option -E ignores PYTHONPATH"),
        (["--", sys.executable, "--check-hash-based-pycs", "never", "-I", "app.py"], "option -I"),
        (["--", sys.executable, "-Sc", "pass"], "option -S ignores sitecustomize, by which"),
    ],
)
def test_a_command_that_cannot_run_or_would_run_unguarded(
    machine: Machine, command: list[str], said: str
) -> None:
    machine.write("data.txt", "")
    done = run(machine, *command)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["-I", "-E", "-S"])
def test_an_isolated_program_is_guarded_as_the_refusal_advises(
    option: str, machine: Machine
) -> None:
    machine.write(
        "isolated.py",
        f"""
        import sys
        sys.path[:] = {sys.path!r}
        import openai_project_guard
        sys.path.append({str(machine.directory)!r})
        from application import call
        print(call("proj_a"), call("proj_b"))
        """,
    )
    advised = " ".join(run(machine, "--", sys.executable, option, "isolated.py").stderr.split())
    assert "start it without `run` and with OPENAI_PROJECT_GUARD=enforce set." in advised
    command = (sys.executable, option, "isolated.py")
    unguarded = machine.execute(*command)
    assert unguarded.stdout.split() == ["answered", "AuthenticationError"], unguarded.stderr
    guarded = machine.execute(*command, OPENAI_PROJECT_GUARD="enforce")
    assert guarded.stdout.split() == ["answered", REFUSED], guarded.stderr


@pytest.mark.skipif(os.name == "nt", reason="symbolic links are for administrators there")
@pytest.mark.parametrize("name", ["python3.13t", "python3d", "python3.12-dbg", "pythonw", "pypy3"])
def test_a_python_by_whatever_name_is_not_to_run_unguarded(machine: Machine, name: str) -> None:
    (machine.directory / name).symlink_to(sys.executable)
    done = run(machine, "--", f"./{name}", "-I", "-c", "pass")
    assert done.returncode == 2
    assert "option -I ignores PYTHONPATH" in done.stderr


def test_options_of_the_program_are_its_own(machine: Machine) -> None:
    done = run(machine, "--", "-W", "ignore", "-c", "import sys; print(sys.argv)", "-I", "-S", "-E")
    assert done.stdout.strip() == "['-c', '-I', '-S', '-E']"
    # Also a key: it is not ours to refuse. Before the command it is.
    code = "import sys; print(len(sys.argv))"
    assert run(machine, "--", "-c", code, "--key", STRANGER).stdout.strip() == "3"
    refused = run(machine, "--project", STRANGER, "--", "-c", code)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert STRANGER not in refused.stderr


def test_the_separator_may_be_left_out(machine: Machine) -> None:
    done = run(
        machine, "--mode", "warn", sys.executable, "-c", "import sys; print(sys.argv)", "--x"
    )
    assert done.stdout.strip() == "['-c', '--x']"


# --- what cannot be guarded does not run --------------------------------------------------------


def test_what_goes_wrong_later_fails_the_import_of_openai_and_nothing_else(
    machine: Machine,
) -> None:
    del machine.environment["OPENAI_PROJECT_GUARD_KEYS"]
    write_registry(machine.directory / "keys.toml", a=f"proj_a:{A}")
    machine.write(
        "app.py",
        """
        import os, sys
        os.remove("keys.toml")
        print("running")
        for attempt in ("import openai", "from openai import OpenAI", "import openai.types"):
            try:
                exec(attempt)
            except Exception as error:
                print(type(error).__name__, error)
        assert not [name for name in sys.modules if name.split(".")[0] == "openai"]
        """,
    )
    done = run(machine, "--registry", "keys.toml", "--", sys.executable, "app.py")
    assert done.returncode == 0, done.stderr
    first, *attempts = done.stdout.splitlines()
    assert first == "running"
    assert len(attempts) == 3
    for attempt in attempts:
        assert attempt.startswith("RegistryError")
        assert "keys.toml" in attempt


def test_a_python_without_the_package_does_not_import_openai(machine: Machine) -> None:
    folder = machine.directory / "bare"
    venv.create(folder, symlinks=os.name != "nt")
    python = shutil.which("python", path=str(folder / Path(sysconfig.get_path("scripts")).name))
    assert python is not None
    machine.write("lib/openai/__init__.py", "print('imported')")
    command = ("--", python, "-c", "print('running'); import openai")
    done = run(machine, *command, PYTHONPATH=str(machine.directory / "lib"))
    if "No module named openai_project_guard" in done.stderr.splitlines()[0]:
        pytest.skip("the package is not installed")
    assert done.stdout.split() == ["running"]
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert error.startswith("RuntimeError: openai-project-guard cannot be imported by ")
    assert "Install openai-project-guard in that environment too." in error


def test_an_openai_that_a_start_up_file_has_imported_is_guarded_too(machine: Machine) -> None:
    """Or the process ends: `site` would report the error and go on."""
    script = machine.write(
        "app.py",
        """
        import runpy, sys
        from application import call
        sys.argv[0] = ""
        runpy.run_path(sys.argv[1], run_name="sitecustomize")
        print(call("proj_b"))
        """,
    )
    startup = str(Path(STARTUP, "sitecustomize.py"))
    variables = {"OPENAI_PROJECT_GUARD": "enforce", "PYTHONPATH": str(ROOT)}
    done = machine.execute(sys.executable, str(script), startup, **variables)
    assert done.stdout.strip() == REFUSED, done.stderr
    variables["OPENAI_PROJECT_GUARD_KEYS"] = "nonsense"
    done = machine.execute(sys.executable, str(script), startup, **variables)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("openai-project-guard: error: ")


@POSIX
def test_a_package_that_python_path_cannot_name_is_refused(machine: Machine) -> None:
    """In a folder with a colon, or in an archive: what counts is whether Python finds it there."""
    folder = machine.directory / "with:colon"
    shutil.copytree(ROOT / "openai_project_guard", folder / "openai_project_guard")
    start = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        "from openai_project_guard._cli import main\n"
        "raise SystemExit(main(['run', '--', '-c', 'print(1)']))"
    )
    done = machine.execute(sys.executable, "-c", start)
    assert (done.returncode, done.stdout) == (2, "")
    assert "PYTHONPATH cannot name" in done.stderr
    archive = shutil.make_archive(str(machine.directory / "zipped"), "zip", folder)
    command = ("--", "application.py", "proj_a", "proj_b")
    done = machine.execute(*RUN, *command, PYTHONPATH=archive)
    assert done.stdout.split() == ["answered", REFUSED], done.stderr
