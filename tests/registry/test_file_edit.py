"""Can I trust the commands with my registry file: its layout, its mode, other writers, a crash?"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from openai_project_guard import Registry, RegistryError
from openai_project_guard._registry import stores as edit
from openai_project_guard._registry.file import atomic as replace
from openai_project_guard._registry.file import edit as rewrite
from openai_project_guard._registry.file import lines
from openai_project_guard._registry.model import Place, Project, Snapshot, listing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_mock import MockerFixture

    from openai_project_guard._registry.changes import Draft

NAME = "openai-projects.toml"
CANARY = "sk-proj-CANARYcanary0123456789CANARYcanaryAb3d"
posix = pytest.mark.skipif(os.name != "posix", reason="modes, links and signals of POSIX")


def fingerprint(key: str) -> str:
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


A, B, C, D = (fingerprint(key) for key in "abcd")


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def text() -> str:
    return Path(NAME).read_bytes().decode()


def write(content: str) -> None:
    Path(NAME).write_bytes(content.encode())


# What does the file look like afterwards?

WRITTEN_BY_HAND = f"""\
# Who pays for what.
version = 1   # of the format

# The bot.
[projects.support-bot]                 # its alias
id = "proj_a"                          # from the settings page
keys = [
    {{ fingerprint = "{A}" }},  # the first
    # and one more:
    {{ note = 'old', fingerprint = "{B}" }}
]

# The search.
[projects.search]
id = "proj_b"
organization = "org-old"   # of ours
keys = [{{fingerprint="{A}"}}] # short

# The rest.
[projects."the rest"]
id = "proj_c"
service_accounts = ["svc"]

# That is all.
"""


def changed(*pairs: tuple[str, str]) -> str:
    expected = WRITTEN_BY_HAND
    for old, new in pairs:
        assert expected.count(old) == 1
        expected = expected.replace(old, new)
    return expected


def test_a_new_file_looks_as_the_contract_shows() -> None:
    assert edit.add(
        NAME,
        "proj_5fPqTn0w",
        A,
        alias="support-bot",
        organization="org-Jx1c",
        hint="sk-proj-…Ab3d",
        note="CI runner",
    )
    assert edit.add(NAME, "support-bot", B)
    assert text() == (
        "version = 1\n\n"
        "[projects.support-bot]\n"
        'id = "proj_5fPqTn0w"\n'
        'organization = "org-Jx1c"\n'
        "keys = [\n"
        f'  {{ fingerprint = "{A}", hint = "sk-proj-…Ab3d", note = "CI runner" }},\n'
        f'  {{ fingerprint = "{B}" }},\n'
        "]  # proj_5fPqTn0w\n"
    )


def test_a_project_without_an_alias_is_a_table_of_its_id() -> None:
    edit.add(NAME, "proj_a", A)
    edit.add(NAME, "proj_a", B)
    assert "[projects.proj_a]\nid" in text()
    assert [entry.alias for entry in Registry.from_file(NAME)] == [None, None]


def test_a_key_is_added_in_the_layout_of_its_neighbours() -> None:
    write(WRITTEN_BY_HAND)
    assert edit.add(NAME, "support-bot", C, note='a "note"\twith \\ and é') == "added"
    new = f'{{ fingerprint = "{C}", note = "a \\"note\\"\\twith \\\\ and é" }}'
    assert text() == changed((f'{B}" }}\n]\n', f'{B}" }},\n    {new},\n]\n'))


def test_keys_on_one_line_get_a_line_each() -> None:
    write(WRITTEN_BY_HAND)
    edit.add(NAME, "search", C)
    one = f'{{fingerprint="{A}"}}'
    assert text() == changed(
        (f"[{one}] # short", f'[\n  {one},\n  {{ fingerprint = "{C}" }},\n] # short')
    )


def test_the_first_key_of_a_project_is_added_behind_its_fields() -> None:
    write(WRITTEN_BY_HAND)
    edit.add(NAME, "the rest", C)
    accounts = 'service_accounts = ["svc"]\n'
    assert text() == changed((accounts, f'{accounts}keys = [\n  {{ fingerprint = "{C}" }},\n]\n'))


def test_a_new_project_is_added_in_front_of_the_others_and_their_comment() -> None:
    write(WRITTEN_BY_HAND)
    edit.add(NAME, "proj_new", C, alias="brand new")
    new = (
        '[projects."brand new"]\nid = "proj_new"\n'
        f'keys = [\n  {{ fingerprint = "{C}" }},\n]  # proj_new\n\n'
    )
    assert text() == changed(("# The bot.\n", f"{new}# The bot.\n"))
    write('version = 1\n[projects.bot]\nid = "proj_a"\n')
    edit.add(NAME, "proj_new", C)
    assert text().startswith("version = 1\n\n[projects.proj_new]\n")
    assert text().endswith(']  # proj_new\n\n[projects.bot]\nid = "proj_a"\n')


def test_an_organization_is_written_where_it_belongs() -> None:
    write(WRITTEN_BY_HAND)

    def step(draft: Draft) -> None:
        draft.add_project("support-bot", organization="org-a")
        draft.add_project("search", organization="org-b")

    edit.change(NAME, step)
    page = "# from the settings page\n"
    assert text() == changed((page, f'{page}organization = "org-a"\n'), ("org-old", "org-b"))


def test_hint_and_note_of_a_known_key_are_renewed() -> None:
    write(WRITTEN_BY_HAND)
    assert edit.add(NAME, "proj_a", B, hint="sk-…Ab3d") == "updated"
    assert edit.add(NAME, "proj_a", B, note="old") == "unchanged"
    assert edit.add(NAME, "proj_a", A, organization="org-a") == "updated"
    assert text() == changed(
        (
            f"{{ note = 'old', fingerprint = \"{B}\" }}",
            f'{{ fingerprint = "{B}", hint = "sk-…Ab3d", note = "old" }}',
        ),
        ("settings page\n", 'settings page\norganization = "org-a"\n'),
    )


def test_what_changes_nothing_does_not_touch_the_file() -> None:
    write(WRITTEN_BY_HAND)
    before = os.stat(NAME)
    assert edit.add(NAME, "support-bot", A) == "unchanged"
    assert edit.remove(NAME, D) == 0
    after = os.stat(NAME)  # of which the time of the last reading may differ
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_removed_key_leaves_the_rest_as_it_was() -> None:
    write(WRITTEN_BY_HAND)
    assert edit.remove(NAME, A.upper().replace("SHA", "sha"), project="proj_a") == 1
    assert text() == changed((f'    {{ fingerprint = "{A}" }},  # the first\n', ""))
    assert [edit.remove(NAME, A), edit.remove(NAME, B)] == [1, 1]
    assert len(Registry.from_file(NAME)) == 0
    assert "    # and one more:\n" in text()
    assert "keys = [] # short\n" in text()


def test_a_removed_project_leaves_the_comments_around_it() -> None:
    write(WRITTEN_BY_HAND)
    edit.remove_project(NAME, "search")
    start, end = WRITTEN_BY_HAND.index("[projects.search]"), WRITTEN_BY_HAND.index("# The rest.")
    assert text() == WRITTEN_BY_HAND[:start] + WRITTEN_BY_HAND[end:]


def test_several_changes_are_written_in_one_step(mocker: MockerFixture) -> None:
    write(WRITTEN_BY_HAND)
    replaced = mocker.spy(rewrite, "replace")

    def step(draft: Draft) -> None:
        new = draft.add_project("proj_new")
        draft.add_key(new, C)
        draft.add_key(new, D, hint="h")
        draft.add_key(new, D, note="n")
        draft.remove_key(C)
        draft.remove_projects(["proj_b"])
        draft.add_project("proj_b", alias="search")
        draft.remove_projects([draft.add_project("proj_gone")])
        draft.add_key("search", D, also=True)

    edit.change(NAME, step)
    assert replaced.call_count == 1
    rows = {(entry.fingerprint, entry.project, entry.note) for entry in Registry.from_file(NAME)}
    assert rows == {
        (A, "proj_a", None),
        (B, "proj_a", "old"),
        (D, "proj_new", "n"),
        (D, "proj_b", None),
    }


@pytest.mark.parametrize("number", [1, 40])
def test_a_change_of_many_projects_walks_the_file_once(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def walk(text: str) -> Iterator[object]:
        nonlocal walked
        walked += len(text)
        return original(text)

    original, walked = lines._walk, 0
    names = [f"proj_{number}" for number in range(50)]
    edit.change(NAME, lambda draft: [draft.add(name, A, also=True) for name in names], create=True)
    monkeypatch.setattr(lines, "_walk", walk)
    size = len(text())
    edit.change(NAME, lambda draft: draft.remove_projects(names[:number]))
    assert walked == size
    assert {entry.project for entry in Registry.from_file(NAME)} == {*names[number:]}
    size, walked = len(text()), 0
    edit.change(NAME, lambda draft: [draft.add_key(name, B, also=True) for name in names[number:]])
    assert len(Registry.from_file(NAME)) == 2 * (50 - number)
    assert walked == size


def test_a_removed_project_among_others_leaves_their_text() -> None:
    write(WRITTEN_BY_HAND)
    edit.change(NAME, lambda draft: draft.remove_projects(["search", "support-bot"]))
    assert text() == (
        "# Who pays for what.\nversion = 1   # of the format\n\n# The bot.\n# The search.\n"
        + WRITTEN_BY_HAND[WRITTEN_BY_HAND.index("# The rest.") :]
    )
    edit.remove_project(NAME, "the rest")
    assert text().endswith("# The rest.\n# That is all.\n")


def test_fields_are_changed_and_taken_away_where_they_stand() -> None:
    write(WRITTEN_BY_HAND)
    wanted = Snapshot()
    place = Place("elsewhere")
    wanted.add_project(Project("proj_a", place, "support-bot"), ["svc-2", "svc-3"])
    wanted.add_project(Project("proj_b", place, "search"))
    wanted.add_project(Project("proj_c", place, "rest"), ["svc"])
    edit.change(NAME, lambda draft: draft.become(listing(wanted), edit.find(NAME).version))
    read = Registry.from_file(NAME).snapshot
    assert {account: rows[0].project.id for account, rows in read.accounts.items()} == {
        "svc": "proj_c",
        "svc-2": "proj_a",
        "svc-3": "proj_a",
    }
    assert read.projects["search"].organization is None
    assert read.projects["rest"].id == "proj_c"
    assert not read.keys
    assert '# from the settings page\nservice_accounts = ["svc-2", "svc-3"]\n' in text()


def test_a_file_that_was_changed_meanwhile_does_not_become_another() -> None:
    write(WRITTEN_BY_HAND)
    version = edit.find(NAME).version
    edit.add(NAME, "proj_a", C)
    with pytest.raises(RegistryError, match="somebody else has changed the file meanwhile"):
        edit.change(NAME, lambda draft: draft.become(({}, {}), version))
    assert len(Registry.from_file(NAME)) == 4


def test_an_administrators_word_beside_what_was_learned_leaves_that() -> None:
    edit.add(NAME, "proj_b", A, hint="h", note="learned")
    assert edit.add(NAME, "proj_c", A, hint="h", also=True) == "added"
    assert {entry.project for entry in Registry.from_file(NAME)} == {"proj_b", "proj_c"}


def test_an_administrators_word_replaces_what_was_learned_and_nobody_elses() -> None:
    edit.add(NAME, "proj_b", A, hint="h", note="learned")
    refused("h is registered for the project proj_b already", "proj_c", A, note="learned")
    assert edit.add(NAME, "proj_b", A, note="learned") == "unchanged"
    assert edit.add(NAME, "proj_d", A) == "added"
    assert [(entry.project, entry.note) for entry in Registry.from_file(NAME)] == [("proj_d", None)]
    refused("is registered for the project proj_d already", "proj_b", A)


def test_what_was_learned_stays_where_a_project_is_added_beside_it() -> None:
    edit.add(NAME, "proj_b", A, hint="h", note="learned")
    assert edit.add(NAME, "proj_d", A, also=True) == "added"
    found = {(entry.project, entry.note) for entry in Registry.from_file(NAME)}
    assert found == {("proj_b", "learned"), ("proj_d", None)}


def test_nothing_is_written_when_the_changes_break_off() -> None:
    write(WRITTEN_BY_HAND)

    def step(draft: Draft) -> None:
        draft.remove_key(A)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        edit.change(NAME, step)
    assert text() == WRITTEN_BY_HAND
    assert os.listdir() == [NAME]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_file_from_windows_stays_one(mark: str) -> None:
    write(mark + WRITTEN_BY_HAND.replace("\n", "\r\n"))
    edit.add(NAME, "search", C)
    edit.add(NAME, "proj_new", C, also=True)
    lines = text().split("\r\n")
    assert not any("\n" in line for line in lines)
    assert lines[0] == mark + "# Who pays for what."
    assert len(Registry.from_file(NAME)) == 5


def test_what_can_be_a_name_or_note_survives_the_writing() -> None:
    note = 'a\nb\t"c" \\ \x00 \x7f é 🙂'
    edit.add(NAME, "proj_a", A, alias="Ünï \"q\" [x] 'y' # .", note=note)
    edit.add(NAME, "proj_a", B, note=note)
    assert {entry.note for entry in Registry.from_file(NAME)} == {note}


# What is refused?


def refused(words: str, *arguments: str, **more: str) -> None:
    before = text()
    with pytest.raises(RegistryError, match=words) as caught:
        edit.add(NAME, *arguments, **more)  # type: ignore[arg-type]
    assert text() == before
    assert os.listdir() == [NAME]
    assert "CANARY" not in str(caught.value)


def test_a_key_of_another_project_is_refused_unless_it_is_meant() -> None:
    write(WRITTEN_BY_HAND)
    refused(
        f"^{NAME}, line 10: the key {B} is registered for the project support-bot already.",
        "proj_b",
        B,
    )
    edit.change(NAME, lambda draft: draft.add_key("proj_b", B, also=True))
    assert [entry.project for entry in Registry.from_file(NAME).lookup("b")] == ["proj_a", "proj_b"]


def test_an_alias_or_project_that_does_not_fit_is_refused() -> None:
    write(WRITTEN_BY_HAND)
    refused("the alias search belongs to proj_b already", "proj_new", C, alias="search")
    refused(r"proj_b is there as search; rename its table", "proj_b", C, alias="find")
    refused("neither a project id .* nor an alias that the file knows", CANARY, C)
    refused("Nothing was written, .*must not look like a project id", "proj_n", C, alias="proj_x")
    refused("Nothing was written, .*there is a raw key here", "proj_a", C, note=CANARY)
    refused("Nothing was written, .*there is a raw key here", "proj_n", C, alias=CANARY)
    refused("Nothing was written, .*not an organization id", "proj_n", C, organization="Acme")
    refused("Nothing was written, .*this is not UTF-8", "proj_a", C, note="\udcff")
    for change in (edit.remove_project, lambda path, name: edit.remove(path, A, project=name)):
        with pytest.raises(RegistryError, match="the file has no such project"):
            change(NAME, "nobody")


def test_a_file_that_is_not_in_order_is_not_edited() -> None:
    write(f'version = 1\n[projects.bot]\nid = "proj_a"\nkeys = ["{CANARY}"]\n')
    with pytest.raises(RegistryError, match=r"line 4: projects.bot.keys\[0\]") as caught:
        edit.add(NAME, "proj_a", A)
    trace = caught.value.__traceback__
    while trace:
        assert trace.tb_frame.f_code.co_filename == __file__ or "CANARY" not in repr(
            trace.tb_frame.f_locals
        )
        trace = trace.tb_next


@pytest.mark.parametrize(
    "layout",
    [
        f'version = 1\n[projects.bot]\nid = "proj_a"\n[[projects.bot.keys]]\nfingerprint = "{A}"\n',
        'version = 1\nprojects.bot.id = "proj_a"\n',
        'version = 1\nprojects = { bot = { id = "proj_a" } }\n',
    ],
)
def test_a_layout_that_cannot_be_edited_safely_is_left_alone(layout: str) -> None:
    write(layout)
    refused("laid out in a way that cannot be changed safely", "proj_a", B)
    if "= {" in layout:
        refused("Nothing was written", "proj_b", B)


def test_a_missing_file_is_not_made_by_removing() -> None:
    with pytest.raises(RegistryError, match="there is no such file"):
        edit.remove(NAME, A)
    assert os.listdir() == []


# Whose file is it?


@posix
def test_modes_are_kept_and_a_new_file_is_private() -> None:
    edit.add("new/deep/" + NAME, "proj_a", A)
    assert stat.S_IMODE(os.stat("new/deep/" + NAME).st_mode) == 0o600
    assert stat.S_IMODE(os.stat("new/deep").st_mode) == 0o700
    write(WRITTEN_BY_HAND)
    os.chmod(NAME, 0o664)
    edit.add(NAME, "proj_a", C)
    assert stat.S_IMODE(os.stat(NAME).st_mode) == 0o664
    assert sorted(os.listdir()) == ["new", NAME]


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root may give a file away"
)
def test_a_file_that_root_changes_stays_its_owners() -> None:
    write(WRITTEN_BY_HAND)
    os.chown(NAME, 1234, 5678)
    edit.add(NAME, "proj_a", C)
    assert (os.stat(NAME).st_uid, os.stat(NAME).st_gid) == (1234, 5678)


@posix
def test_behind_a_symlink_the_target_is_replaced() -> None:
    os.mkdir("real")
    os.symlink(os.path.join("real", "registry.toml"), NAME)
    edit.add(NAME, "proj_a", A)
    edit.add(NAME, "proj_a", B)
    assert os.readlink(NAME) == os.path.join("real", "registry.toml")
    assert len(Registry.from_file("real/registry.toml")) == 2
    assert os.listdir("real") == ["registry.toml"]


@posix
def test_a_directory_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    write(WRITTEN_BY_HAND)
    monkeypatch.setattr(replace.tempfile, "mkstemp", refuse)
    refused(rf"^{NAME}: the file cannot be written \(Permission denied\). It is as", "proj_a", C)


# What about other writers, readers, and a crash?


def test_a_writer_waits_for_the_other_but_not_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    write(WRITTEN_BY_HAND)
    other = threading.Thread(target=edit.add, args=(NAME, "proj_b", D))

    def step(draft: Draft) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(replace, "PATIENCE", 0.02)
            with pytest.raises(RegistryError, match="another process holds its lock"):
                edit.add(NAME, "proj_c", C)
        other.start()
        draft.add_key("proj_a", C)

    edit.change(NAME, step)
    other.join()
    assert len(Registry.from_file(NAME)) == 5


def run(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
    )


FIFTY = """
import hashlib, os, sys
import tomlkit
from openai_project_guard._registry import stores as edit
children = []
for number in range(50):
    child = os.fork()
    if not child:
        key = hashlib.sha256(str(number).encode()).hexdigest()
        edit.add(sys.argv[1], f"proj_{number % 5}", "sha256:" + key)
        os._exit(0)
    children.append(child)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


@posix
def test_fifty_processes_at_once_lose_nothing() -> None:
    with run(FIFTY, NAME) as writers:
        assert writers.wait(60) == 0
    found = {entry.fingerprint for entry in Registry.from_file(NAME)}
    assert found == {fingerprint(str(number)) for number in range(50)}
    assert os.listdir() == [NAME]


FOREVER = """
import sys
from openai_project_guard._registry import stores as edit
a, b = sys.argv[2:]
edit.add(sys.argv[1], "proj_b", b)
print("ready", flush=True)
while True:
    edit.add(sys.argv[1], "proj_b", a)
    edit.remove(sys.argv[1], a, project="proj_b")
"""


@posix
def test_a_killed_writer_leaves_the_old_or_the_new() -> None:
    write(WRITTEN_BY_HAND.replace(f'{{fingerprint="{A}"}}', ""))
    versions = set()
    for _ in range(12):
        with run(FOREVER, NAME, C, D) as writer:
            assert writer.stdout
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(random.uniform(0, 0.03))
            writer.send_signal(signal.SIGKILL)
        versions.add(frozenset(entry.fingerprint for entry in Registry.from_file(NAME)))
    assert versions <= {frozenset({A, B, D}), frozenset({A, B, C, D})}
    edit.add(NAME, "proj_a", fingerprint("the next"))
    assert os.listdir() == [NAME]


@pytest.mark.parametrize("moment", ["fsync", "chmod", "replace"])
def test_a_failure_at_any_moment_leaves_the_old(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write(WRITTEN_BY_HAND)
    monkeypatch.setattr(replace.os, moment, fail)
    refused(r"the file cannot be written \(No space left on device\)", "proj_a", C)


def test_what_crashed_writers_left_is_cleared_away() -> None:
    write(WRITTEN_BY_HAND)
    for left in (f".{NAME}.lock", f".{NAME}.abcdef.tmp", ".other.toml.abcdef.tmp"):
        Path(left).write_text("half a fi")
    edit.add(NAME, "proj_a", C)
    assert sorted(os.listdir()) == [".other.toml.abcdef.tmp", NAME]


def test_a_reader_never_sees_half_a_file() -> None:
    edit.add(NAME, "proj_a", A)
    done = threading.Event()
    seen: list[int] = []

    def reads() -> None:
        while not done.is_set():
            seen.append(len(Registry.from_file(NAME)))

    reader = threading.Thread(target=reads)
    reader.start()
    try:
        for number in range(20):
            edit.add(NAME, "proj_a", fingerprint(str(number)))
    finally:
        done.set()
        reader.join()
    assert seen == sorted(seen)
    assert len(Registry.from_file(NAME)) == 21
