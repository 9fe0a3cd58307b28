"""Is a client that signs in by workload identity judged by its service account?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from support import (
    BOTH,
    KEYS,
    STRANGER,
    B,
    Recorder,
    Sync,
    chat,
    fingerprint,
    http,
    refused,
)

import openai_project_guard as opg

pytestmark = pytest.mark.usefixtures("enabled")


class Exchange(Recorder):
    """A transport that also plays the token exchange; the exchanges are kept apart."""

    def __init__(self) -> None:
        super().__init__()
        self.exchanges: list[Any] = []
        self.tokens: list[str] = []

    def __call__(self, request: Any) -> Any:
        if request.url.path != "/oauth/token":
            # Noted at once: after a 401 the SDK sends the same request with another token.
            self.tokens.append(request.headers["authorization"][7:])
            return super().__call__(request)
        self.exchanges.append(request)
        token = {"access_token": f"token-{len(self.exchanges)}", "expires_in": 3600}
        return http.Response(200, json={**token, "token_type": "Bearer"})


def subject_token(account: str) -> Any:
    pytest.importorskip("openai.auth")
    return {
        "client_id": "client",  # asked for by the first releases that had it
        "identity_provider_id": "idp",
        "service_account_id": account,
        "provider": {"token_type": "jwt", "get_token": lambda: "subject"},
    }


def x509(account: str) -> Any:
    auth = pytest.importorskip("openai.auth")
    if not hasattr(auth, "x509_workload_identity"):
        pytest.skip(f"openai {openai.__version__} has no X.509 workload identity")
    return auth.x509_workload_identity(identity_provider_id="idp", service_account_id=account)


IDENTITIES = pytest.mark.parametrize(
    "identity", [subject_token, x509], ids=lambda identity: identity.__name__
)


@pytest.fixture
def exchange(clean: pytest.MonkeyPatch, tmp_path: Path) -> Exchange:
    """The registry knows the service account `user-svc-a`."""
    registry = tmp_path / "openai-projects.toml"
    registry.write_text(
        'version = 1\n[projects.a]\nid = "proj_a"\nservice_accounts = ["user-svc-a"]\n'
        f'[projects.b]\nid = "proj_b"\nkeys = [{{ fingerprint = "{fingerprint(B)}" }}]\n'
    )
    opg.enable(registry=registry)
    sent = Exchange()
    # A subject token is exchanged through an HTTP client that the SDK makes for itself.
    clean.setattr(http.HTTPTransport, "handle_request", lambda _, request: sent(request))
    return sent


@BOTH
@IDENTITIES
def test_a_registered_service_account_passes(
    identity: Any, way: Any, exchange: Exchange, verdicts: list[opg.Verdict]
) -> None:
    client = way.client(exchange, workload_identity=identity("user-svc-a"), project="proj_a")
    way.run(lambda: chat(client))
    assert exchange.tokens == ["token-1"]
    assert [(verdict.outcome, verdict.expected) for verdict in verdicts] == [
        ("allowed", ("proj_a",))
    ]


@BOTH
@IDENTITIES
def test_an_unregistered_service_account_is_refused(
    identity: Any, way: Any, exchange: Exchange
) -> None:
    client = way.client(exchange, workload_identity=identity("user-svc-x"), project="proj_a")
    with pytest.raises(opg.UnregisteredKeyError) as caught:
        way.run(lambda: chat(client))
    assert exchange.requests == []
    text = str(caught.value)
    assert caught.value.verdict.origin == "workload_identity"
    assert "for the service account user-svc-x, by the client's workload identity.\n" in text
    assert "To fix it: list user-svc-x under service_accounts of its project" in text


@BOTH
@IDENTITIES
@pytest.mark.parametrize("project", ["proj_b", None])
def test_a_service_account_with_a_wrong_header_is_refused(
    project: str | None, identity: Any, way: Any, exchange: Exchange
) -> None:
    client = way.client(exchange, workload_identity=identity("user-svc-a"), project=project)
    error = opg.ProjectMismatchError if project else opg.ProjectMissingError
    assert refused(way, lambda: chat(client), error).expected == ("proj_a",)
    assert exchange.requests == []


@IDENTITIES
def test_in_a_scope_a_service_account_of_another_project_is_what_is_wrong(
    identity: Any, exchange: Exchange
) -> None:
    client = Sync.client(exchange, workload_identity=identity("user-svc-a"), project="proj_b")
    with opg.guard(project="proj_b"), pytest.raises(opg.ProjectScopeError) as caught:
        chat(client)
    assert caught.value.verdict.origin == "workload_identity"
    assert "for the service account user-svc-a, by the client's workload identity.\n" in str(
        caught.value
    )


@IDENTITIES
def test_the_error_names_the_line_of_the_service_account(identity: Any, exchange: Exchange) -> None:
    client = Sync.client(exchange, workload_identity=identity("user-svc-a"), project="proj_b")
    with pytest.raises(opg.ProjectMismatchError) as caught:
        chat(client)
    assert str(caught.value).count("openai-projects.toml, line 4") == 2


@BOTH
@IDENTITIES
def test_no_token_is_asked_for_on_behalf_of_a_refused_call(
    identity: Any, way: Any, exchange: Exchange
) -> None:
    client = way.client(exchange, workload_identity=identity("user-svc-a"), project="proj_b")
    refused(way, lambda: chat(client), opg.ProjectMismatchError)
    assert exchange.exchanges == []


@BOTH
@IDENTITIES
def test_a_service_accounts_header_is_put_in(identity: Any, way: Any, exchange: Exchange) -> None:
    with opg.guard(mode="inject"):
        client = way.client(exchange, workload_identity=identity("user-svc-a"))
        way.run(lambda: chat(client))
    assert exchange.projects == ["proj_a"]


@BOTH
@IDENTITIES
def test_an_explicit_key_on_such_a_client_is_judged_by_itself(
    identity: Any, way: Any, exchange: Exchange
) -> None:
    client = way.client(exchange, workload_identity=identity("user-svc-a"), project="proj_a")

    def with_key(key: str, project: str) -> Callable[[], Any]:
        headers = {"Authorization": f"Bearer {key}", "OpenAI-Project": project}
        return lambda: chat(client, extra_headers=headers)

    refused(way, with_key(B, "proj_a"), opg.ProjectMismatchError)
    verdict = refused(way, with_key(STRANGER, "proj_a"), opg.UnregisteredKeyError)
    assert verdict.origin == "extra_headers"
    assert exchange.requests == []
    way.run(with_key(B, "proj_b"))
    assert (exchange.keys, exchange.projects) == ([B], ["proj_b"])


@BOTH
@IDENTITIES
def test_the_token_that_replaces_a_rejected_one_is_judged_too(
    identity: Any, way: Any, exchange: Exchange
) -> None:
    exchange._statuses = [401]
    client = way.client(exchange, workload_identity=identity("user-svc-a"), project="proj_a")
    way.run(lambda: chat(client))
    assert exchange.tokens == ["token-1", "token-2"]

    exchange._statuses = [401]
    exchange._before = lambda _: opg.enable(registry=KEYS)
    refused(way, lambda: chat(client), opg.UnregisteredKeyError)
    assert exchange.tokens == ["token-1", "token-2", "token-2"]


@BOTH
@pytest.mark.parametrize("statuses", [[], [401]], ids=["first", "second"])
def test_the_answer_to_a_client_that_sends_its_own_way_is_checked_once(
    statuses: list[int], way: Any, exchange: Exchange, verdicts: list[opg.Verdict]
) -> None:
    """Of two answers, because the first token was rejected, it is the second that names it."""
    exchange._statuses = statuses

    def send(_: Any, request: Any, **__: Any) -> Any:
        answer = exchange(request)
        answer.request = request
        if answer.status_code == 200:
            answer.headers["openai-project"] = "proj_elsewhere"
        return answer

    own = type("Own", (getattr(http, way.kind),), {"send": way.function(send)})
    identity = subject_token("user-svc-a")
    client = way.client(
        exchange, http_client=own(), workload_identity=identity, project="proj_a", max_retries=0
    )
    way.run(lambda: chat(client))
    assert [verdict.answered for verdict in verdicts if verdict.reason] == ["proj_elsewhere"]
