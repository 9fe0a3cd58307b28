"""Canned answers in the shapes that the official SDK parses, plain and as server-sent events."""

from __future__ import annotations

import base64
import json
import struct
from typing import TYPE_CHECKING, Any

from openai_project_guard.loopback._admin_endpoints import page

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]

_CREATED = 1_700_000_000
_MODELS = ("gpt-4o-mini", "gpt-4o", "text-embedding-3-small")
_WORDS = ("Hello ", "from ", "the ", "loopback ", "API.")
_TEXT = "".join(_WORDS)
_VECTOR = (0.25, -0.5, 1.0)  # Exact in 32 bits, so that base64 and plain floats agree.
# "completed" ends the SDK's polling helpers, which would otherwise ask for ever.
_ANYTHING: Json = {"id": "loopback", "object": "loopback", "status": "completed"}
_FILES = [
    {
        "id": f"file-loopback-{number:02}",
        "object": "file",
        "bytes": 3,
        "created_at": _CREATED + number,
        "filename": f"{number:02}.jsonl",
        "purpose": "batch",
        "status": "processed",
    }
    for number in range(1, 26)
]
_DONE = b"data: [DONE]\n\n"


def answer(method: str, path: str, query: Mapping[str, str], asked: Json) -> Json:
    """The JSON answer to a call; an unknown path gets a generic object."""
    match method, path.removeprefix("/v1/").split("/"):
        case "POST", ["chat", "completions"]:
            message = {"role": "assistant", "content": _TEXT, "refusal": None}
            return _completion("chat.completion", asked, message=message, finish_reason="stop")
        case "POST", ["completions"]:
            return _completion("text_completion", asked, text=_TEXT, finish_reason="stop")
        case "POST", ["responses"]:
            return _response(asked, "completed", [_item("completed", [_part(_TEXT)])])
        case "POST", ["embeddings"]:
            return _embeddings(asked)
        case "GET", ["models"]:
            return {"object": "list", "data": [_model(name) for name in _MODELS]}
        case "GET", ["models", name]:
            return _model(name)
        case "GET", ["files"]:
            # A small default, so that a plain `files.list()` already turns several pages.
            return page(_FILES, query, default=10, largest=10_000)
    return dict(_ANYTHING)


def events(method: str, path: str, asked: Json) -> list[bytes]:
    """The same answer as server-sent events, one `bytes` for each event."""
    match method, path.removeprefix("/v1/").split("/"):
        case "POST", ["chat", "completions"]:
            deltas: list[Json] = [{"role": "assistant", "content": ""}]
            deltas += [{"content": word} for word in _WORDS]
            kind = "chat.completion.chunk"
            chunks = [_completion(kind, asked, delta=delta) for delta in deltas]
            chunks.append(_completion(kind, asked, delta={}, finish_reason="stop"))
            for chunk in chunks:
                del chunk["usage"]
        case "POST", ["completions"]:
            chunks = [_completion("text_completion", asked, text=word) for word in _WORDS]
        case "POST", ["responses"]:
            # This endpoint names its events and ends without `[DONE]`.
            return [
                f"event: {event['type']}\n".encode() + _data({**event, "sequence_number": number})
                for number, event in enumerate(_response_events(asked))
            ]
        case _:
            chunks = [_ANYTHING]
    return [*map(_data, chunks), _DONE]


def _data(event: Json) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def _completion(kind: str, asked: Json, finish_reason: str | None = None, **choice: Any) -> Json:
    return {
        "id": "chatcmpl-loopback",
        "object": kind,
        "created": _CREATED,
        "model": asked.get("model", _MODELS[0]),
        "choices": [{"index": 0, "logprobs": None, "finish_reason": finish_reason, **choice}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 5, "total_tokens": 6},
    }


def _response(asked: Json, status: str, output: list[Json]) -> Json:
    return {
        "id": "resp_loopback",
        "object": "response",
        "created_at": _CREATED,
        "model": asked.get("model", _MODELS[0]),
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": 1,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 6,
        },
    }


def _item(status: str, content: list[Json]) -> Json:
    return {
        "id": "msg_loopback",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": content,
    }


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _response_events(asked: Json) -> list[Json]:
    item = {"output_index": 0}
    part = {"item_id": "msg_loopback", "output_index": 0, "content_index": 0}
    done = _item("completed", [_part(_TEXT)])
    delta = {"type": "response.output_text.delta", "logprobs": [], **part}
    return [
        {"type": "response.created", "response": _response(asked, "in_progress", [])},
        {"type": "response.output_item.added", "item": _item("in_progress", []), **item},
        {"type": "response.content_part.added", "part": _part(""), **part},
        *({**delta, "delta": word} for word in _WORDS),
        {"type": "response.output_text.done", "text": _TEXT, "logprobs": [], **part},
        {"type": "response.content_part.done", "part": _part(_TEXT), **part},
        {"type": "response.output_item.done", "item": done, **item},
        {"type": "response.completed", "response": _response(asked, "completed", [done])},
    ]


def _embeddings(asked: Json) -> Json:
    given = asked.get("input", "")
    # A list of strings or of token lists is several inputs; a list of tokens is one.
    several = isinstance(given, list) and not all(isinstance(token, int) for token in given)
    vector: object = list(_VECTOR)
    if asked.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack("<3f", *_VECTOR)).decode()
    return {
        "object": "list",
        "model": asked.get("model", _MODELS[2]),
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index in range(len(given) if several else 1)
        ],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }


def _model(name: str) -> Json:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "loopback"}
