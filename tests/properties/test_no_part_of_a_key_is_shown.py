"""Wherever a key of whatever form is put by mistake: is any twelve characters of it shown?

Twelve: a hint's last four tell nothing, and no prefix is as long.
"""

from __future__ import annotations

import json
import logging
import pickle
import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support import Server, fresh_guard, sync_client

import openai_project_guard as opg
from openai_project_guard._cli import main
from openai_project_guard._keys import digest, find_key, hint, redact, shown, without_known_keys

WIDTH = 12
PLAIN = string.ascii_letters + string.digits


def secrets(alphabet: str, length: int) -> st.SearchStrategy[str]:
    """Random as the real ones are, so that a word of ours is not found in one by chance."""
    return st.randoms(use_true_random=False).map(
        lambda chance: "".join(chance.choice(alphabet) for _ in range(length))
    )


FORMS = [
    ("sk-proj-", PLAIN + "_-", 148),
    ("sk-svcacct-", PLAIN + "_-", 148),
    ("sk-admin-", PLAIN + "_-", 120),
    ("sk-None-", PLAIN, 48),
    ("sk-", PLAIN, 48),  # a legacy user key
    ("sess-", PLAIN, 40),
    ("ek_", string.digits + "abcdef", 32),
]
KEYS = st.sampled_from(FORMS).flatmap(
    lambda form: secrets(*form[1:]).map(lambda secret: form[0] + secret)
)
GATEWAYS = [
    ("", PLAIN, 24),
    ("team:", PLAIN, 24),
    ("gw/", PLAIN + "_-", 24),
    ("", PLAIN + "+/", 43),
    ("", PLAIN * 3 + "@!%.:~=", 32),
    ("sk-", PLAIN + "+/", 43),
    ("sk-proj-", PLAIN * 3 + "@!%.:~=&|", 32),
    ("plain-gateway-key-of-team-", string.digits, 2),  # one that nobody takes for random
]
"""The forms of keys that others make up."""
BEFORE = st.sampled_from(["", " ", "'", "=", "é", "/", "Bearer ", "proj_", "x-", "key: ", "\xa0"])
BEHIND = st.sampled_from(["", " ", "'", ",", "é", "/x", "…", "@host", " and more", "\\", "?a=b"])


def parts_of(key: str, text: str) -> list[str]:
    """The parts of a key that stand in a text."""
    return [key[i : i + WIDTH] for i in range(len(key) - WIDTH + 1) if key[i : i + WIDTH] in text]


GATEWAY_KEYS = (
    st.sampled_from(GATEWAYS)
    .flatmap(lambda form: secrets(*form[1:]).map(lambda secret: form[0] + secret))
    .filter(lambda key: key[0].isalnum() and key[-1].isalnum())
    .filter(lambda key: not key.partition("=")[0].isalpha() or "=" not in key)  # an assignment
    .flatmap(lambda key: st.sampled_from([key, f"{key}=="]))
)
BESIDE = st.sampled_from(
    [
        ("", ""),
        (" ", " and more"),
        ("'", "'"),
        ("key=", ""),
        ("/", "/x"),
        ("a: ", ", b"),
        ("", "/x"),
    ]
)
"""What stands before and behind one of these: no letter, or it would be another word."""


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(GATEWAY_KEYS, BESIDE)
def test_a_text_is_cleaned_of_a_key_that_is_known(key: str, beside: tuple[str, str]) -> None:
    text = key.join(beside)
    cleaned = without_known_keys(text, digest(key).__eq__)
    assert parts_of(key, cleaned) == []
    assert cleaned == hint(key).join(beside)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(KEYS, BEFORE, BEHIND)
@example("sk-" + "Ab3" * 16, "task_", "")
def test_a_text_is_cleaned_of_it(key: str, before: str, behind: str) -> None:
    text = before + key + behind
    for cleaned in (redact(text), shown(text), shown([text]), shown({text: text}), hint(key)):
        assert parts_of(key, cleaned) == []
    assert find_key(text) is not None
    assert redact(redact(text)) == redact(text)


class Everything(logging.Handler):
    """All that anybody is shown: log records with what hangs on them, verdicts, errors."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.see(record.getMessage(), record.__dict__)

    def see(self, *values: Any) -> None:
        for value in values:
            self.seen += [str(value), repr(value)]
            with suppress(Exception):
                self.seen.append(pickle.dumps(value).decode("latin-1"))

    def error(self, error: BaseException) -> None:
        self.see(error, error.__dict__, error.args, *getattr(error, "__notes__", ()))
        self.see(getattr(error, "verdict", None))


@contextmanager
def looking() -> Iterator[Everything]:
    everything = Everything()
    logger = logging.getLogger("openai_project_guard")
    logger.addHandler(everything)
    try:
        with fresh_guard():
            opg.add_observer(everything.see)
            yield everything
    finally:
        logger.removeHandler(everything)


def calls(key: str, text: str) -> dict[str, Callable[[], object]]:
    """Calls and settings with the key where it belongs, and with a text that holds it anywhere."""
    header = text.encode("ascii", "ignore").decode()

    def client(**more: Any) -> Any:
        return sync_client(Server("proj_z"), **{"api_key": key, **more})

    return {
        "mismatch": lambda: client(project="proj_b").models.list(),
        "missing": lambda: client().models.list(),
        "drift": lambda: client(project="proj_a").models.list(),
        "in the header": lambda: client(project=header).models.list(),
        "in the organization": lambda: client(organization=header, project="proj_a").models.list(),
        "in the path": lambda: client().models.retrieve(header.replace("?", "")),
        "in api-key": lambda: client(default_headers={"api-key": header}).models.list(),
        "alone": lambda: client(default_headers={"Authorization": header}).models.list(),
        "as the host": lambda: client(base_url=f"https://{key}.api.openai.com/v1").models.list(),
        "register": lambda: opg.register(text, text),
        "register it as a project": lambda: opg.register("sk-x" * 9, text),
        "note": lambda: opg.register("sk-x" * 9, "proj_a", note=text),
        "pin": lambda: opg.enable(project=text),
        "mode": lambda: opg.enable(text),  # type: ignore[arg-type]
        "unregistered": lambda: opg.enable(unregistered=text),  # type: ignore[arg-type]
        "hosts": lambda: opg.enable(hosts=[text]),
        "registry": lambda: opg.enable(registry=text),
        "mapping": lambda: opg.enable(registry={text: text}),
        "address": lambda: opg.enable(registry=f"redis://u:{text}@h:x/0"),
        "scope": lambda: opg.guard(project=text).__enter__(),
        "decorator": lambda: opg.guard(text),  # type: ignore[call-overload]
    }


@pytest.mark.parametrize("mode", ["enforce", "warn"])
def test_no_error_log_line_verdict_or_audit_has_a_part_of_it(
    mode: Any, clean: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = iter(range(10_000))

    @settings(
        max_examples=24,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(
        st.tuples(KEYS.filter(lambda key: "admin" not in key), st.tuples(BEFORE, BEHIND))
        | st.tuples(GATEWAY_KEYS, BESIDE)
    )
    def show(of: tuple[str, tuple[str, str]]) -> None:
        key, beside = of
        is_cut = key.startswith("sk-") and find_key(key) != key
        if is_cut and beside[0] == "/":  # known only where the registry is asked, or a word begins
            beside = ("//", "/x")
        text = key.join(beside)
        is_known_by_its_form = find_key(key) is not None
        for what, call in calls(key, text).items():
            if is_cut and what == "registry":  # a path, which is named as it is
                continue
            if what == "as the host" and not is_known_by_its_form:  # in lower case it is another
                continue
            with looking() as everything:
                folder = tmp_path / str(next(numbers))
                opg.enable(mode, registry={"proj_a": key}, audit=folder)
                try:
                    call()
                except Exception as error:
                    if isinstance(error, (opg.ProjectGuardError, opg.ConfigurationError)):
                        everything.error(error)
                opg.disable()
            told = "\n".join(everything.seen)
            assert told or mode == "warn" or not is_known_by_its_form, what
            assert parts_of(key, told) == [], what
            kept = "".join(file.read_text("utf-8") for file in folder.glob("*"))
            assert parts_of(key, kept) == [], what
            if kept and what in ("mismatch", "in the header", "in the path"):
                page = folder / "page.html"
                main(["report", str(folder), "--html", str(page)])
                main(["report", str(folder), "--json"])
                shown_by_report = capsys.readouterr().out + page.read_text("utf-8")
                assert parts_of(key, shown_by_report) == [], what

    show()


FIELDS = ["alias", "id", "organization", "account", "fingerprint", "hint", "note", "name", "table"]


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(KEYS, BEFORE, BEHIND, st.sampled_from(FIELDS))
def test_no_registry_error_has_a_part_of_it(
    tmp_path_factory: pytest.TempPathFactory, key: str, before: str, behind: str, field: str
) -> None:
    text = json.dumps(before + key + behind)
    values = dict.fromkeys(FIELDS, '"x"') | {
        "id": '"proj_a"',
        "organization": '"org-a"',
        "fingerprint": f'"sha256:{"0" * 64}"',
        "name": "note",
        "alias": "bot",
        "table": "projects",
    }
    values[field] = text
    lines = [
        "version = 1",
        f"[{values['table']}.{values['alias']}]",
        f"id = {values['id']}",
        f"organization = {values['organization']}",
        f"service_accounts = [{values['account']}]",
        f"keys = [{{ fingerprint = {values['fingerprint']}, hint = {values['hint']}, "
        f"{values['name']} = {values['note']} }}]",
    ]
    path = tmp_path_factory.mktemp("registry") / "openai-projects.toml"
    path.write_text("\n".join(lines), "utf-8")
    with pytest.raises(opg.RegistryError) as refused:
        opg.Registry.from_file(path)
    assert parts_of(key, f"{refused.value} {refused.value!r} {refused.value.__dict__}") == []
