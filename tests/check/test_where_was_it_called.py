"""Does everything that is said of a wrong call name the application's own lines?"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import gc
import inspect
import logging
import pickle
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
import support
from support import VERSION, A, B, Recorder, async_client, http, output, sync_client

import openai_project_guard as opg

clean = support.clean
pytestmark = pytest.mark.usefixtures("clean")
FILE = str(Path(__file__))


@pytest.fixture
def seen(clean: pytest.MonkeyPatch) -> Iterator[list[opg.Verdict]]:
    """The verdicts on what is called in warn mode."""
    found: list[opg.Verdict] = []
    opg.enable("warn", registry={"proj_a": A, "proj_b": B})
    opg.add_observer(found.append)
    yield found
    opg.remove_observer(found.append)


def line_of(mark: str, function: str, path: str = FILE) -> str:
    """The place of the line that has a mark in a comment."""
    (number,) = [
        number
        for number, line in enumerate(Path(path).read_text("utf-8").splitlines(), 1)
        if line.rstrip().endswith(f"# {mark}")
    ]
    return f"{path}:{number} in {function}"


def client() -> openai.OpenAI:
    return sync_client(Recorder(), project="proj_b")


def aclient() -> openai.AsyncOpenAI:
    return async_client(Recorder(), project="proj_b")


# --- the line that calls ------------------------------------------------------------------------


def plainly() -> None:
    client().models.list()  # plainly


def streaming() -> None:
    ask = client().chat.completions.create
    list(ask(model="m", messages=[], stream=True))  # streaming


def raw() -> None:
    client().models.with_raw_response.list()  # raw


def in_a_lambda() -> None:
    (lambda: client().models.list())()  # in_a_lambda


def in_a_comprehension() -> None:
    [each.models.list() for each in [client()]]  # in_a_comprehension


def partially() -> None:
    ask = functools.partial(client().models.list)
    ask()  # partially


def through_the_standard_library() -> None:
    with contextlib.ExitStack() as stack:
        stack.callback(client().models.list)
        stack.close()  # through_the_standard_library


def over_pages() -> None:
    pages = client().files.list()
    for _ in pages:  # over_pages
        pass


async def awaiting() -> None:
    await aclient().models.list()  # awaiting


async def over_pages_async() -> None:
    async for _ in aclient().files.list():  # over_pages_async
        pass


async def raw_async() -> None:
    await aclient().models.with_raw_response.list()  # raw_async


async def in_a_task() -> None:
    async def work() -> None:
        await aclient().models.list()  # in_a_task

    await asyncio.create_task(work())


async def gathered() -> None:
    async def work() -> None:
        await aclient().models.list()  # gathered

    await asyncio.gather(work())


async def in_a_thread_of_a_loop() -> None:
    def work() -> None:
        client().models.list()  # in_a_thread_of_a_loop

    await asyncio.to_thread(work)


def in_a_thread() -> None:
    def work() -> None:
        client().models.list()  # in_a_thread

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def in_a_pool() -> None:
    def work() -> None:
        client().models.list()  # in_a_pool

    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


@opg.guard(mode="warn")
def decorated() -> None:
    client().models.list()  # decorated


INNER = {
    "in_a_lambda": "<lambda>",
    "in_a_task": "work",
    "gathered": "work",
    "in_a_thread_of_a_loop": "work",
    "in_a_thread": "work",
    "in_a_pool": "work",
    "in_a_comprehension": "in_a_comprehension" if sys.version_info >= (3, 12) else "<listcomp>",
}
WAYS: list[Callable[[], Any]] = [
    *(plainly, streaming, raw, in_a_lambda, in_a_comprehension, partially),
    *(through_the_standard_library, over_pages, awaiting, over_pages_async, raw_async),
    *(in_a_task, gathered, in_a_thread_of_a_loop, in_a_thread, in_a_pool, decorated),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_the_call_site_is_the_applications_line(
    way: Callable[[], Any], seen: list[opg.Verdict]
) -> None:
    result = way()
    if inspect.iscoroutine(result):
        asyncio.run(result)
    name = way.__name__
    assert seen
    if name == "over_pages" and len(seen) == 1:
        pytest.skip("this SDK does not go on by itself here")
    assert seen[-1].call_site == line_of(name, INNER.get(name, name))


@pytest.mark.parametrize("filename", ["<string>", "<ipython-input-3-0a1b2c>"])
def test_a_line_of_executed_code_is_named_as_python_names_it(
    filename: str, seen: list[opg.Verdict]
) -> None:
    code = compile("\nclient.models.list()\n", filename, "exec")
    exec(code, {"client": client(), "__name__": "__main__"})
    assert seen[0].call_site == f"{filename}:2 in <module>"


@pytest.mark.skipif(VERSION < (1, 50), reason="this SDK has no such helper")
def test_a_stream_helper_is_called_where_it_is_entered(seen: list[opg.Verdict]) -> None:
    beta = client().chat.completions
    stream = getattr(beta, "stream", None) or client().beta.chat.completions.stream
    with stream(model="m", messages=[]) as events:  # stream helper
        list(events)
    assert seen[0].call_site == line_of(
        "stream helper", "test_a_stream_helper_is_called_where_it_is_entered"
    )


def test_of_installed_code_alone_the_innermost_outside_the_sdk_is_named(
    seen: list[opg.Verdict], tmp_path: Path
) -> None:
    path = tmp_path / "site-packages" / "framework.py"
    path.parent.mkdir()
    path.write_text("def ask(client):\n    return client.models.list()\n", encoding="utf-8")
    module: dict[str, Any] = {"__name__": "framework", "__file__": str(path)}
    exec(compile(path.read_text("utf-8"), str(path), "exec"), module)
    module["ask"](client())  # calls the framework
    here = "test_of_installed_code_alone_the_innermost_outside_the_sdk_is_named"
    assert seen[0].call_site == line_of("calls the framework", here)
    thread = threading.Thread(target=module["ask"], args=(client(),))
    thread.start()
    thread.join()
    assert seen[1].call_site == f"{Path('site-packages', 'framework.py')}:2 in ask (nearest known)"


def test_a_path_below_the_current_directory_is_said_from_there(
    seen: list[opg.Verdict], clean: pytest.MonkeyPatch
) -> None:
    clean.chdir(Path(FILE).parent)
    plainly()
    assert seen[0].call_site == line_of("plainly", "plainly").replace(FILE, Path(FILE).name)


# --- the line on which the client was built -------------------------------------------------------


class Tenant(openai.OpenAI):
    def __init__(self, **options: Any) -> None:
        options.setdefault("api_key", A)
        super().__init__(**options)


def over(sent: Recorder) -> Any:
    return http.Client(transport=http.MockTransport(sent))


def test_a_client_names_each_step_in_which_it_was_built(seen: list[opg.Verdict]) -> None:
    here = "test_a_client_names_each_step_in_which_it_was_built"
    sent = over(Recorder())
    first = openai.OpenAI(api_key=A, project="proj_b", http_client=sent)  # built
    second = first.with_options(timeout=3)  # derived
    third = second.copy(timeout=4)  # copied
    for each in (first, second, third):
        each.models.list()
    built, derived, copied = (line_of(mark, here) for mark in ("built", "derived", "copied"))
    assert [verdict.client_site for verdict in seen] == [
        built,
        f"{built}, then with_options at {derived}",
        f"{built}, then with_options at {derived}, then copy at {copied}",
    ]


def test_a_subclass_is_built_where_it_is_called(seen: list[opg.Verdict]) -> None:
    here = "test_a_subclass_is_built_where_it_is_called"
    tenant = Tenant(project="proj_b", http_client=over(Recorder()))  # tenant
    tenant.with_options(timeout=3).models.list()  # of tenant
    assert seen[0].client_site == (
        f"{line_of('tenant', here)}, then with_options at {line_of('of tenant', here)}"
    )


def test_a_client_from_before_the_guard_says_so(clean: pytest.MonkeyPatch) -> None:
    old = client()
    opg.enable(registry={"proj_a": A})
    with pytest.raises(opg.ProjectMismatchError) as refused:
        old.models.list()
    assert refused.value.verdict.client_site == "made before the guard was enabled"
    assert "; the client was made before the guard was enabled." in str(refused.value)
    with pytest.raises(opg.ProjectMismatchError) as refused:
        old.with_options(timeout=1).models.list()
    assert str(refused.value.verdict.client_site).startswith(
        "made before the guard was enabled, then with_options at "
    )


@pytest.mark.skipif(VERSION < (1, 50), reason="its resources go on using the first client")
def test_a_copied_client_is_not_taken_for_the_first(seen: list[opg.Verdict]) -> None:
    copy.copy(client()).models.list()
    assert seen[0].client_site == "made before the guard was enabled"


def test_the_module_level_client_is_built_where_it_is_first_used(clean: pytest.MonkeyPatch) -> None:
    said = output(
        """
import openai, support
import openai_project_guard as opg
opg.enable("warn", registry=support.KEYS)
opg.add_observer(lambda verdict: print(verdict.call_site, verdict.client_site, sep="; "))
openai.api_key, openai.project = support.A, "proj_b"
openai.http_client = support.http.Client(transport=support.http.MockTransport(support.Recorder()))
openai.models.list()
"""
    )
    assert said == "<string>:8 in <module>; <string>:8 in <module>"


def test_nothing_of_ours_is_kept_on_a_client_or_keeps_it(clean: pytest.MonkeyPatch) -> None:
    before = vars(client()).keys()
    init = vars(openai._base_client.SyncAPIClient)["__init__"]
    opg.enable(registry={"proj_a": A})
    signature = inspect.signature(openai._base_client.SyncAPIClient.__init__)
    one = client()
    assert vars(one).keys() == before
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None
    from openai_project_guard._hooks import client_site

    assert all(reference() is not None for reference, _ in client_site._sites.values())
    opg.disable()
    assert vars(openai._base_client.SyncAPIClient)["__init__"] is init
    assert inspect.signature(init) == signature


def test_a_constructor_that_raises_leaves_no_key_in_our_frames(clean: pytest.MonkeyPatch) -> None:
    opg.enable(registry={"proj_a": A})
    with pytest.raises((TypeError, AttributeError)) as failed:  # by the release
        openai.OpenAI(api_key=A, http_client=A)  # type: ignore[arg-type]
    assert not support.frames_holding(failed.value, A)


# --- what says it -------------------------------------------------------------------------------


def test_a_refusal_says_both_places_before_it_says_that_nothing_was_sent(
    seen: list[opg.Verdict],
) -> None:
    opg.enable(registry={"proj_a": A})
    with pytest.raises(opg.ProjectMismatchError) as refused:
        plainly()
    lines = str(refused.value).splitlines()
    verdict = refused.value.verdict
    assert lines[3:5] == [
        f"Called at {verdict.call_site}; the client was built at {verdict.client_site}.",
        "Nothing was sent.",
    ]
    assert pickle.loads(pickle.dumps(refused.value)).verdict == verdict


def test_a_log_record_points_at_the_caller(
    seen: list[opg.Verdict], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="openai_project_guard")
    plainly()
    (record,) = [each for each in caplog.records if hasattr(each, "verdict")]
    assert f"{record.pathname}:{record.lineno} in {record.funcName}" == line_of(
        "plainly", "plainly"
    )
    assert record.verdict == seen[0]
    assert seen[0].call_site is not None
    assert f"called at {seen[0].call_site}; the client was built at " in record.getMessage()


def test_identical_verdicts_are_told_apart_by_their_call_site(
    seen: list[opg.Verdict], caplog: pytest.LogCaptureFixture
) -> None:
    one = client()
    one.models.list()
    one.models.list()
    assert len([each for each in caplog.records if hasattr(each, "verdict")]) == 2


def test_a_plain_allowed_verdict_has_neither(seen: list[opg.Verdict]) -> None:
    sync_client(Recorder(), project="proj_a").models.list()
    (verdict,) = seen
    assert (verdict.call_site, verdict.client_site, verdict.origin) == (None, None, None)


def test_counts_come_by_themselves_though_nobody_calls(clean: pytest.MonkeyPatch) -> None:
    said = output(
        """
import logging, sys, time
logging.basicConfig(stream=sys.stdout, format="%(message)s")
import openai_project_guard as opg, support
from openai_project_guard._check import log
log.MINUTE = 0.2
opg.enable("warn", registry=support.KEYS)
client = support.sync_client(support.Recorder(), project="proj_b")
for _ in range(4):
    support.chat(client)
end = time.monotonic() + 30
class Watch(logging.Handler):
    found = False
    def emit(self, record):
        self.found = self.found or "more)" in record.getMessage()
watch = Watch()
log.logger.addHandler(watch)
while not watch.found and time.monotonic() < end:
    time.sleep(0.02)
print("came", watch.found)
"""
    )
    assert said.splitlines()[-1] == "came True"


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
@pytest.mark.parametrize("handled", [False, True])
def test_counts_that_wait_are_logged_at_sigterm(handled: bool, clean: pytest.MonkeyPatch) -> None:
    own = "signal.signal(signal.SIGTERM, lambda *_: (print('own'), sys.exit(3)))"
    run = support.python(
        f"""
import logging, os, signal, sys, time
logging.basicConfig(stream=sys.stdout, format="%(message)s")
import openai_project_guard as opg, support
{own if handled else ""}
opg.enable("warn", registry=support.KEYS)
client = support.sync_client(support.Recorder(), project="proj_b")
for _ in range(4):
    support.chat(client)
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(30)
"""
    )
    assert "(and 3 more)" in run.stdout
    assert ("own" in run.stdout) == handled
    assert run.returncode == (3 if handled else -15)
