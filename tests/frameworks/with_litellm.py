"""LiteLLM: chat and embeddings go through the SDK, `responses()` through a handler of its own."""

from __future__ import annotations

from typing import Any

import litellm
import pytest
from common import TEXT, A, Desk, chain

from openai_project_guard import ProjectGuardError, ProjectMismatchError, ProjectMissingError

PACKAGE = "litellm"
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "suppress_debug_info", True)


def ask(**options: Any) -> Any:
    return of_new_client(litellm.completion, messages=HELLO, **options)


async def ask_async(**options: Any) -> Any:
    return await of_new_client(litellm.acompletion, messages=HELLO, **options)


def embed() -> Any:
    return of_new_client(litellm.embedding, model="text-embedding-3-small", input=["hello"])


async def embed_async() -> Any:
    return await of_new_client(litellm.aembedding, model="text-embedding-3-small", input=["hello"])


def of_new_client(fn: Any, **options: Any) -> Any:
    # LiteLLM keeps its clients, and with them the OPENAI_PROJECT_ID of their making.
    litellm.in_memory_llm_clients_cache.flush_cache()
    return fn(**{"model": "openai/gpt-4o-mini", **options})


def assert_came_as_a_bad_request(desk: Desk, error: Exception) -> None:
    """LiteLLM makes an error of its own by our status code, and keeps ours as the context."""
    assert type(error) is litellm.BadRequestError
    assert desk.tries == 1


def test_chat(desk: Desk) -> None:
    answer = desk.passes(ask)
    assert isinstance(answer, litellm.ModelResponse)
    assert answer.choices[0].message.content == TEXT
    assert_came_as_a_bad_request(desk, desk.refused(ask))


def test_stream(desk: Desk) -> None:
    chunks = desk.passes(lambda: list(ask(stream=True)))
    assert {type(chunk) for chunk in chunks} == {litellm.ModelResponseStream}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    assert_came_as_a_bad_request(desk, desk.refused(lambda: list(ask(stream=True))))


def test_async(desk: Desk) -> None:
    assert isinstance(desk.passes(ask_async), litellm.ModelResponse)
    assert_came_as_a_bad_request(desk, desk.refused(ask_async))


def test_async_stream(desk: Desk) -> None:
    async def stream() -> str:
        answer = await ask_async(stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in answer])

    assert desk.passes(stream) == TEXT
    assert_came_as_a_bad_request(desk, desk.refused(stream))


def test_embeddings(desk: Desk) -> None:
    assert isinstance(desk.passes(embed), litellm.EmbeddingResponse)
    assert_came_as_a_bad_request(desk, desk.refused(embed))


def test_async_embeddings(desk: Desk) -> None:
    assert isinstance(desk.passes(embed_async), litellm.EmbeddingResponse)
    assert_came_as_a_bad_request(desk, desk.refused(embed_async))


def test_batches_in_threads(desk: Desk) -> None:
    def batch() -> Any:
        answers = of_new_client(litellm.batch_completion, messages=[HELLO, HELLO])
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        if errors:
            raise errors[0]
        return answers

    assert len(desk.passes(batch)) == 2
    assert type(desk.refused(batch)) is litellm.BadRequestError


def test_it_retries_where_it_was_asked_to(desk: Desk) -> None:
    desk.refused(lambda: ask(num_retries=2))
    assert desk.tries == 3
    desk.retries = "with `num_retries=`"


def route(name: str = "completion", router: litellm.Router | None = None) -> Any:
    """Asks by a router that would try twice more, were that of any use."""
    model = {"model_name": "any", "litellm_params": {"model": "openai/gpt-4o-mini"}}
    router = router or litellm.Router([model], num_retries=2, retry_after=0)
    return of_new_client(getattr(router, name), model="any", messages=HELLO)


def test_async_router(desk: Desk) -> None:
    async def ask() -> Any:
        return await route("acompletion")

    desk.passes(ask)
    assert_came_as_a_bad_request(desk, desk.refused(ask))


def test_router(desk: Desk) -> None:
    desk.passes(route)
    assert_came_as_a_bad_request(desk, desk.refused(route))


def test_router_inside_a_running_loop(desk: Desk) -> None:
    async def run() -> Any:
        return route()

    assert_came_as_a_bad_request(desk, desk.refused(run))


def test_its_router_says_why_each_time(desk: Desk) -> None:
    model = {"model_name": "any", "litellm_params": {"model": "openai/gpt-4o-mini"}}
    router = litellm.Router([model], num_retries=2, retry_after=0)
    for _ in range(4):  # with a status of 401 it would say that it has no deployment
        desk.refused(lambda: route(router=router))


# --- what goes round the SDK --------------------------------------------------------------------


def respond(project: str | None) -> Any:
    headers = None if project is None else {"OpenAI-Project": project}
    return of_new_client(litellm.responses, input="hello", extra_headers=headers)


def respond_async(project: str | None) -> Any:
    headers = None if project is None else {"OpenAI-Project": project}
    return of_new_client(litellm.aresponses, input="hello", extra_headers=headers)


BOTH = pytest.mark.parametrize("respond", [respond, respond_async])


@BOTH
def test_responses_are_left_alone_by_default(respond: Any, desk: Desk) -> None:
    # Its handler does not know OPENAI_PROJECT_ID: the key's own project pays, whichever it is.
    desk.use(lambda: respond(None), "proj_b")
    assert [line.project_header for line in desk.api.ledger] == [None]
    assert desk.verdicts == []
    with pytest.raises(litellm.AuthenticationError, match="mismatched_project"):
        desk.use(lambda: respond("proj_b"), "proj_a")
    assert desk.verdicts == []
    desk.around = '`responses()`: judged with `scope="process"`'


@BOTH
@pytest.mark.parametrize(
    ("project", "reason"), [("proj_b", ProjectMismatchError), (None, ProjectMissingError)]
)
def test_responses_are_judged_in_the_process_scope(
    respond: Any, project: str | None, reason: type[ProjectGuardError], desk: Desk
) -> None:
    answer = desk.use(lambda: respond("proj_a"), None, "process")
    assert isinstance(answer, litellm.ResponsesAPIResponse)
    # Once, though the asynchronous one goes through httpx and then aiohttp.
    assert [verdict.outcome for verdict in desk.verdicts] == ["allowed"]

    with pytest.raises(litellm.BadRequestError) as raised:
        desk.use(lambda: respond(project), "proj_a", "process")
    assert any(isinstance(link, reason) for link in chain(raised.value))
    assert A not in str(raised.value)
    assert desk.api.connections == 0
