"""Does a refusal say what, what the registry says, where from, nothing sent, and how to fix it?"""

from __future__ import annotations

import inspect
import re
import shlex
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote

import openai
import pytest
from openai import _base_client
from support import (
    STRANGER,
    A,
    B,
    Recorder,
    Sync,
    chat,
    fingerprint,
    http,
    needs_custom_headers,
    needs_sdk,
)

import openai_project_guard as opg
from openai_project_guard._cli import main

BASIC = "Basic " + b64encode(f"x:{A}".encode()).decode()

REGISTRY = """version = 1

[projects.support-bot]
id = "proj_a"
organization = "org-1"
keys = [
  { fingerprint = "FINGERPRINT-C", hint = "sk-proj-…0000" },
  { fingerprint = "FINGERPRINT-A", hint = "sk-proj-…AAAA" },
]

[projects.billing]
id = "proj_b"
keys = [{ fingerprint = "FINGERPRINT-B" }]
"""


@pytest.fixture(autouse=True)
def active_registry(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "openai-projects.toml"
    text = REGISTRY
    for name, key in (("A", A), ("B", B), ("C", "another key")):
        text = text.replace(f"FINGERPRINT-{name}", fingerprint(key))
    path.write_text(text, encoding="utf-8")
    opg.enable(registry="openai-projects.toml")


class OwnSend(http.Client):
    """Checked before it: from then on, a hook of ours is between two frames of the SDK's."""

    def send(self, request: Any, **options: Any) -> Any:
        return super().send(request, **options)


def refusal(client: Any, headers: dict[str, Any] | None = None) -> list[str]:
    with pytest.raises(opg.ProjectGuardError) as refused:
        chat(client, extra_headers=headers or {})
    text = str(refused.value).splitlines()
    assert re.fullmatch(r"Called at .*:\d+ in \w+; the client was built at .*:\d+ in .*\.", text[3])
    return text


def test_with_options_key_swap(sent: Recorder) -> None:
    client = Sync.client(sent, project="proj_a").with_options(api_key=B)
    lines = refusal(client)
    place = re.search(r"then with_options at (.*:\d+ in test_with_options_key_swap)\.$", lines[3])
    assert place is not None
    assert lines == [
        "POST api.openai.com/v1/chat/completions was about to be sent with key sk-proj-…BBBB and "
        "OpenAI-Project 'proj_a'.",
        "The registry has this key for project proj_b (billing), in openai-projects.toml, line 13.",
        "That OpenAI-Project comes from the client's `project=` (`with_options()` and `copy()` "
        "keep it), or from OPENAI_PROJECT_ID as it was when the client was made.",
        lines[3],
        "Nothing was sent.",
        f"To fix it: also pass `project=` to that with_options(), at {place[1]} (expected: proj_b)"
        ", or use a key of project proj_a. If this key does belong to proj_a, the registry's entry "
        "is wrong: correct it in openai-projects.toml, line 13.",
    ]


def test_stale_variable(sent: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj_b")
    lines = refusal(Sync.client(sent))
    assert lines[1:3] == [
        "The registry has this key for project proj_a (support-bot) of org-1, in "
        "openai-projects.toml, line 8.",
        "That OpenAI-Project comes from OPENAI_PROJECT_ID in the environment.",
    ]
    assert lines[5].startswith(
        "To fix it: correct OPENAI_PROJECT_ID where it is set (a .env file, perhaps), and any "
        "`project=` that repeats it (expected: proj_a), or use a key of "
    )


def test_a_variable_that_this_client_did_not_take_over_is_not_blamed(
    sent: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Sync.client(sent, project="proj_b")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "OpenAI-Project: proj_b")
    assert refusal(client)[2].startswith("That OpenAI-Project comes from the client's `project=`")


@needs_custom_headers
def test_custom_headers_variable(sent: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-A: 1\nOpenAI-Project: proj_b")
    assert (
        refusal(Sync.client(sent))[2]
        == "That OpenAI-Project comes from OPENAI_CUSTOM_HEADERS in the environment."
    )


def test_default_headers_in_lower_case_lose(sent: Recorder) -> None:
    client = Sync.client(sent, default_headers={"openai-project": "proj_a"})
    if not sent_without_guard(client, sent):
        assert refusal(client)[2] == (
            "`default_headers` or OPENAI_CUSTOM_HEADERS spells OpenAI-Project in another way, and "
            "the SDK drops that."
        )


def sent_without_guard(client: Any, sent: Recorder) -> bool:
    with opg.guard(mode="off"):
        chat(client)
    return "openai-project" in sent.requests.pop().headers


def test_default_headers(sent: Recorder) -> None:
    client = Sync.client(sent, default_headers={"OpenAI-Project": "proj_b"})
    assert refusal(client)[2] == (
        "That OpenAI-Project comes from `default_headers` of the client, or from "
        "OPENAI_CUSTOM_HEADERS as it was when the client was made."
    )


def test_extra_headers(sent: Recorder) -> None:
    lines = refusal(Sync.client(sent, project="proj_a"), {"OpenAI-Project": "proj_b"})
    assert lines[2] == "That OpenAI-Project comes from `extra_headers` of this call."
    assert lines[5].startswith("To fix it: correct its `extra_headers` (expected: proj_a)")


def test_a_subclass(sent: Recorder) -> None:
    class Tenant(openai.OpenAI):
        def _prepare_request(self, request: Any) -> None:
            request.headers["OpenAI-Project"] = "proj_b"

    client = Tenant(
        api_key=A, http_client=http.Client(transport=http.MockTransport(sent)), max_retries=0
    )
    assert refusal(client)[2] == (
        "That OpenAI-Project comes from outside the SDK's settings (a subclass, an event hook or "
        "an auth flow)."
    )


@needs_sdk(
    "input_options = model_copy" in inspect.getsource(_base_client),
    "a copy of the options that the caller gave",
)
@pytest.mark.parametrize("given", [None, {"OpenAI-Project": "proj_a"}])
@pytest.mark.parametrize("with_more_hooks", [False, True])
def test_what_a_subclass_does_to_the_options_is_not_of_the_call(
    with_more_hooks: bool, given: dict[str, str] | None, sent: Recorder
) -> None:
    class Tenant(openai.OpenAI):
        def _prepare_options(self, options: Any) -> Any:
            options.headers = {**(options.headers or {}), "OpenAI-Project": "proj_b"}
            return super()._prepare_options(options)

    if with_more_hooks:
        other = openai.OpenAI(
            api_key=A, project="proj_a", http_client=OwnSend(transport=http.MockTransport(sent))
        )
        chat(other)
    client = Tenant(
        api_key=A, http_client=http.Client(transport=http.MockTransport(sent)), max_retries=0
    )
    lines = refusal(client, given or {})
    assert lines[2] == (
        "That OpenAI-Project comes from outside the SDK's settings (a subclass, an event hook or "
        "an auth flow)."
    )


@pytest.mark.parametrize("own_send", [False, True])
def test_of_a_call_that_another_makes_its_own_headers_are_named(
    own_send: bool, sent: Recorder
) -> None:
    """The frames of the outer one are on the stack as well, with its own options."""
    said: list[str] = []

    def make_another(request: Any) -> Any:
        kind = OwnSend if own_send else http.Client
        with kind(transport=http.MockTransport(sent)) as inner:
            client = openai.OpenAI(api_key=A, http_client=inner, max_retries=0)
            said.append(refusal(client, {"OpenAI-Project": "proj_b"})[2])
        return sent(request)

    outer = openai.OpenAI(
        api_key=A,
        project="proj_a",
        http_client=http.Client(transport=http.MockTransport(make_another)),
        max_retries=0,
    )
    chat(outer, extra_headers={"X-Outer": "1"})
    assert said == ["That OpenAI-Project comes from `extra_headers` of this call."]


def test_nothing_sets_the_header(sent: Recorder) -> None:
    lines = refusal(Sync.client(sent))
    assert lines[0].endswith("with key sk-proj-…AAAA and no OpenAI-Project header.")
    assert lines[2] == (
        "Nothing sets the header: the client has no `project=`, and OPENAI_PROJECT_ID was not set "
        "when it was made."
    )
    assert lines[5] == (
        "To fix it: pass `project=` to the client or set OPENAI_PROJECT_ID (expected: proj_a), or "
        'use mode="inject", or OPENAI_PROJECT_GUARD=inject, to have it put in.'
    )


def test_extra_headers_empty_the_header(sent: Recorder) -> None:
    lines = refusal(Sync.client(sent, project="proj_a"), {"OpenAI-Project": ""})
    assert lines[0].endswith("and an empty OpenAI-Project header.")
    assert lines[2] == "`extra_headers` of this call takes the client's OpenAI-Project out."


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (" proj_a ", "which has white space around it."),
        ("proj_a\r\nX: y", "which is there more than once or has a line break in it."),
        ("proj_\x7fa", "which has characters that no project id has."),
    ],
)
@pytest.mark.parametrize("key", [A, f'"{A}"'], ids=["key as it is", "key in quotes"])
def test_malformed_says_what_is_wrong_with_it(
    sent: Recorder, value: str, fault: str, key: str
) -> None:
    client = Sync.client(sent, api_key=key, project="proj_a")
    lines = refusal(client, {"OpenAI-Project": value})
    assert lines[0].endswith(fault)
    expected = " (expected: proj_a)" if key == A else ""
    assert lines[-1] == (
        f"To fix it: correct its `extra_headers`{expected}; send one OpenAI-Project header "
        "and one Authorization header, Bearer KEY."
    )


@pytest.mark.parametrize("variable", [True, False])
def test_unregistered_says_where_the_key_comes_from(
    sent: Recorder, variable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv("OPENAI_API_KEY", STRANGER)
    lines = refusal(Sync.client(sent, api_key=STRANGER, project="proj_a"))
    assert lines[1] == "This key is not in any registry: not in openai-projects.toml."
    place = "OPENAI_API_KEY in the environment"
    if not variable:
        place = "the client's `api_key=`, or from OPENAI_API_KEY as it was when the client was made"
    assert lines[2] == f"The key comes from {place}."
    fix = "correct OPENAI_API_KEY" if variable else "give the client the right `api_key=`"
    assert lines[5] == (
        "To fix it: if the key is right, register it: openai-project-guard register PROJECT "
        "--key-env NAME, where NAME is the variable that holds the key; if it is not, "
        f'{fix}. To let such calls through meanwhile: unregistered="warn", or '
        "OPENAI_PROJECT_GUARD_UNREGISTERED=warn."
    )


@pytest.mark.parametrize("name", ["-x.toml", "two words.toml", "it's.toml", "$HOME.toml"])
def test_the_command_in_an_error_works_whatever_the_registry_is_called(
    name: str, sent: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(name).write_text("version = 1\n", encoding="utf-8")
    opg.enable(registry=name)
    text = refusal(Sync.client(sent, api_key=STRANGER, project="proj_a"))[5]
    command = re.search(r"openai-project-guard (register PROJECT .*), where NAME", text)
    assert command is not None
    monkeypatch.setenv("NAME", STRANGER)
    assert main(shlex.split(command[1].replace("PROJECT", "proj_a"))) == 0
    assert fingerprint(STRANGER) in Path(name).read_text(encoding="utf-8")


def test_scope_names_the_pinned_project(sent: Recorder) -> None:
    with opg.guard(project="billing"):
        lines = refusal(Sync.client(sent, project="proj_a"))
    assert lines[1] == (
        "The registry has this key for project proj_a (support-bot) of org-1, in "
        "openai-projects.toml, line 8; the scope here is pinned to project proj_b."
    )
    assert lines[5] == (
        "To fix it: use a key and an OpenAI-Project of proj_b here, or make this call outside the "
        "scope that is pinned to it (guard(project=...), enable(project=...) or "
        "OPENAI_PROJECT_GUARD_PROJECT)."
    )


def test_organization(sent: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-2")
    lines = refusal(Sync.client(sent, project="proj_a"))
    assert lines[0].endswith("OpenAI-Project 'proj_a' and OpenAI-Organization 'org-2'.")
    assert lines[2] == "That OpenAI-Organization comes from OPENAI_ORG_ID in the environment."
    assert lines[5] == (
        "To fix it: correct or unset OPENAI_ORG_ID where it is set (a .env file, perhaps), and any "
        "`organization=` that repeats it (expected: org-1), or correct the registry's entry."
    )


def test_an_entry_of_register_names_its_line_of_code(sent: Recorder) -> None:
    key = "sk-proj-not-a-real-key-of-code-CCCC"
    opg.register(key, "proj_c")
    lines = refusal(Sync.client(sent, api_key=key, project="proj_a"))
    assert re.search(r"proj_c, in register\(\) at .*test_error_texts\.py:\d+\.$", lines[1])
    assert re.search(
        r" If this key does belong to proj_a, the registry's entry is wrong: correct it in "
        r"register\(\) at .*test_error_texts\.py:\d+\.$",
        lines[-1],
    )


def test_a_key_in_the_project_header_is_only_hinted_at(sent: Recorder) -> None:
    lines = refusal(Sync.client(sent), {"OpenAI-Project": STRANGER})
    assert STRANGER not in "".join(lines)
    assert "OpenAI-Project 'sk-proj-…ZZZZ'" in lines[0]


def test_the_servers_401_gets_a_note(sent: Recorder) -> None:
    def disagree(request: Any) -> Any:
        code = "mismatched_project"
        error = {"message": "no", "type": "invalid_request_error", "param": None, "code": code}
        return http.Response(401, json={"error": error})

    client = openai.OpenAI(
        api_key=A,
        project="proj_a",
        http_client=http.Client(transport=http.MockTransport(disagree)),
    )
    with pytest.raises(openai.AuthenticationError) as failed:
        client.models.list()
    (note,) = failed.value.__notes__  # type: ignore[attr-defined]
    assert note == (
        "openai-project-guard let this call pass: the registry has its key for project proj_a "
        "(in openai-projects.toml, line 8), and that is what its OpenAI-Project header said. The "
        "server knows better, so the registry is out of date: openai-project-guard remove "
        "sk-proj-…AAAA, then openai-project-guard register PROJECT --key-env NAME (or sync), where "
        "PROJECT is the key's project and NAME the variable that holds the key."
    )


def test_the_fix_for_a_name_in_the_header_is_the_id(sent: Recorder) -> None:
    with pytest.raises(opg.ProjectMismatchError) as refused:
        Sync.client(sent, project="my billing project").models.list()
    assert "register my billing" not in str(refused.value)
    assert str(refused.value).endswith(
        "To fix it: give the client the right `project=` (expected: proj_a): the header takes a "
        "project's id, proj_…, not its name or its alias."
    )


def test_two_keys_say_what_is_wrong_with_the_call(sent: Recorder) -> None:
    lines = refusal(Sync.client(sent, project="proj_a", default_headers={"api-key": B}))
    assert lines[0].endswith("and OpenAI-Project 'proj_a', which goes with more than one key.")
    assert lines[1] == (
        "The registry has these keys for project proj_a (support-bot) of org-1, in "
        "openai-projects.toml, line 8; and for proj_b (billing), in openai-projects.toml, line 13."
    )
    assert lines[-1] == (
        "To fix it: send one of the two keys: take `api-key` out of the client's `default_headers`."
    )


def test_of_two_keys_the_one_that_a_registry_has_is_spoken_of(sent: Recorder) -> None:
    client = Sync.client(sent, api_key=STRANGER, project="proj_a", default_headers={"api-key": B})
    assert refusal(client)[1] == (
        "Of these keys the registry has one, for project proj_b (billing), in "
        "openai-projects.toml, line 13."
    )


LONE = "what is to be sent is one Authorization header: Bearer KEY, without quotes"


@pytest.mark.parametrize(
    ("given", "fault", "fix"),
    [
        (
            {"api_key": f"Bearer {A}"},
            "a key that has `Bearer ` in front of it",
            "take `Bearer ` off the value in api_key=: the SDK adds it",
        ),
        (
            {"api_key": f"'{A}'"},
            "a key in quotes",
            "take the quotes off the value in api_key=, which docker --env-file keeps",
        ),
        (
            {"api_key": f"{A},{STRANGER}"},
            "more than one key",
            f"give the client the right `api_key=`; {LONE}",
        ),
        (
            {"api_key": f"key {A}"},
            "a registered key in an unusual form",
            f"give the client the right `api_key=`; {LONE}",
        ),
        (
            {"default_headers": {"Authorization": f"Bearer  bearer {A}"}},
            "a key that has `Bearer ` in front of it",
            f"correct the client's `default_headers`; {LONE}",
        ),
        (
            {"default_headers": {"Authorization": BASIC}},
            "a key that is sent by Basic",
            f"correct the client's `default_headers`; {LONE}",
        ),
    ],
)
def test_a_malformed_key_is_not_said_to_be_in_no_registry(
    given: dict[str, Any], fault: str, fix: str, sent: Recorder
) -> None:
    lines = refusal(Sync.client(sent, **{"project": "proj_a", **given}))
    assert lines[0].endswith(f", which goes with {fault}.")
    has = "The registry has this key"
    if fault == "more than one key":
        has = "Of these keys the registry has one,"
    assert lines[1] == (
        f"{has} for project proj_a (support-bot) of org-1, in openai-projects.toml, line 8."
    )
    assert lines[-1] == f"To fix it: {fix}."


@pytest.mark.parametrize(
    "form",
    [
        *("Bearer={}", "Bearer:{}", "Bearer {};", "Bearer <{}>", "Bearer [{}]", "Bearer ({})"),
        *("Bearer token={}", 'Token token="{}"', "key:{}", "Bearer {{{}}}", "Bearer {}|v1"),
        *("Bearer key={}&v=1", "base64", "Basic base64", "Bearer 'x',\"{}\"", "Bearer base64 line"),
        *("Bearer base64 bare", 'Token token="base64"', "Bearer .base64", "Bearer -base64"),
        *("Basic ab?:base64", "Basic ab~:base64", "Basic ab?:base64 bare"),
    ],
)
@pytest.mark.parametrize("base_url", ["https://api.openai.com/v1", "http://gateway.test/v1"])
def test_a_registered_key_in_any_form_is_malformed_on_any_host(
    form: str, base_url: str, sent: Recorder
) -> None:
    value = form.format(A)
    if "base64" in form:
        text = f"user:{A}\n" if form.endswith(" line") else A  # as `echo` makes it
        if before := re.search("ab.:", form):  # in base64 for URLs there is a _ or a - in it
            text, form = before[0] + A, form.replace(before[0], "")
        encoded = urlsafe_b64encode(text.encode()).decode()
        if form.endswith(" bare"):
            encoded = encoded.rstrip("=")
        value = re.sub(" (line|bare)$", "", form).replace("base64", encoded)
    client = Sync.client(sent, project="proj_b", base_url=base_url)
    lines = refusal(client, {"Authorization": value})
    assert lines[0].endswith("in an unusual form.") or "Basic" in form or "," in form
    assert (
        lines[1]
        == (
            "The registry has this key for project proj_a (support-bot) of org-1, in "
            "openai-projects.toml, line 8."
        )
        or "," in form
    )
    assert LONE in lines[-1]


@pytest.mark.parametrize("form", ["{}, other", "other,{}", "'{}'", '"{}"', "Token {}"])
def test_a_registered_key_is_known_though_it_has_what_may_stand_between_keys(
    form: str, sent: Recorder
) -> None:
    key = "gate;way=one:(two)"
    opg.enable(registry={"proj_a": key})
    client = Sync.client(sent, project="proj_b", base_url="http://gateway.test/v1")
    with pytest.raises(opg.ProjectGuardError) as refused:
        chat(client, extra_headers={"Authorization": form.format(key)})
    assert refused.value.verdict.reason == "malformed"


@pytest.mark.parametrize(
    ("place", "where"),
    [
        ("extra_headers", "`extra_headers` of this call"),
        ("http_client", "the headers of the client's `http_client=`"),
        ("with_options", "the `default_headers` of that with_options(), at "),
        ("hook", None),
    ],
)
def test_a_second_key_is_taken_out_where_it_was_put_in(
    place: str, where: str | None, sent: Recorder
) -> None:
    second, options = {"api-key": B}, dict[str, Any](project="proj_a")
    if place in ("http_client", "hook"):
        hooks = [lambda request: request.headers.update(second)] if place == "hook" else []
        options["http_client"] = http.Client(
            transport=http.MockTransport(sent),
            headers=second if place == "http_client" else {},
            event_hooks={"request": hooks},
        )
    client = Sync.client(sent, **options)
    if place == "with_options":
        client = client.with_options(default_headers=second)
    fix = f"take `api-key` out of {where}" if where else "look for the code that sets `api-key`"
    (last,) = refusal(client, second if place == "extra_headers" else {})[-1:]
    assert last.startswith(f"To fix it: send one of the two keys: {fix}")


def test_an_id_from_elsewhere_forges_no_line_and_drives_no_terminal(
    sent: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    named = "m\nWARNING nothing\x1b[31m\u202e\u2028\x85é"
    with pytest.raises(opg.ProjectMismatchError) as refused:
        Sync.client(sent, project="proj_b").get(f"/models/{quote(named)}", cast_to=object)
    lines = str(refused.value).splitlines()
    path = r"/v1/models/m\nWARNING nothing\x1b[31m\u202e\u2028\x85é"
    assert lines[0].startswith(f"GET api.openai.com{path} was about to be sent")
    (record,) = [each for each in caplog.records if hasattr(each, "verdict")]
    assert f"{path} with" in record.getMessage()
    assert all(line.isprintable() for line in (*lines, record.getMessage()))


# --- several registries, or none ------------------------------------------------------------------


LONG = "x" * 60_000


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"OpenAI-Project": f"proj_{LONG}"}, "use a key of project proj_xxx"),
        ({"OpenAI-Project": f"proj_{LONG} "}, "which has white space around it"),
        ({"OpenAI-Project": "proj_a", "OpenAI-Organization": f"org-{LONG}"}, "and .* 'org-xxx"),
    ],
)
def test_of_a_long_header_the_beginning_is_shown_and_kept(
    sent: Recorder, headers: dict[str, str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(opg.ProjectGuardError, match=said) as refused:
        chat(Sync.client(sent), extra_headers=headers)
    assert "comes from `extra_headers` of this call." in str(refused.value)
    for told in (str(refused.value), repr(refused.value.verdict), caplog.text):
        assert len(told) < 6_000
    assert str(refused.value.verdict.actual)[:9] in ("proj_xxxx", "proj_a")


@pytest.mark.parametrize("length", [500, 501])
def test_five_hundred_characters_are_shown_whole(sent: Recorder, length: int) -> None:
    value = "proj_".ljust(length, "x")
    with pytest.raises(opg.ProjectMismatchError) as refused:
        Sync.client(sent, project=value).models.list()
    assert refused.value.verdict.actual == (value if length == 500 else f"{value[:500]}…")


def test_of_a_long_path_the_beginning_is_shown_and_kept(sent: Recorder) -> None:
    with pytest.raises(opg.ProjectMissingError) as refused:
        Sync.client(sent).models.retrieve(LONG)
    assert refused.value.verdict.path.startswith("/v1/models/xxx")
    assert len(refused.value.verdict.path) < 1_000


def test_every_project_of_a_key_is_named_with_its_place(sent: Recorder) -> None:
    opg.register(A, "proj_c", organization="org-3")
    lines = refusal(Sync.client(sent, project="proj_b"))
    assert re.fullmatch(
        r"The registry has this key for project proj_a \(support-bot\) of org-1, in "
        r"openai-projects\.toml, line 8; and for proj_c of org-3, in register\(\) at .*:\d+\.",
        lines[1],
    )
    assert lines[-1].endswith(
        " register proj_b --key-env NAME --also, where NAME is the variable that holds the key."
    )


def test_every_organization_that_would_do_is_named(sent: Recorder) -> None:
    opg.register(A, "proj_a", organization="org-3")
    lines = refusal(Sync.client(sent, project="proj_a", organization="org-2"))
    assert lines[-1] == (
        "To fix it: give the client the right `organization=` (expected: org-1 or org-3), or "
        "correct the registry's entry."
    )


def test_every_registry_that_was_looked_in_is_named(
    sent: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "more.toml").write_text("version = 1\n", encoding="utf-8")
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", "openai-projects.toml,more.toml")
    opg.enable()
    lines = refusal(Sync.client(sent, api_key=STRANGER))
    assert lines[1] == ("This key is not in any registry: not in openai-projects.toml, more.toml.")


def test_an_empty_registry_that_was_looked_in_is_named(sent: Recorder, tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text("version = 1\n", encoding="utf-8")
    opg.enable(registry="empty.toml")
    assert refusal(Sync.client(sent))[1] == ("This key is not in any registry: not in empty.toml.")


@pytest.mark.parametrize("is_enabled", [True, False])
def test_a_registry_of_code_alone_has_no_name(
    is_enabled: bool, sent: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "openai-projects.toml").unlink()
    opg.disable()
    opg.register(A, "proj_a")
    if is_enabled:
        opg.enable()
    with opg.guard():
        lines = refusal(Sync.client(sent, api_key=STRANGER))
    assert lines[1] == "This key is not in any registry."
