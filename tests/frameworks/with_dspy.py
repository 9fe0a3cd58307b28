"""DSPy, over LiteLLM, which makes an error of its own of a refusal, and DSPy one of that."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import dspy
import litellm
import pytest
from common import TEXT, A, Desk, chain
from dspy.utils.exceptions import LMInvalidRequestError

from openai_project_guard import ProjectMismatchError

PACKAGE = "dspy"


class TakesAnything(dspy.ChatAdapter):
    """The loopback server does not keep to DSPy's form of an answer."""

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        return {"answer": completion}


class Patient(TakesAnything):
    """Goes on once the main thread waits: before that, nobody waits for a thread of DSPy's."""

    def format(self, *args: Any, **options: Any) -> Any:
        main = threading.main_thread().ident or 0
        while sys._current_frames()[main].f_globals["__name__"] != "threading":
            time.sleep(0.001)
        return super().format(*args, **options)


def model(num_retries: int = 0, **options: Any) -> dspy.LM:
    # LiteLLM keeps its clients, and with them the OPENAI_PROJECT_ID of their making.
    litellm.in_memory_llm_clients_cache.flush_cache()
    return dspy.LM("openai/gpt-4o-mini", cache=False, num_retries=num_retries, **options)


def embedder() -> dspy.Embedder:
    litellm.in_memory_llm_clients_cache.flush_cache()
    return dspy.Embedder("openai/text-embedding-3-small", caching=False)


def assert_came_as_an_invalid_request(desk: Desk, error: Exception) -> None:
    assert type(error) is LMInvalidRequestError
    assert desk.tries == 1


def test_chat(desk: Desk) -> None:
    def predict() -> dspy.Prediction:
        with dspy.context(lm=model(), adapter=TakesAnything()):
            return dspy.Predict("question -> answer")(question="hello")

    answer = desk.passes(predict)
    assert isinstance(answer, dspy.Prediction)
    assert answer.answer == TEXT
    assert_came_as_an_invalid_request(desk, desk.refused(predict))


def test_async(desk: Desk) -> None:
    async def predict() -> dspy.Prediction:
        with dspy.context(lm=model(), adapter=TakesAnything()):
            return await dspy.Predict("question -> answer").acall(question="hello")

    assert desk.passes(predict).answer == TEXT
    assert_came_as_an_invalid_request(desk, desk.refused(predict))


def test_async_stream(desk: Desk) -> None:
    async def stream() -> dspy.Prediction:
        with dspy.context(lm=model(), adapter=TakesAnything()):
            program = dspy.streamify(dspy.Predict("question -> answer"))
            return [part async for part in program(question="hello")][-1]

    assert desk.passes(stream).answer == TEXT
    # It takes the error out of a group, and raises it anew `from None`.
    error = desk.refused(stream, keeps_cause=False)
    assert_came_as_an_invalid_request(desk, error)
    assert "OpenAI-Project 'proj_b'" in str(error)
    assert A not in str(error)
    desk.where = "`streamify`"


def test_embeddings(desk: Desk) -> None:
    assert desk.passes(lambda: embedder()(["hello"])).tolist() == [[0.25, -0.5, 1.0]]
    error = desk.refused(lambda: embedder()(["hello"]))
    assert type(error) is litellm.BadRequestError
    assert desk.tries == 1


def test_async_embeddings(desk: Desk) -> None:
    async def embed() -> Any:
        return await embedder().acall(["hello"])

    assert desk.passes(embed).tolist() == [[0.25, -0.5, 1.0]]
    error = desk.refused(embed)
    assert type(error) is litellm.BadRequestError
    assert desk.tries == 1


def test_calls_in_threads_of_its_own(desk: Desk) -> None:
    def in_parallel() -> list[dspy.Prediction]:
        with dspy.context(lm=model(), adapter=Patient()):
            program = dspy.Predict("question -> answer")
            questions = [dspy.Example(question=each).with_inputs("question") for each in "ab"]
            return dspy.Parallel(num_threads=2, max_errors=1)([(program, q) for q in questions])

    assert [answer.answer for answer in desk.passes(in_parallel)] == [TEXT] * 2
    with pytest.raises(Exception, match="cancelled due to errors"):
        desk.use(in_parallel, "proj_b")
    desk.assert_called_from_its_file()


def test_it_does_not_retry(desk: Desk) -> None:
    # What it takes for a server's error it tries three times more, after 1, 2 and 4 seconds.
    error = desk.refused(lambda: model(num_retries=3)("hello"))
    assert_came_as_an_invalid_request(desk, error)


def test_its_responses_go_round_the_sdk(desk: Desk) -> None:
    options: dict[str, Any] = {
        "model_type": "responses",
        "extra_headers": {"OpenAI-Project": "proj_a"},
    }
    assert desk.use(lambda: model(**options)("hello"), None, "sdk")[0]["text"] == TEXT
    assert desk.verdicts == []
    assert desk.use(lambda: model(**options)("hello"), None, "process")[0]["text"] == TEXT
    assert [verdict.outcome for verdict in desk.verdicts] == ["allowed"]
    options["extra_headers"] = {"OpenAI-Project": "proj_b"}
    with pytest.raises(LMInvalidRequestError) as raised:
        desk.use(lambda: model(**options)("hello"), None, "process")
    assert any(isinstance(link, ProjectMismatchError) for link in chain(raised.value))
    assert desk.api.connections == 0
    desk.around = '`model_type="responses"`, as LiteLLM: judged with `scope="process"`'
