"""A variable that appears after the package was imported, as `load_dotenv()` sets it."""

from __future__ import annotations

import pytest
from support import output, python


@pytest.mark.parametrize("mode", ["enforce", "warn"])
def test_it_is_noticed_when_openai_is_imported(mode: str) -> None:
    said = output(f"""
import os, sys
import openai_project_guard as opg
assert not {{"openai", "wrapt", "pydantic"}} & sys.modules.keys()
os.environ["OPENAI_PROJECT_GUARD"] = {mode!r}
import openai
from openai_project_guard._state import STATE
print(opg.is_enabled(), STATE.settings.policy.mode, type(openai.__spec__.loader).__name__)
""")
    assert said == f"True {mode} SourceFileLoader"


def test_a_wrong_one_fails_the_import_of_openai_each_time() -> None:
    run = python("""
import os
import openai_project_guard
os.environ["OPENAI_PROJECT_GUARD"] = "enforced"
for _ in range(2):
    try:
        import openai
    except ValueError as error:
        print(type(error).__name__)
""")
    assert run.stdout.split() == ["ConfigurationError", "ConfigurationError"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("import openai, openai_project_guard as opg", ""),  # too late: enable() is to be called
        ("import openai_project_guard as opg; opg.disable()", "import openai"),
        ("import os; os.environ[N] = 'off'; import openai_project_guard as opg", "import openai"),
    ],
)
def test_what_was_said_before_stands(before: str, after: str) -> None:
    said = output(f"""
N = "OPENAI_PROJECT_GUARD"
{before}
import os
os.environ[N] = "enforce"
{after}
print(opg.is_enabled())
""")
    assert said == "False"


def test_settings_by_enable_are_kept() -> None:
    said = output("""
import os
import openai_project_guard as opg
opg.enable("warn")
os.environ["OPENAI_PROJECT_GUARD"] = "enforce"
import openai
from openai_project_guard._state import STATE
print(STATE.settings.policy.mode)
""")
    assert said == "warn"


def test_a_process_without_any_variable_has_an_sdk_as_without_the_package() -> None:
    said = output("""
import sys
import openai_project_guard
import openai
print("wrapt" in sys.modules, type(openai.__spec__.loader).__name__, openai.__loader__ is
      openai.__spec__.loader)
""")
    assert said == "False SourceFileLoader True"
