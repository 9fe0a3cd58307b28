"""What does the SDK make of the answers?"""

from __future__ import annotations

import base64
import http.client
import json
import struct
from collections.abc import Iterator
from typing import Any, get_args
from urllib.parse import urlsplit

import openai
import pydantic
import pytest
from loopback_calls import KEY_A, PATIENCE, SAY_HI, raw

from openai_project_guard.loopback import LoopbackAPI

# A class attribute since the resources became cached properties, a bare annotation before.
has_responses = pytest.mark.skipif(
    not hasattr(openai.OpenAI, "responses") and "responses" not in openai.OpenAI.__annotations__,
    reason="this SDK has no Responses API",
)


has_batches = pytest.mark.skipif(
    "batch" not in get_args(openai.types.FileObject.model_fields["purpose"].annotation),
    reason="this SDK knows no file of a batch",
)
RESPONSE = {"model": "gpt-4o", "input": "hi"}
PLAIN: list[Any] = [
    ("/chat/completions", SAY_HI, "chat.ChatCompletion"),
    ("/completions", {"model": "gpt-3.5-turbo-instruct", "prompt": "hi"}, "Completion"),
    ("/responses", RESPONSE, "responses.Response"),
    ("/embeddings", {"model": "text-embedding-3-small", "input": "hi"}, "CreateEmbeddingResponse"),
    ("/models/gpt-4o", None, "Model"),
    ("/models", None, "Model"),
    pytest.param("/files", None, "FileObject", marks=has_batches),
]
STREAMS = [
    ("/chat/completions", SAY_HI, "chat.ChatCompletionChunk"),
    ("/responses", RESPONSE, "responses.ResponseStreamEvent"),
]


def assert_fits(answers: list[object], name: str) -> list[Any]:
    """The answers as a type of the SDK, which they fit: nothing is missing, nothing is more."""
    found: Any = openai.types
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        pytest.skip(f"this SDK has no {name}")
    fitting = [pydantic.TypeAdapter(found).validate_python(answer) for answer in answers]
    if knows_the_newest_fields():
        assert not {field for answer in fitting for field in unknown_fields(answer)}
    return fitting


def knows_the_newest_fields() -> bool:
    responses = getattr(openai.types, "responses", None)
    details = getattr(responses and responses.response_usage, "InputTokensDetails", None)
    return "cache_write_tokens" in getattr(details, "model_fields", ())


def unknown_fields(value: Any) -> Iterator[str]:
    if isinstance(value, pydantic.BaseModel):
        yield from value.model_extra or ()
        value = list(vars(value).values())
    if isinstance(value, list):
        for part in value:
            yield from unknown_fields(part)


@pytest.mark.parametrize(("path", "asked", "kind"), PLAIN)
def test_an_answer_is_what_the_sdk_says_of_it(
    client: openai.OpenAI, path: str, asked: dict[str, Any] | None, kind: str
) -> None:
    ask = client.get if asked is None else client.post
    options: Any = {} if asked is None else {"body": asked}
    answer: Any = ask(path, cast_to=object, **options)
    is_list = asked is None and "data" in answer
    assert not is_list or answer["object"] == "list"
    fitting = assert_fits(answer["data"] if is_list else [answer], kind)
    for usage in (getattr(one, "usage", None) for one in fitting):
        if usage is not None:
            parts = [
                number
                for name, number in usage
                if name.endswith("_tokens") and name != "total_tokens"
            ]
            assert 0 < sum(parts) == usage.total_tokens


@pytest.mark.parametrize(("path", "asked", "kind"), STREAMS)
def test_an_event_is_what_the_sdk_says_of_it(
    client: openai.OpenAI, path: str, asked: dict[str, Any], kind: str
) -> None:
    stream: Any = client.post(
        path,
        cast_to=object,
        body={**asked, "stream": True},
        stream=True,
        stream_cls=openai.Stream[object],
    )
    assert assert_fits(list(stream), kind)


@has_responses
def test_the_events_of_a_response_are_of_its_one_message(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model="gpt-4o", input="hi", stream=True))
    final = events[-1]
    assert final.type == "response.completed"
    (message,) = final.response.output
    ids = {getattr(event, "item_id", message.id) for event in events}
    ids |= {event.item.id for event in events if event.type.startswith("response.output_item.")}
    places = {
        (getattr(event, "output_index", 0), getattr(event, "content_index", 0)) for event in events
    }
    assert (ids, places) == ({message.id}, {(0, 0)})
    assert len(message.content) == 1


def test_chat_completion(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**SAY_HI)
    assert answer.choices[0].message.content == "Hello from the loopback API."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 6


def test_chat_completion_stream(api: LoopbackAPI, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(**SAY_HI, stream=True)
    assert stream.response.headers["content-type"] == "text/event-stream"
    chunks = list(stream)
    words = [chunk.choices[0].delta.content for chunk in chunks]
    assert "".join(word or "" for word in words) == "Hello from the loopback API."
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert api.ledger[0].stream


async def test_chat_completion_stream_async(api: LoopbackAPI) -> None:
    async with openai.AsyncOpenAI(api_key=KEY_A, base_url=api.base_url) as client:
        stream = await client.chat.completions.create(**SAY_HI, stream=True)
        words = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(words) == "Hello from the loopback API."


def test_text_completion(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "gpt-3.5-turbo-instruct", "prompt": "hi"}
    plain = client.completions.create(**asked)
    assert plain.choices[0].text == "Hello from the loopback API."
    chunks = list(client.completions.create(**asked, stream=True))
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert "".join(chunk.choices[0].text for chunk in chunks) == plain.choices[0].text


@has_responses
def test_response(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="gpt-4o", input="hi")
    assert (answer.output_text, answer.status) == ("Hello from the loopback API.", "completed")
    assert answer.usage is not None
    assert answer.usage.total_tokens == 6
    assert answer.usage.output_tokens_details.reasoning_tokens == 0


@has_responses
def test_response_stream(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model="gpt-4o", input="hi", stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "Hello from the loopback API."
    assert [event.sequence_number for event in events] == list(range(len(events)))


@has_responses
def test_response_stream_helper(client: openai.OpenAI) -> None:
    with client.responses.stream(model="gpt-4o", input="hi") as stream:
        assert stream.get_final_response().output_text == "Hello from the loopback API."


@pytest.mark.parametrize(
    ("given", "vectors"),
    [("hi", 1), (["hi", "ho"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2)],
)
def test_embeddings(client: openai.OpenAI, given: Any, vectors: int) -> None:
    for options in ({}, {"encoding_format": "float"}):
        answer = client.embeddings.create(model="text-embedding-3-small", input=given, **options)
        assert [item.embedding for item in answer.data] == [[0.25, -0.5, 1.0]] * vectors


def test_an_embedding_is_in_the_form_that_was_asked_for(client: openai.OpenAI) -> None:
    asked = {"input": "hi", "encoding_format": "base64"}
    answer: Any = client.post("/embeddings", cast_to=object, body=asked)
    packed = base64.b64decode(answer["data"][0]["embedding"])
    assert struct.unpack("<3f", packed) == (0.25, -0.5, 1.0)


def test_models(client: openai.OpenAI) -> None:
    assert "gpt-4o-mini" in [model.id for model in client.models.list()]
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"


def test_file_pages_are_followed(api: LoopbackAPI, client: openai.OpenAI) -> None:
    first = client.get("/files", cast_to=object, options={"params": {"limit": 20}})
    second = client.get(
        "/files", cast_to=object, options={"params": {"limit": 20, "after": first["last_id"]}}
    )
    assert (len(first["data"]), first["has_more"]) == (20, True)
    assert (len(second["data"]), second["has_more"]) == (5, False)
    api.clear()
    files = list(client.files.list())
    if len(files) == 10:
        pytest.skip("in this SDK, files.list() does not paginate")
    assert [file.id for file in files] == [f"file-loopback-{number:02}" for number in range(1, 26)]
    assert len(api.ledger) == 3


@pytest.mark.parametrize("query", ["limit=0", "limit=some", "limit=10001", "after=nowhere"])
def test_a_bad_cursor_is_refused(api: LoopbackAPI, query: str) -> None:
    status, _, body = raw(api, path=f"/v1/files?{query}")
    assert (status, body["error"]["param"]) == (400, query.partition("=")[0])
    assert api.billed == {}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_any_other_endpoint_gets_a_generic_object(api: LoopbackAPI, method: str) -> None:
    status, _, body = raw(api, method, "/v1/whatever/comes?next=1")
    assert status == 200
    assert (body["id"], body["object"]) == ("loopback", "loopback")
    assert (api.ledger[0].method, api.ledger[0].path) == (method, "/v1/whatever/comes")


def test_any_other_stream_ends(client: openai.OpenAI) -> None:
    stream = client.post(
        "/whatever",
        cast_to=object,
        body={"stream": True},
        stream=True,
        stream_cls=openai.Stream[object],
    )
    assert [event["id"] for event in stream] == ["loopback"]  # type: ignore[index]


def test_an_upload_is_accepted(api: LoopbackAPI, client: openai.OpenAI) -> None:
    client.files.create(file=("a.jsonl", b"x" * 100_000), purpose="batch")
    assert api.ledger[0].bytes_received > 100_000


def test_a_chunked_body_is_understood(api: LoopbackAPI) -> None:
    connection = http.client.HTTPConnection(urlsplit(api.base_url).netloc, timeout=PATIENCE)
    connection.request(
        "POST",
        "/v1/completions",
        body=iter([b'{"model"', b':"chunky"}']),
        headers={"Authorization": f"Bearer {KEY_A}"},
        encode_chunked=True,
    )
    assert json.loads(connection.getresponse().read())["model"] == "chunky"
    connection.close()
