"""Is a call sent exactly if `decide` says so, whichever way it takes through the guard?

Most calls pass by a fast path that looks at less than the verdict does. Here are registries,
settings, scopes and headers as they come, a client of the real SDK, and beside it a plain reading
of the same headers for `decide`.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, NamedTuple

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import Recorder, fresh_guard, http

import openai_project_guard as opg
from openai_project_guard._check.verdict import decide
from openai_project_guard._types import Mode, Policy

pytestmark = pytest.mark.usefixtures("clean")

KEYS = [f"sk-proj-not-a-real-key-number-{number}-AAAA" for number in range(3)]
STRANGER = "sk-proj-not-a-real-key-of-nobody-ZZZZ"
ADMIN = "sk-admin-not-a-real-key-of-the-admins-XXXX"
EPHEMERAL = "ek_not_a_real_client_secret_YYYY"
PROJECTS = ["proj_a", "proj_b", "proj_c"]
OPENAI, ELSEWHERE = "https://api.openai.com/v1", "https://gateway.example.com/v1"


class Entry(NamedTuple):
    """One key that is registered, in the process registry or in that of `enable()`."""

    key: str
    project: str
    organization: str | None
    in_process: bool


class Case(NamedTuple):
    """Everything that the fate of one call depends on."""

    entries: list[Entry]
    mode: str
    unregistered: Any
    pinned: str | None
    scopes: list[tuple[str | None, Any]]
    base_url: str
    headers: list[tuple[bytes, bytes]]


def _spelled(name: str) -> st.SearchStrategy[bytes]:
    return st.sampled_from([name, name.lower(), name.upper()]).map(str.encode)


def _header(name: str, values: st.SearchStrategy[bytes]) -> st.SearchStrategy[tuple[bytes, bytes]]:
    return st.tuples(_spelled(name), values)


SCHEMES = st.sampled_from([b"Bearer ", b"Bearer ", b"Bearer ", b"bearer ", b"Bearer  ", b"Basic "])
ANY_KEY = st.sampled_from([*KEYS, STRANGER, STRANGER, ADMIN, EPHEMERAL]).map(str.encode)
PROJECT_VALUES = st.one_of(
    st.sampled_from([*PROJECTS, *PROJECTS, "", "proj_x", " proj_a", "proj_a ", "PROJ_A"]).map(
        str.encode
    ),
    st.binary(max_size=6).filter(lambda value: not set(value) & set(b"\0\r\n")),
)
ORGANIZATION_VALUES = st.sampled_from([b"org-1", b"org-2", b"org-2", b""])


def _up_to_two(one: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Mostly one, sometimes none or two."""
    return st.sampled_from([1, 1, 1, 1, 0, 2]).flatmap(
        lambda number: st.lists(one, min_size=number, max_size=number)
    )


@st.composite
def headers(draw: st.DrawFn, one: Entry) -> list[tuple[bytes, bytes]]:
    """Headers of all kinds; those of an entry that is registered more often than by chance."""
    own_key, own_project = one.key.encode(), one.project.encode()
    organizations = _up_to_two(_header("OpenAI-Organization", ORGANIZATION_VALUES))
    if draw(st.booleans()):
        whose = draw(st.sampled_from([one.project, one.project, *PROJECTS, "proj_x"]))
        in_order = [(b"Authorization", b"Bearer " + own_key), (b"OpenAI-Project", whose.encode())]
        return [*in_order, *draw(st.one_of(st.just([]), organizations))]
    key = st.one_of(st.just(own_key), ANY_KEY)
    bearers = _up_to_two(_header("Authorization", st.tuples(SCHEMES, key).map(b"".join)))
    api_keys = _up_to_two(_header("api-key", key))
    plain = key.map(lambda value: [(b"Authorization", b"Bearer " + value)])
    both = st.tuples(bearers, api_keys).map(lambda two: two[0] + two[1])
    project = st.one_of(st.just(own_project), PROJECT_VALUES)
    projects = st.one_of(st.just([]), _up_to_two(_header("OpenAI-Project", project)))
    credentials = draw(st.one_of(plain, plain, bearers, api_keys, both))
    return draw(st.permutations(credentials + draw(projects) + draw(organizations)))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Registries, settings and scopes of all kinds, and a call under them."""
    organizations = {name: draw(st.sampled_from([None, "org-1"])) for name in PROJECTS}
    found = st.tuples(st.sampled_from(KEYS), st.sampled_from(PROJECTS), st.booleans())
    entries = [
        Entry(key, project, organizations[project], in_process)
        for key, project, in_process in draw(st.lists(found, min_size=2, max_size=5))
    ]
    one = draw(st.sampled_from(entries))
    enabled = sorted({entry.project for entry in entries if not entry.in_process})
    pins = st.one_of(st.none(), st.just(one.project), st.sampled_from(PROJECTS))
    modes = st.sampled_from([None, None, "enforce", "inject", "warn", "off"])
    scopes = st.lists(st.tuples(pins, modes), min_size=1, max_size=2)
    return Case(
        entries,
        mode=draw(st.sampled_from(["enforce", "inject", "inject", "warn"])),
        unregistered=draw(st.sampled_from(["block", "block", "warn", "allow", "learn"])),
        pinned=draw(st.sampled_from([None, None, *enabled, *enabled])),
        scopes=draw(st.one_of(st.just([]), st.just([]), scopes)),
        base_url=draw(st.sampled_from([OPENAI, OPENAI, ELSEWHERE])),
        headers=draw(headers(one)),
    )


# --- the plain reading --------------------------------------------------------------------------


def _values(case: Case, name: bytes) -> list[str]:
    return [value.decode("latin-1") for known, value in case.headers if known.lower() == name]


def _key(authorization: str) -> str:
    scheme, _, rest = authorization.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else authorization


def expected(case: Case) -> tuple[str, str | None]:
    """What `decide` says of the case; `("unseen", None)` where there is nothing to judge."""
    mode, pinned = case.mode, case.pinned
    for project, scope_mode in case.scopes:
        mode, pinned = scope_mode or mode, project or pinned
    keys = [_key(value) for value in _values(case, b"authorization")] or _values(case, b"api-key")
    if mode == "off" or not keys:
        return "unseen", None
    rows: list[Any] = [
        SimpleNamespace(project=SimpleNamespace(id=entry.project, organization=entry.organization))
        for entry in case.entries
        if [entry.key] == keys
    ]
    second = _values(case, b"api-key")
    if second != keys and any([entry.key] == second for entry in case.entries):
        rows = []  # two registered keys on one call
    credential: Any = "malformed" if len(keys) > 1 else "key"
    if not rows:
        credentials = [*_values(case, b"authorization"), *_values(case, b"api-key")]
        words = {word for value in credentials for word in value.split()}
        if any(entry.key in words for entry in case.entries):
            credential = "malformed"  # a registered key, in a way that nobody sends one
        elif case.base_url == ELSEWHERE:
            return "unseen", None
        elif credential == "key" and keys[0].startswith(("sk-admin-", "ek_")):
            credential = "admin"
    projects = _values(case, b"openai-project")
    organizations = _values(case, b"openai-organization")
    return decide(
        "\n".join(projects) if projects else None,
        "\n".join(organizations) if organizations else None,
        rows,
        Policy(Mode(mode), case.unregistered, pinned),
        credential,
    )


# --- the real thing -----------------------------------------------------------------------------


RAW_NAMES = {
    spelled.encode()
    for name in ("OpenAI-Project", "OpenAI-Organization", "Authorization", "api-key")
    for spelled in (name, name.lower(), name.upper())
}


class RawClient(openai.OpenAI):
    """A client that sends just these headers."""

    raw: Any = ()

    def _prepare_request(self, request: Any) -> None:
        names = (b"authorization", b"api-key", b"openai-project", b"openai-organization")
        kept = [pair for pair in request.headers.raw if pair[0].lower() not in names]
        request.headers = http.Headers([*kept, *self.raw])


def sent(client: RawClient, recorder: Recorder, case: Case) -> Any:
    """Sends it under the guard; the request that left, or `None`."""
    before = len(recorder.requests)
    registry = opg.Registry()
    for entry in case.entries:
        register = opg.register if entry.in_process else registry.register
        register(entry.key, entry.project, organization=entry.organization)
    opg.enable(
        case.mode,
        registry=registry,
        project=case.pinned,
        unregistered=case.unregistered,
    )
    client.raw = case.headers
    with ExitStack() as stack:
        for project, mode in case.scopes:
            stack.enter_context(opg.guard(project=project, mode=mode))
        try:
            client.models.list()
        except opg.ProjectGuardError:
            assert len(recorder.requests) == before
            return None
    (request,) = recorder.requests[before:]
    return request


def test_a_call_is_sent_exactly_if_decide_says_so() -> None:
    recorder = Recorder()
    clients = {
        url: RawClient(
            api_key=STRANGER,
            base_url=url,
            max_retries=0,
            http_client=http.Client(transport=http.MockTransport(recorder)),
        )
        for url in (OPENAI, ELSEWHERE)
    }
    seen: set[tuple[str, str | None]] = set()

    @settings(
        max_examples=400,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(cases())
    def judge(case: Case) -> None:
        outcome, reason = expected(case)
        seen.add((outcome, reason))
        client = clients[case.base_url]
        with fresh_guard():
            request = sent(client, recorder, case)
            assert (request is None) == (outcome == "blocked")
            if outcome == "injected":
                assert request.headers.get_list("openai-project")[-1] in PROJECTS
            elif request is not None:
                left = [value for name, value in request.headers.raw if name in RAW_NAMES]
                assert left == [value for name, value in case.headers if name in RAW_NAMES]
        verdicts: list[opg.Verdict] = []
        with fresh_guard():
            opg.add_observer(verdicts.append)
            again = sent(client, recorder, case)
            assert (again is None) == (request is None)
        told = [(verdict.outcome, verdict.reason) for verdict in verdicts]
        assert told == ([] if outcome == "unseen" else [(outcome, reason)])

    judge()
    refusals = {"missing", "mismatch", "malformed", "unregistered", "scope", "organization"}
    assert {reason for _, reason in seen} == {None, *refusals}
    outcomes = {"allowed", "injected", "warned", "blocked", "unseen"}
    assert {outcome for outcome, _ in seen} == outcomes
