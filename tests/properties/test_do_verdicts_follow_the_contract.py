"""Does every call fare as a slow reading of the contract's table says it must?"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from properties.contract import UNSEEN, Answer, Case, Entry, possible
from support import Recorder, fresh_guard, http

import openai_project_guard as opg

KEYS = [
    "sk-proj-0not-a-real-key-AAAA0000aaaa",
    "sk-svcacct-0not-a-real-key-BBBB0000bbbb",
    "sk-0notarealkeyCCCC0000cccc",
    "gateway key".replace(" ", "."),
]
KEYLESS = ["sk-admin-0not-a-real-key-DDDD", "ek_0notarealsecretEEEE"]
PROJECTS = ["proj_a", "proj_ab", "proj_A"]
ORGANIZATIONS = ["org-one", "org-on"]
HEADERS = [
    *(project.encode() for project in PROJECTS),
    *(b"proj_x", b"", b" ", b" proj_a", b"proj_a ", b"\tproj_a", b"proj_a\x00", b"proj_a\x7f"),
    *("proj_é".encode(), "proj_é".encode("latin-1"), b"proj_a,proj_a", b"proj a", b"\xa0proj_a"),
]


def up_to_two(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Mostly one."""
    return st.tuples(values) | st.lists(values, max_size=2).map(tuple)


ENTRIES = st.builds(
    Entry,
    st.sampled_from(KEYS[:3]),
    st.sampled_from(PROJECTS),
    st.sampled_from([None, None, *ORGANIZATIONS]),
    st.booleans(),
)
ANY_CASE = st.builds(
    Case,
    mode=st.sampled_from(["enforce", "inject", "warn"]),
    unregistered=st.sampled_from(["block", "warn", "allow", "learn"]),
    pinned=st.sampled_from([None, None, *PROJECTS]),
    # A key that is registered twice for a project, in one registry, has its last organization.
    entries=st.lists(ENTRIES, max_size=4, unique_by=lambda e: (e.key, e.project, e.in_process)).map(
        tuple
    ),
    is_openai_host=st.sampled_from([True, True, False]),
    keys=up_to_two(st.sampled_from([*KEYS, *KEYLESS])),
    api_keys=st.just(()) | up_to_two(st.sampled_from([*KEYS, *KEYLESS])),
    projects=up_to_two(st.sampled_from(HEADERS)),
    organizations=st.lists(
        st.sampled_from([b"", *(name.encode() for name in ORGANIZATIONS), b"org-x"]), max_size=1
    ).map(tuple),
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Half of them with a key that is registered, and a header that is its own."""
    case = draw(ANY_CASE)
    if not case.entries or draw(st.booleans()):
        return case
    entry = case.entries[0]
    case = case._replace(keys=(entry.key,), api_keys=())
    return case._replace(projects=(entry.project.encode(),)) if draw(st.booleans()) else case


SPELLINGS = st.sampled_from([bytes, bytes.lower, bytes.upper])


class RawClient(openai.OpenAI):
    """A client that sends just these headers."""

    raw: Any = ()

    def _prepare_request(self, request: Any) -> None:
        ours = (b"authorization", b"api-key", b"openai-project", b"openai-organization")
        kept = [pair for pair in request.headers.raw if pair[0].lower() not in ours]
        request.headers = http.Headers([*kept, *self.raw])


def headers(case: Case, spell: Any) -> list[tuple[bytes, bytes]]:
    pairs = [(b"Authorization", b"Bearer " + key.encode()) for key in case.keys]
    pairs += [(b"api-key", key.encode()) for key in case.api_keys]
    pairs += [(b"OpenAI-Project", value) for value in case.projects]
    pairs += [(b"OpenAI-Organization", value) for value in case.organizations]
    return [(spell(name), value) for name, value in pairs]


def test_outcome_and_reason_are_of_those_that_the_contract_allows() -> None:
    recorder = Recorder()
    clients = {
        is_openai_host: RawClient(
            api_key="unused",
            base_url=url,
            max_retries=0,
            http_client=http.Client(transport=http.MockTransport(recorder)),
        )
        for is_openai_host, url in (
            (True, "https://eu.api.openai.com/v1"),
            (False, "https://gateway.example/v1"),
        )
    }
    seen: set[Answer] = set()

    @settings(
        max_examples=400,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(cases(), SPELLINGS, st.sampled_from(["process", "scope"]))
    def judge(case: Case, spell: Any, where: str) -> None:
        raw = headers(case, spell)
        client = clients[case.is_openai_host]
        client.raw = raw
        before = len(recorder.requests)
        verdicts: list[opg.Verdict] = []
        with fresh_guard():
            opg.add_observer(verdicts.append)
            call(client, case, where)
        left = recorder.requests[before:]
        answers = [(verdict.outcome, verdict.reason) for verdict in verdicts] or [UNSEEN]
        assert len(answers) == 1
        (answer,) = answers
        seen.add(answer)
        assert answer in possible(case)
        assert len(left) == (answer[0] != "blocked")
        if left:
            assert_untouched(raw, left[0], case, is_injected=answer[0] == "injected")

    judge()
    reasons = {"missing", "mismatch", "malformed", "unregistered", "scope", "organization"}
    assert {reason for _, reason in seen} == {None, *reasons}
    assert {outcome for outcome, _ in seen} == {
        *("allowed", "injected", "warned", "blocked", "unseen"),
    }


def call(client: RawClient, case: Case, where: str) -> None:
    registry = opg.Registry()
    for entry in case.entries:
        register = opg.register if entry.in_process else registry.register
        register(entry.key, entry.project, organization=entry.organization)
    pinned = case.pinned
    # A process cannot be pinned to a project that its registries do not have; a scope can.
    if where == "process" and pinned in {None, *(entry.project for entry in case.entries)}:
        opg.enable(case.mode, registry=registry, project=pinned, unregistered=case.unregistered)
        send(client)
    else:
        opg.enable("enforce", registry=registry, unregistered=case.unregistered)
        outer = opg.guard(mode="warn", project=None if pinned is None else "proj_outer")
        with outer, opg.guard(mode=case.mode, project=pinned):  # the innermost wins
            send(client)


def send(client: RawClient) -> None:
    with suppress(opg.ProjectGuardError):
        client.models.list()


def assert_untouched(raw: Any, request: Any, case: Case, *, is_injected: bool) -> None:
    """Nothing but the header that was put in is different, and it is a right one."""
    names = {name.lower() for name, _ in raw} | {b"openai-project"}
    left = [(name.lower(), value) for name, value in request.headers.raw if name.lower() in names]
    was = [(name.lower(), value) for name, value in raw]
    if is_injected:
        put_in = [value for name, value in left if name == b"openai-project"]
        keys = case.keys or case.api_keys
        right = {entry.project.encode() for entry in case.entries if entry.key in keys}
        if case.pinned:
            right = {case.pinned.encode()}
        assert put_in
        assert set(put_in) <= right
        left = [pair for pair in left if pair[0] != b"openai-project"]
        was = [pair for pair in was if pair[0] != b"openai-project"]
    assert sorted(left) == sorted(was)


@pytest.mark.parametrize(
    ("case", "answers"),
    [
        (Case("enforce", "block", None, (), True, (), (), (), ()), {UNSEEN}),
        (
            Case("enforce", "block", None, (), True, (KEYS[0],), (), (), ()),
            {("blocked", "unregistered")},
        ),
    ],
)
def test_the_reading_itself(case: Any, answers: set[Answer]) -> None:
    assert possible(case) == answers
