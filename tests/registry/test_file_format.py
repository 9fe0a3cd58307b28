"""What does a registry file say, and does an error lead me to the spot that is wrong?"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from openai_project_guard import Registry, RegistryError
from openai_project_guard._registry.file.lines import Lines
from openai_project_guard._registry.file.parse import read
from openai_project_guard._registry.model import KeyRecord
from openai_project_guard._registry.stores import add

CANARY = "sk-proj-CANARYcanary0123456789CANARYcanaryAb3d"
NAME = "openai-projects.toml"


def fingerprint(key: str) -> str:
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


A, B = fingerprint("a"), fingerprint("b")
BOT = "proj_5fPqTn0w"


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str | bytes) -> None:
    Path(NAME).write_bytes(text if isinstance(text, bytes) else text.encode())


def error_of(text: str | bytes) -> str:
    write(text)
    with pytest.raises(RegistryError) as caught:
        read(NAME)
    assert_shows_nothing(caught.value)
    return str(caught.value)


def assert_shows_nothing(error: BaseException, secret: str = "CANARY") -> None:
    """Neither the error nor a frame of ours, nor what led to the error, holds the key."""
    chain: BaseException | None = error
    while chain is not None:
        assert secret not in str(chain)
        assert secret not in repr(vars(chain))
        trace = chain.__traceback__
        while trace is not None:
            if trace.tb_frame.f_globals["__name__"].startswith("openai_project_guard"):
                assert secret not in repr(trace.tb_frame.f_locals)
            trace = trace.tb_next
        chain = chain.__cause__ or chain.__context__


GOOD = f"""\
version = 1

[projects.support-bot]                 # the alias
id = "proj_5fPqTn0w"
organization = "org-Jx1c"              # optional
service_accounts = ["user-svc-01"]
keys = [
  {{ fingerprint = "{A}", hint = "sk-proj-…Ab3d", note = "CI runner" }},
  {{ fingerprint = "{B.upper().replace("SHA", "sha")}" }},
]

[projects.proj_search]
id = "proj_search"
keys = [{{ fingerprint = "{A}" }}]
"""


def test_a_file_says_what_the_contract_shows() -> None:
    write(GOOD)
    entries = list(Registry.from_file(NAME))
    assert [
        (e.fingerprint, e.project, e.alias, e.organization, e.hint, e.note) for e in entries
    ] == [
        (A, "proj_5fPqTn0w", "support-bot", "org-Jx1c", "sk-proj-…Ab3d", "CI runner"),
        (A, "proj_search", None, None, "", None),
        (B, "proj_5fPqTn0w", "support-bot", "org-Jx1c", "", None),
    ]
    snapshot = read(NAME)
    assert snapshot.accounts["user-svc-01"][0].project.id == "proj_5fPqTn0w"
    assert set(snapshot.projects) == {"support-bot", "proj_5fPqTn0w", "proj_search"}


def test_one_key_may_stand_under_several_projects() -> None:
    write(GOOD)
    assert [entry.project for entry in Registry.from_file(NAME).lookup("a")] == [
        "proj_5fPqTn0w",
        "proj_search",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "version = 1\n",
        "version = 1\n[projects]\n",
        '\ufeffversion = 1\r\n[projects.a]\r\nid = "proj_a"\r\n',
        'version = 1\n[projects.sk-learn-recommendations]\nid = "proj_a"\nkeys = []\n',
    ],
    ids=["no projects", "empty projects", "from Windows", "an alias that begins like a key"],
)
def test_these_are_in_order_too(text: str) -> None:
    write(text)
    assert len(Registry.from_file(Path(NAME))) == 0


def test_an_entry_knows_its_line_when_asked() -> None:
    write(GOOD)
    snapshot = read(NAME)
    record = snapshot.keys[hashlib.sha256(b"b").digest()]
    assert isinstance(record, KeyRecord)
    place = record.project.place
    assert snapshot.projects["proj_search"].place is place
    assert place.of(A, "proj_search") == f"{NAME}, line 14"
    assert place.of(B, BOT) == f"{NAME}, line 9"
    assert place.of("user-svc-01", BOT) == f"{NAME}, line 6"
    write("# a line more\n" + GOOD)
    assert place.of(B, BOT) == f"{NAME}, line 10"
    write(f'# "{B}"\n# "user-svc-01"\n')
    assert place.of(B, BOT) == place.of("user-svc-01", BOT) == NAME
    os.unlink(NAME)
    assert place.of(B, BOT) == place.of("user-svc-01", BOT) == NAME


KEY = f'{{ fingerprint = "{A}" }}'
LAYOUTS = {
    "keys before the id": (
        f'[projects.a]\nid = "proj_a"\nkeys = [{KEY}]\n'
        f'[projects.b]\nkeys = [{KEY}]\nid = "proj_b"\n',
        (4, 6),
    ),
    "an id in a comment": (
        f'[projects.a]\nid = "proj_a"  # not "proj_b"\nkeys = [{KEY}]\n'
        f'[projects.b]\nid = "proj_b"\nkeys = [{KEY}]\n',
        (4, 7),
    ),
    "an entry in a comment": (
        f'[projects.a]\nid = "proj_a"\nkeys = [ # was {KEY}\n]\n'
        f'[projects.b]\nid = "proj_b"\nkeys = [\n  {KEY}\n]\n',
        (None, 9),
    ),
    "an entry in a note": (
        f"[projects.a]\nid = \"proj_a\"\nkeys = [{{ note = '{A}', fingerprint = '{B}' }}]\n"
        f"[projects.b]\nid = 'proj_b'\nkeys = [ {{ note = '{A}', fingerprint = '{B}' }},\n"
        f"{KEY}]",
        (None, 8),
    ),
    "tables in braces": (
        f"projects = {{ a = {{ keys = [\n{KEY}], id = 'proj_a' }}, b = {{ id = 'proj_b', keys = [\n"
        f"{KEY}] }} }}\n",
        (3, 4),
    ),
    "names in dots": (
        f"projects.a.keys = [{KEY}]\nprojects.b.id = 'proj_b'\n"
        f'projects.b.keys = [{{ "fingerprint" = "{A[:-1]}\\u0062" }}]\nprojects.a.id = "proj_a"\n',
        (2, 4),
    ),
    "tables for the keys": (
        f"[[projects.a.keys]]\nfingerprint = '{A}'\n[[projects.b.keys]]\nfingerprint = '{B}'\n"
        f"[[projects.b.keys]]\nfingerprint = '{A}'\n[projects.b]\nid = 'proj_b'\n[projects.a]\n"
        "id = 'proj_a'\n",
        (3, 7),
    ),
    "lines from Windows": (
        f'[projects.a]\r\nid = "proj_a"\r\nkeys = [\r\n  {{ fingerprint = "{B}" }},\r\n  {KEY}\r\n]'
        f'\r\n[projects.b]\r\nid = "proj_b"\r\nkeys = [{KEY}]\r\n',
        (6, 10),
    ),
    "indented tables": (
        f'[projects.a]\nid = "proj_a"\nkeys = [\n{{ fingerprint = "{B}" }},\n]\n'
        f'  [projects.b]\n  id = "proj_b"\n  keys = [\n  {KEY},\n  ]\n',
        (None, 10),
    ),
    "a table in a note": (
        f"[projects.a]\nid = 'proj_a'\nkeys = [{{ fingerprint = '{B}', note = '''\n"
        f"[projects.b]\nid = 'proj_b'\nkeys = [\n{KEY}\n''' }}]\n"
        f"[projects.b]\nid = 'proj_b'\nkeys = [\n{KEY}\n]\n",
        (None, 13),
    ),
    "a key of many projects": (
        "".join(f'[projects.p{n}]\nid = "proj_{n}"\nkeys = [{KEY}]\n' for n in range(150))
        + f'[projects.a]\nid = "proj_a"\nkeys = [{KEY}]\n[projects.b]\nid = "proj_b"\n'
        f"keys = [{KEY}]\n",
        (454, 457),
    ),
}


@pytest.mark.parametrize(("text", "lines"), LAYOUTS.values(), ids=LAYOUTS)
def test_an_entry_knows_its_line_in_every_layout(text: str, lines: tuple[int | None, int]) -> None:
    text = text.replace(A[:-1] + "\\u0062", A[:-1] + f"\\u{ord(A[-1]):04x}")
    write(f"version = 1\n{text}")
    for is_listed in (False, True):
        for project_id, line in zip(("proj_a", "proj_b"), lines, strict=True):
            place = read(NAME).projects["a"].place  # which knows no line yet
            found = place.of(A, project_id, is_listed=is_listed)
            assert found == (f"{NAME}, line {line}" if line else NAME)


def test_a_refused_addition_names_the_line_of_the_entry_not_of_a_comment() -> None:
    text, (_, line) = LAYOUTS["an entry in a comment"]
    write(f"version = 1\n{text}")
    with pytest.raises(RegistryError, match=f"^{NAME}, line {line}: the key .* project b already"):
        add(NAME, "proj_c", A)


def test_an_entry_knows_its_line_in_front_of_a_mistake() -> None:
    write(GOOD)
    place = read(NAME).projects["support-bot"].place
    write(GOOD + "\n<<<<<<< HEAD\nthis is no TOML\n")
    assert place.of(B, BOT) == f"{NAME}, line 9"


def test_an_entry_knows_its_line_after_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(GOOD)
    place = read(NAME).projects["support-bot"].place
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert place.of(A, BOT) == f"{NAME}, line 8"


def project(*lines: str, alias: str = "bot") -> str:
    return "\n".join(["version = 1", f"[projects.{alias}]", 'id = "proj_a"', *lines, ""])


NO_KEY = "A registry must hold no key: take it out, and revoke the key"
HOW = "A fingerprint is sha256: and the 64 hex digits of the key's SHA-256"

# what is in the file; what the error begins with; what else it says
MISTAKES = {
    "empty": ("", "line 1: version: it is missing; the file is empty."),
    "blank": (" \n\n", "line 1: version: it is missing; the file is empty."),
    "no version": ('\n[projects.bot]\nid = "proj_a"\n', "line 1: version: it is missing;"),
    "version 2": ("\nversion = 2\n", "line 2: version: this release reads version 1"),
    "version a string": (
        'version = "1"\n',
        "line 1: version: this is a string; it must be a whole",
    ),
    "version a boolean": ("version = true\n", "line 1: version: this is a boolean; it must be"),
    "version with a fraction": ("version = 1.0\n", "line 1: version: this is a decimal number; it"),
    "unknown field": (
        "version = 1\n[project.bot]\n",
        "line 2: project: there is no such field here; there are version, projects.",
    ),
    "projects an array": (
        "version = 1\n[[projects]]\n",
        "line 2: projects: this is an array; it must be a table.",
    ),
    "project a date": (
        "version = 1\n[projects]\nbot = 2024-01-01\n",
        "line 3: projects.bot: this is a date or time; it must be a table.",
    ),
    "unknown project field": (
        project("name = 'x'"),
        "line 4: projects.bot.name: there is no such field here; there are id, organization, "
        "service_accounts, keys.",
    ),
    "no id": (
        "version = 1\n\n[projects.bot]\nkeys = []\n",
        'line 3: projects.bot.id: it is missing; give the project\'s id: id = "proj_…".',
    ),
    "id a number": (
        "version = 1\n[projects.bot]\nid = 5\n",
        "line 3: projects.bot.id: this is a whole number; it must be a string.",
    ),
    "id a name": (
        'version = 1\n[projects.bot]\nid = "Support Bot"\n',
        "line 3: projects.bot.id: this is not a project id, which is proj_ and letters",
    ),
    "id a key": (
        f'version = 1\n[projects.bot]\nid = "{CANARY}"\n',
        f"line 3: projects.bot.id: there is a raw key here. {NO_KEY}",
    ),
    "repeated id": (
        project() + '[projects.other]\nid = "proj_a"\n',
        "line 5: projects.other.id: the project proj_a is in the file twice; move its keys "
        "into one table. The first is projects.bot.id, line 3.",
    ),
    "repeated alias": (
        project() + '[projects.bot]\nid = "proj_b"\n',
        "line 4: projects.bot: this alias is in the file twice. The first is at line 2.",
    ),
    "repeated alias, spelled otherwise": (
        project(alias='"a b"') + "\n[projects.'a b']\nid = \"proj_b\"\n",
        'line 5: projects."a b": this alias is in the file twice. The first is at line 2.',
    ),
    "repeated field": (
        project('organization = "org-a"', "", 'organization = "org-b"'),
        "line 6: projects.bot.organization: this field is in the file twice. The first is at "
        "line 4.",
    ),
    "repeated field in a key": (
        project(f'keys = [{{ note = "{CANARY}", note = "b" }}]'),
        "line 4: this name is already used earlier in the file.",
    ),
    "alias an id": (
        project(alias="proj_b"),
        "line 2: projects.proj_b: an alias must not look like a project id.",
    ),
    "alias empty": (project(alias='""'), 'line 2: projects."": an alias is a name of one line'),
    "alias with space around": (project(alias='" bot"'), 'line 2: projects." bot": an alias is'),
    "alias of two lines": (project(alias='"b\\not"'), 'line 2: projects."…": an alias is a name'),
    "alias a key": (
        project(alias=CANARY),
        f'line 2: projects."…": there is a raw key here. {NO_KEY}',
    ),
    "alias of the longest that is shown": (
        project(alias=f'"{60 * "é"}"').replace('id = "proj_a"', "id = 1"),
        f'line 3: projects."{60 * "é"}".id: this is a whole number',
    ),
    "alias of one more": (
        project(alias=f'"{61 * "é"}"').replace('id = "proj_a"', "id = 1"),
        'line 3: projects."…".id: this is a whole number',
    ),
    "name of the most parts": (
        f"version = 1\n{200 * 'a.'}a = 1\n",
        "line 2: a: there is no such field here",
    ),
    "name of one part more": (
        f"version = 1\n{201 * 'a.'}a = 1\n",
        "line 2: there are more than 200 dots in it.",
    ),
    "organization a boolean": (
        project("organization = false"),
        "line 4: projects.bot.organization: this is a boolean; it must be a string.",
    ),
    "organization a name": (
        project('organization = "Acme"'),
        "line 4: projects.bot.organization: this is not an organization id, which is org- and",
    ),
    "organization empty": (
        project('organization = ""'),
        "line 4: projects.bot.organization: this is not an organization id, which is org- and",
    ),
    "organization a key": (
        project(f'organization = "org-{CANARY}"'),
        "line 4: projects.bot.organization: there is a raw key here.",
    ),
    "accounts a string": (
        project('service_accounts = "user-svc-01"'),
        "line 4: projects.bot.service_accounts: this is a string; it must be an array.",
    ),
    "account a number": (
        project("service_accounts = [", '  "a",', "  7", "]"),
        "line 6: projects.bot.service_accounts[1]: this is a whole number; it must be a string.",
    ),
    "account empty": (
        project('service_accounts = [""]'),
        "line 4: projects.bot.service_accounts[0]: a service account's id is not empty.",
    ),
    "account twice": (
        project("service_accounts = [", '  "a",', '  "a",', "]"),
        "line 6: projects.bot.service_accounts[1]: this service account is in the project "
        "twice. The first is projects.bot.service_accounts[0], line 5.",
    ),
    "account in two projects": (
        project('service_accounts = ["a"]')
        + '[projects.other]\nid = "proj_b"\nservice_accounts = ["a"]\n',
        "line 7: projects.other.service_accounts[0]: this service account is in two "
        "projects, and a call could be either's. Leave it where it belongs. The first is "
        "projects.bot.service_accounts, line 4.",
    ),
    "keys a table": (
        project("[projects.bot.keys]"),
        "line 4: projects.bot.keys: this is a table; it must be an array.",
    ),
    "key a string": (
        project("keys = [", f'  "{CANARY}"', "]"),
        'line 5: projects.bot.keys[0]: a key is written { fingerprint = "sha256:…" }, not as a',
    ),
    "key an array": (
        project("keys = [[]]"),
        "line 4: projects.bot.keys[0]: this is an array; it must be a table.",
    ),
    "unknown key field": (
        project("keys = [", f'  {{ fingerprint = "{A}", comment = "x" }},', "]"),
        "line 5: projects.bot.keys[0].comment: there is no such field here; there are "
        "fingerprint, hint, note.",
    ),
    "a key for a field": (
        project(f'{CANARY} = "x"'),
        f'line 4: projects.bot."…": there is a raw key here. {NO_KEY}',
    ),
    "no fingerprint": (
        project("keys = [", "", '  { hint = "sk-proj-…Ab3d" },', "]"),
        f"line 6: projects.bot.keys[0].fingerprint: it is missing. {HOW}",
    ),
    "fingerprint a number": (
        project("keys = [{ fingerprint = 12 }]"),
        "line 4: projects.bot.keys[0].fingerprint: this is a whole number; it must be a string.",
    ),
    "fingerprint cut short": (
        project(f'keys = [{{ fingerprint = "{A[:-1]}" }}]'),
        f"line 4: projects.bot.keys[0].fingerprint: this is not a fingerprint. {HOW}",
    ),
    "fingerprint without its beginning": (
        project(f'keys = [{{ fingerprint = "{A[7:]}" }}]'),
        "line 4: projects.bot.keys[0].fingerprint: this fingerprint lacks its beginning: put",
    ),
    "a key for a fingerprint": (
        project("keys = [", f'  {{ fingerprint = "{A}" }},', f'  {{ fingerprint = "{CANARY}" }},]'),
        "line 6: projects.bot.keys[1].fingerprint: this is a raw key (sk-proj-…Ab3d), not a "
        f"fingerprint. {NO_KEY}",
    ),
    "a gateway's key for a fingerprint": (
        project('keys = [{ fingerprint = "CANARY-of-a-gateway" }]'),
        f"line 4: projects.bot.keys[0].fingerprint: this is not a fingerprint. {HOW}",
    ),
    "fingerprint twice": (
        project("keys = [", f'  {{ fingerprint = "{A}" }},', f"  {{fingerprint='{A}'}},", "]"),
        "line 6: projects.bot.keys[1].fingerprint: this fingerprint is in the project twice. "
        "The first is projects.bot.keys[0].fingerprint, line 5.",
    ),
    "array of tables": (
        project(
            f'[[projects.bot.keys]]\nfingerprint = "{A}"\n[[projects.bot.keys]]',
            f'fingerprint = "{B}"',
            f'note = "{CANARY}"',
        ),
        "line 8: projects.bot.keys[1].note: there is a raw key here.",
    ),
    "hint a key": (
        project(f'keys = [{{ fingerprint = "{A}", hint = "{CANARY}" }}]'),
        "line 4: projects.bot.keys[0].hint: there is a raw key here.",
    ),
    "hint a gateway's key": (
        project(f'keys = [{{ fingerprint = "{fingerprint("CANARY")}", hint = "CANARY" }}]'),
        f"line 4: projects.bot.keys[0].hint: this is the raw key. {NO_KEY}",
    ),
    "note with a gateway's key": (
        project(f'keys = [{{ fingerprint = "{fingerprint("CANARY-7")}", note = "a CANARY-7 b" }}]'),
        f"line 4: projects.bot.keys[0].note: this is the raw key. {NO_KEY}",
    ),
    "note a gateway's key": (
        project(f'keys = [{{ fingerprint = "{fingerprint("CANARY-7")}", note = "CANARY-7" }}]'),
        f"line 4: projects.bot.keys[0].note: this is the raw key. {NO_KEY}",
    ),
    "name a gateway's key": (
        "version = 1\n[projects.CANARY-7]\nid = 'proj_a'\n"
        '[projects.bot]\nid = "proj_b"\n'
        f'keys = [{{ fingerprint = "{fingerprint("CANARY-7")}" }}]\n',
        f'line 2: projects."…": its name is a raw key. {NO_KEY}',
    ),
    "something else wrong where the name is a gateway's key": (
        "version = 1\n[projects.CANARY-7]\nid = 3\n"
        '[projects.bot]\nid = "proj_b"\n'
        f'keys = [{{ fingerprint = "{fingerprint("CANARY-7")}" }}]\n',
        'line 3: projects."…".id: this is a whole number',
    ),
    "hint of two lines": (
        project(f'keys = [{{ fingerprint = "{A}", hint = "a\\nb" }}]'),
        "line 4: projects.bot.keys[0].hint: a hint is text of one line.",
    ),
    "hint a number": (
        project(f'keys = [{{ fingerprint = "{A}", hint = 3 }}]'),
        "line 4: projects.bot.keys[0].hint: this is a whole number; it must be a string.",
    ),
    "note a table": (
        project(f'keys = [{{ fingerprint = "{A}", note = {{ x = 1 }} }}]'),
        "line 4: projects.bot.keys[0].note: this is a table; it must be a string.",
    ),
    "note with a key": (
        project(f'keys = [{{ fingerprint = "{A}", note = "it is {CANARY}, really" }}]'),
        "line 4: projects.bot.keys[0].note: there is a raw key here.",
    ),
    "not TOML": (
        f"version = 1\n\nkey is {CANARY}\n",
        "line 3: this is not TOML. Expected '=' after a key in a key/value pair.",
    ),
    "a value without quotes": (
        f"version = 1\n[projects.bot]\nid = {CANARY}\n",
        "line 3: this is not TOML. Invalid value.",
    ),
    "cut off": (project("keys = ["), "line 4: this is not TOML."),
    "a string without end": (
        f'version = 1\nx = "{CANARY}\n',
        "line 2: this is not TOML. Illegal character",
    ),
    "an escape that is none": (
        'version = 1\nx = "\\q"\n',
        "line 2: this is not TOML. It cannot be read.",
    ),
    "too deep": (
        "version = 1\nx = " + "[" * 20_000,
        "line 2: brackets are nested too deep here.",
    ),
    "too deep, in front of more lines": (
        project("x = " + "[" * 3_000 + "]" * 3_000, "y = [['[[', # [[[", "'''\n[[[''']]"),
        "line 4: brackets are nested too deep here.",
    ),
    "too deep in two lines": (
        project("x = " + "[" * 3_000 + "]" * 3_000, "y = " + "[" * 3_000 + "]" * 3_000),
        "line 4: brackets are nested too deep here.",
    ),
    "tables too deep": (
        project("[x]", "y = " + "{ a = " * 3_000 + "1" + "}" * 3_000, "z = 1"),
        "line 5: brackets are nested too deep here.",
    ),
    "a version of many digits": (
        f"version = 0x{'f' * 4_000}\n\n# the end\n",
        "line 1: version: this release reads version 1 of the format, not this.",
    ),
    "another version": (
        "version = -2\n",
        "line 1: version: this release reads version 1 of the format, not version -2.",
    ),
    "a number of many digits": (
        f"# {'9' * 5_000}\nx = 1.5\ny = '{'9' * 5_000}'\n{'9' * 5_000} = {'9' * 5_000}.5\n"
        f"z = [\n1e5, {'9' * 5_000}e5, {'9_' * 4_299}9,\n-{'9_' * 4_300}9, 1]\nversion = 1\n",
        "line 7: there is a number of more than 4300 digits.",
    ),
    "not UTF-8": (f"version = 1\n# {CANARY} é\n".encode("latin-1"), "line 2: this is not UTF-8."),
    "UTF-16": ("version = 1\n".encode("utf-16"), "line 1: this is not UTF-8."),
}


@pytest.mark.parametrize(("text", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_file_line_and_field(text: str | bytes, words: str) -> None:
    assert error_of(text).startswith(f"{NAME}, {words}")


def test_a_file_that_is_not_utf_8_any_more_still_shows_the_line_of_a_key() -> None:
    text = project(f'keys = [\n{{ fingerprint = "{fingerprint(CANARY)}" }},\n]')
    write(text)
    registry = Registry.from_file(NAME)
    write(text.encode().replace(b"[projects.bot]", b"[projects.bot] # \xff"))
    assert registry.lookup(CANARY)[0].place == f"{NAME}, line 5"


def test_a_missing_file_is_named() -> None:
    with pytest.raises(RegistryError, match=f"^{NAME}: there is no such file. `openai-project-g"):
        read(NAME)


def test_a_directory_is_no_registry() -> None:
    os.mkdir(NAME)
    with pytest.raises(RegistryError, match=f"^{NAME}: this is a directory."):
        read(NAME)


def test_a_null_character_in_the_path_is_told() -> None:
    with pytest.raises(RegistryError, match=r": the file cannot be read \(.*embedded null .*\)\.$"):
        read("a\0b")


def test_a_key_for_a_path_is_not_shown() -> None:
    with pytest.raises(RegistryError, match=r"^sk-proj-…Ab3d: there is no such file"):
        read(CANARY)


def test_a_file_that_may_not_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    write(GOOD)
    monkeypatch.setattr("openai_project_guard._registry.file.place.os.open", refuse)
    with pytest.raises(RegistryError, match=f"^{NAME}: this process may not read the file."):
        read(NAME)


def test_lines_are_found_in_every_way_of_writing_toml() -> None:
    lines = Lines(
        '''a.b = 1
"c d" . 'e' = [1.5, # [
  "]", """
x = 1""", { f = {}, g.h = [[2]] },
  2024-01-01 10:00:00,
]
[ x . "y z" ]
k = \'\'\'
[no]\'\'\'
[[t]]
m = 1
[[t]]
[t.u]
n = "\\"#" # [no]
'''
    )
    expected = {
        ("a", "b"): 1,
        ("c d", "e"): 2,
        ("c d", "e", 0): 2,
        ("c d", "e", 1): 3,
        ("c d", "e", 2): 3,
        ("c d", "e", 3, "f"): 4,
        ("c d", "e", 3, "g", "h", 0, 0): 4,
        ("c d", "e", 4): 5,
        ("x", "y z", "k"): 8,
        ("t", 0, "m"): 11,
        ("t", 1, "u"): 13,
        ("t", 1, "u", "n"): 14,
        ("t", 1, "u", "gone"): 13,
        ("no",): 1,
    }
    assert {path: lines.of(path) for path in expected} == expected


def test_lines_are_found_at_every_depth() -> None:
    depth = 250
    text = "version = 1\nx = " + "[\n" * depth + "1,\n2" + "]" * depth
    assert Lines(text).of(("x", *[0] * (depth - 1), 1)) == 2 + depth + 1
    name = ".".join("abcdefghijkl")
    assert error_of(f"version = 1\n\n{name} = 1\n{name} = 2\n") == (
        f"{NAME}, line 4: {name}: this field is in the file twice. The first is at line 3."
    )


def test_a_key_of_two_projects_has_a_line_in_each(tmp_path: Path) -> None:
    one = "sha256:" + "0" * 64
    path = tmp_path / "openai-projects.toml"
    path.write_text(
        "version = 1\n"
        f'[projects.a]\nid = "proj_a"\nkeys = [{{ fingerprint = "{one}" }}]\n'
        f'[projects.b]\nid = "proj_b"\nkeys = [{{ fingerprint = "{one}" }}]\n',
        encoding="utf-8",
    )
    places = {entry.project: entry.place for entry in Registry.from_file(path)}
    assert places["proj_a"].endswith("line 4")
    assert places["proj_b"].endswith("line 7")


def test_an_error_in_a_table_within_braces_names_its_line() -> None:
    text = """\
version = 1
projects = { bot = { id = "proj_a", service_accounts = [
  "user-svc-01",
  7,
] } }
"""
    assert "line 4: projects.bot.service_accounts[1]" in error_of(text)
