"""Can a text that somebody sends, writes or answers keep the process busy?

What a user, a file, a server or a header gives may be as long as it likes. Every pattern of the
package is tried with pumped texts, made of what the pattern itself is made of; sixteen times the
length may take no more than 64 times as long, where linear work takes 16 times and quadratic 256.
"""

from __future__ import annotations

import importlib
import itertools
import os
import pkgutil
import re
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import openai_project_guard
from openai_project_guard import Registry, RegistryError
from openai_project_guard._keys import find_key, hint, redact, shown, weakness
from openai_project_guard._registry.file.lines import Lines
from openai_project_guard._registry.file.mistakes import conflicts
from openai_project_guard._registry.file.parse import find_mistakes, parse
from openai_project_guard._registry.file.place import FilePlace

SHORT, LONG = 175, 2_800
TOO_FAST_TO_TELL = 0.004  # seconds
COMMON = [*" \taA0-_.:/@,=#\"'[]{}\n\\…", "sk-", "sess-", "ek_", "://", ":/", "//", "a@"]
UNENDED = '"""a"x\\'
COMMON += ['\\"', UNENDED]  # in them strings begin again and again, and do not end


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(
        openai_project_guard.__path__, openai_project_guard.__name__ + "."
    ):
        if not found.name.endswith("__main__"):
            try:
                yield importlib.import_module(found.name)
            except ImportError as error:
                if "openai_project_guard" in (error.name or ""):
                    raise  # else it is of a package that an extra brings


def patterns() -> dict[str, re.Pattern[Any]]:
    found: dict[str, re.Pattern[Any]] = {}
    for module in modules():
        for name, value in vars(module).items():
            values = value if isinstance(value, (tuple, list)) else (value,)
            for item in values:
                if isinstance(item, re.Pattern):
                    found[f"{module.__name__.partition('.')[2]}.{name}"] = item
    return found


PATTERNS = patterns()


def texts(pattern: str) -> Iterator[tuple[str, str, str]]:
    """What stands in front, what is repeated, and what stands behind."""
    own = [*dict.fromkeys(re.findall(r"[A-Za-z0-9:/@_-]{2,}|[^\\\[\](){}?*+|^$]", pattern))]
    atoms = [*dict.fromkeys([*own, *COMMON])]
    pairs = itertools.product(own[:6], own[:6])
    for atom in [*atoms, *("".join(pair) for pair in pairs)]:
        for before, behind in (("", ""), ("", "\0"), ("".join(own[:1]), "\0")):
            yield before, atom, behind


def seconds(work: Callable[[str], object], text: str) -> float:
    start = time.thread_time()
    work(text)
    return time.thread_time() - start


def assert_linear(work: Callable[[str], object], before: str, atom: str, behind: str) -> None:
    short, long = (before + atom * number + behind for number in (SHORT, LONG))
    if seconds(work, long) < TOO_FAST_TO_TELL:
        return
    assert is_linear(work, short, long), (before, atom, behind)


def is_linear(work: Callable[[str], object], short: str, long: str) -> bool:
    return any(
        seconds(work, long) < 64 * min(seconds(work, short) for _ in range(3)) for _ in range(5)
    )


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_takes_linear_time(name: str) -> None:
    pattern = PATTERNS[name]

    def work(text: str) -> None:
        subject = text if isinstance(pattern.pattern, str) else text.encode()
        pattern.fullmatch(subject)
        pattern.sub(lambda _: subject[:0], subject)

    source = pattern.pattern
    assert_all_linear(work, source if isinstance(source, str) else source.decode("latin-1"))


def parse_text(text: str) -> None:
    with suppress(RegistryError):
        parse(text.encode("utf-8", "surrogatepass"), FilePlace("some.toml"))


WORK: dict[str, Callable[[str], object]] = {
    "redact": redact,
    "find_key": find_key,
    "hint": hint,
    "shown": shown,
    "weakness": weakness,
    "lines": Lines,
    "conflicts": conflicts,
    "parse": parse_text,
}


@pytest.mark.parametrize("name", WORK)
def test_what_handles_foreign_text_takes_linear_time(name: str) -> None:
    assert_all_linear(WORK[name], "sk-proj-://@[x]")


A_FILE = 'version = 1\n[projects.a]\nid = "proj_a"\n'
LONG_FILES: dict[str, Callable[[int], str]] = {
    "merge conflicts": lambda number: "<<<<<<< ours\n" * number,
    "service accounts": lambda number: (
        f"{A_FILE}service_accounts = {[f'user-svc-{n:06}' for n in range(number)]}\n"
    ),
    "service accounts twice": lambda number: (
        f"{A_FILE}service_accounts = {[f'user-svc-{n % number:06}' for n in range(2 * number)]}\n"
    ),
    "keys": lambda number: (
        A_FILE + "keys = [" + '{fingerprint = "sha256:%064x"},' * number % (*range(number),) + "]"
    ),
    "keys that are none": lambda number: f"{A_FILE}keys = [{'7, ' * number}]",
    "projects twice": lambda number: (
        "version = 1\n" + '[projects.p%d]\nid = "proj_a"\n' * number % (*range(number),)
    ),
    "unknown fields": lambda number: A_FILE + "f%d = 1\n" * number % (*range(number),),
    "strings without an end behind a mistake": lambda number: (
        f"{A_FILE}id = 1\nx = {UNENDED * number}"
    ),
}


@pytest.mark.parametrize("kind", LONG_FILES)
def test_a_long_registry_file_takes_linear_time_whatever_is_wrong_with_it(
    kind: str, tmp_path: Path
) -> None:
    def work(text: str) -> None:
        path = tmp_path / "registry.toml"
        path.write_text(text, "utf-8")
        parse_text(text)
        find_mistakes(path)

    short, long = map(LONG_FILES[kind], (250, 4_000))
    assert is_linear(work, short, long)


FINGERPRINTS = [f"sha256:{number:064x}" for number in range(4_000)]
HOW_KEYS_ARE_WRITTEN: dict[str, Callable[[list[str]], str]] = {
    "in one table": lambda keys: (
        f"{A_FILE}keys = [\n" + "".join(f'  {{ fingerprint = "{key}" }},\n' for key in keys) + "]\n"
    ),
    "in upper case, beginning beside the name": lambda keys: (
        f"{A_FILE}keys = ["
        + "\n".join(f"{{fingerprint='sha256:{key[7:].upper()}', note='[x]'}}," for key in keys)
        + "]"
    ),
    "in tables of a few": lambda keys: (
        "version = 1\n"
        + "".join(
            f"[projects.p{number}]\nid = 'proj_{number or 'a'}'\n"
            f"keys = [{{ fingerprint = '{key}' }}]\n"
            for number, key in enumerate(reversed(keys))
        )
    ),
}


def steps(work: Callable[[], object]) -> int:
    """How often functions are called, or go on."""
    number = 0

    def count(*_: object) -> None:
        nonlocal number
        number += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return number


@pytest.mark.parametrize("way", HOW_KEYS_ARE_WRITTEN)
def test_a_key_is_found_in_a_long_file_in_as_many_steps_as_in_a_short_one(
    way: str, tmp_path: Path
) -> None:
    """A refused call names its line, and all other calls of an event loop wait meanwhile."""
    path = tmp_path / "registry.toml"
    place = FilePlace(path)

    def find() -> None:
        assert place.of(key, "proj_a").startswith(f"{path}, line ")

    found = []
    for number in (250, 4_000):
        key = FINGERPRINTS[number - 1]
        text = HOW_KEYS_ARE_WRITTEN[way](FINGERPRINTS[:number])
        path.write_text(text, "utf-8")
        found.append(steps(find))
        assert steps(find) < 30  # it is known now
    assert found[1] <= found[0] + 10


def test_a_file_is_read_once_to_list_all_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "registry.toml"
    text = HOW_KEYS_ARE_WRITTEN["in one table"](FINGERPRINTS[:250])
    path.write_text(text, "utf-8")
    registry = Registry.from_file(path)
    opened = []
    system_open = os.open
    monkeypatch.setattr(os, "open", lambda *of: opened.append(of[0]) or system_open(*of))  # type: ignore[func-returns-value]
    lines = [entry.place.rpartition(" ")[2] for entry in registry]
    assert lines == [str(number + 5) for number in range(250)]
    assert opened == [str(path)]


def memory(text: str) -> int:
    """The most that it takes to say what is wrong with a text, in bytes."""
    tracemalloc.start()
    try:
        parse_text(text)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("opens", "closes"), [("[", "]"), ("{ a = ", "}"), ("[{ a = ", "}]")], ids=["[", "{", "[{"]
)
def test_a_deeply_nested_file_takes_no_more_memory_than_another(opens: str, closes: str) -> None:
    many = "[" + "1," * 10_000 + "]"
    depth = 300 // len(opens.replace(" a = ", ""))
    memory(A_FILE)  # what is imported at first use
    flat, deep = (
        memory(f"{A_FILE}x = {opens * levels}{many}{closes * levels}\n") for levels in (1, depth)
    )
    assert deep < 2 * flat


def test_a_quadratic_pattern_would_be_found() -> None:
    pattern = r"(?<=//)\S*@|(?<=:/)(?!/)\S*:\S*@"
    with pytest.raises(AssertionError):
        assert_all_linear(re.compile(pattern).search, pattern)


def assert_all_linear(work: Callable[[str], object], pattern: str) -> None:
    for case in texts(pattern):
        assert_linear(work, *case)


def test_the_patterns_are_found() -> None:
    assert {"_keys._KEY", "_registry.file.lines._TOKEN", "_env._NAMES"} <= PATTERNS.keys()
