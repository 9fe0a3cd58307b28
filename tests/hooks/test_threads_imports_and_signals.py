"""Does the check hold where threads meet, imports are in progress and signals come in?"""

from __future__ import annotations

import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.pool import ThreadPool
from typing import Any

import openai
import pytest
from support import A, B, Probe, Recorder, http, output, python, sync_client

import openai_project_guard as opg
from openai_project_guard._scope import SCOPE, current_scope

pytestmark = pytest.mark.usefixtures("clean")

REGISTRY = {"proj_a": A, "proj_b": B}


# --- hooks go in whole ----------------------------------------------------------------------------


def test_first_scopes_that_are_entered_together_let_nothing_through(
    clean: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("websockets.sync.client")
    clean.setenv("OPENAI_PROJECT_GUARD_KEYS", f"proj_a={fingerprint(A)}")
    sent, refused = Recorder(), list[bool]()
    client = sync_client(sent, project="proj_b")
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(50):
            opg.disable()
            gate = threading.Barrier(4)

            def call(gate: threading.Barrier = gate) -> None:
                gate.wait()
                with suppress(opg.ProjectGuardError), opg.guard(project="proj_a"):
                    client.models.list()
                    return
                refused.append(True)

            threads = [threading.Thread(target=call) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert sent.requests == []
    assert len(refused) == 200


def fingerprint(key: str) -> str:
    from openai_project_guard._keys import digest, fingerprint_of

    return fingerprint_of(digest(key))


def test_enable_and_disable_from_many_threads_end_in_one_state(probe: Probe) -> None:
    originals = [vars(http.Client)["_send_single_request"], vars(openai.OpenAI).get("request")]

    def switch(number: int) -> None:
        for turn in range(50):
            opg.enable(registry=REGISTRY) if (turn + number) % 2 else opg.disable()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(switch, range(8)))
    opg.enable(registry=REGISTRY)
    assert opg.is_enabled()
    assert probe() == "ab"
    opg.disable()
    assert probe() == "ab?"
    assert originals == [
        vars(http.Client)["_send_single_request"],
        vars(openai.OpenAI).get("request"),
    ]


WRONG_CALL = f"""
import openai
try:
    openai.OpenAI(api_key={A!r}, project="proj_b").models.list()
except opg.ProjectMismatchError:
    print("refused")
"""


def importing(name: str, half_way_at: str) -> str:
    """A program that imports a library, and enables the guard in another thread meanwhile."""
    return f"""
import importlib.abc, os, sys, threading
import openai_project_guard as opg

half_way, done = threading.Event(), threading.Event()

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {half_way_at!r}:
            half_way.set()
            done.wait(2)  # which an enable() that waits for this import never is
        return None

sys.meta_path.insert(0, Slow())

def enable():
    half_way.wait()
    try:
        opg.enable(registry={{"proj_a": {A!r}}})
    finally:
        done.set()

thread = threading.Thread(target=enable, daemon=True)
thread.start()
import {name}
thread.join(300)
assert not thread.is_alive(), "enable() waits for ever"
child = os.fork() if hasattr(os, "fork") else 0
if child:
    assert os.waitpid(child, 0)[1] == 0
elif hasattr(os, "fork"):
    os._exit(0 if opg.is_enabled() else 1)
assert opg.is_enabled()
{WRONG_CALL}"""


@pytest.mark.parametrize("mode", ["enforce", ""])
def test_enable_while_another_thread_imports_the_sdk(mode: str) -> None:
    program = importing("openai", "openai._base_client")
    assert output(program, OPENAI_PROJECT_GUARD=mode) == "refused"


def test_enable_while_another_thread_imports_a_library_of_the_sdk() -> None:
    warm = f"""
import openai_project_guard as opg
opg.enable(registry={{"proj_a": {A!r}}})  # what it imports itself is there from then on
opg.disable()
"""
    assert output(warm + importing(http.__name__, f"{http.__name__}._client")) == "refused"


def test_what_is_imported_while_the_guard_is_being_enabled_is_hooked_with_the_rest() -> None:
    program = f"""
import importlib.abc, sys
import openai
import openai_project_guard as opg

came = "websockets.sync.client"
assert came not in sys.modules

class Meanwhile(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "openai_project_guard._check.explain":  # after what is there was looked at
            __import__(came)
        return None

sys.meta_path.insert(0, Meanwhile())
opg.enable(registry={{"proj_a": {A!r}}})
assert came in sys.modules
assert opg.is_enabled()
{WRONG_CALL}"""
    assert output(program) == "refused"


def test_what_is_imported_after_an_enable_that_a_disable_crossed_is_hooked() -> None:
    program = f"""
import importlib.abc, sys
import openai
import openai_project_guard as opg

class Meanwhile(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "openai_project_guard._check.explain":  # as another thread may do just then
            opg.disable()
        return None

sys.meta_path.insert(0, Meanwhile())
opg.enable(registry={{"proj_a": {A!r}}})
import websockets.sync.client
assert opg.is_enabled()
{WRONG_CALL}"""
    assert output(program) == "refused"


# --- scopes reach what is started inside them -----------------------------------------------------


def upload(client: Any) -> Any:
    """What uses a pool of the SDK's own."""
    return client.vector_stores.file_batches.upload_and_poll(
        "vs_1", files=[b"one", b"two", b"three"], max_concurrency=3
    )


@pytest.mark.skipif(not hasattr(openai.OpenAI(api_key="x"), "vector_stores"), reason="not there")
def test_a_pool_of_the_sdks_own_is_inside_the_scope() -> None:
    opg.enable(registry=REGISTRY)
    sent = Recorder()
    with opg.guard(project="proj_a"), pytest.raises(opg.ProjectScopeError):
        upload(sync_client(sent, api_key=B, project="proj_b"))
    assert sent.requests == []
    with opg.guard(mode="inject"), suppress(openai.OpenAIError, AttributeError):
        upload(sync_client(sent, api_key=B))
    assert {request.headers["openai-project"] for request in sent.requests} == {"proj_b"}
    assert len(sent.requests) >= 3


def test_each_submitted_call_takes_the_scope_of_its_submitter(probe: Probe) -> None:
    opg.enable(registry=REGISTRY)
    with ThreadPoolExecutor(1) as pool:
        with opg.guard(project="proj_a"):
            assert pool.submit(probe).result() == "a"  # it starts the thread, too
        assert pool.submit(probe).result() == "ab"
        with opg.guard(project="proj_b"):
            inside = pool.submit(probe)
        assert inside.result() == "b"
        assert pool.submit(probe).result() == "ab"


def test_a_pool_of_multiprocessing_that_a_scope_made_is_not_in_it_for_ever(probe: Probe) -> None:
    with opg.guard(project="proj_a"):
        pool = ThreadPool(1)
    try:
        assert pool.apply(probe) == "ab?"
    finally:
        pool.terminate()
        pool.join()


def test_a_thread_is_left_as_it_was(probe: Probe) -> None:
    opg.enable(registry=REGISTRY)

    class Mine(threading.Thread):
        said = ""

        def run(self) -> None:
            self.said = f"{probe()} {'run' in vars(self)}"

    with opg.guard(project="proj_a"):
        thread = Mine()
        thread.start()
    thread.join()
    assert thread.said == "a False"


def test_a_run_of_a_threads_own_stays_on_it(probe: Probe) -> None:
    """Tracing packages put one there, at the start."""
    opg.enable(registry=REGISTRY)
    said: list[str] = []
    thread: Any = threading.Thread()
    run = thread.run = lambda: said.append(probe())
    with opg.guard(project="proj_a"):
        thread.start()
    thread.join()
    assert said == ["a"]
    assert vars(thread)["run"] is run


def test_a_tool_whose_start_calls_run_with_the_thread_may_be_inside_ours(
    probe: Probe, clean: pytest.MonkeyPatch
) -> None:
    """As that of sentry-sdk does, where it was set up before the guard."""
    theirs = threading.Thread.start

    def start(self: Any) -> None:
        run = getattr(self.run, "__func__", self.run)
        self.run = lambda: run(threading.current_thread())
        theirs(self)

    clean.setattr(threading.Thread, "start", start)
    said: list[str] = []
    opg.enable(registry=REGISTRY)
    with opg.guard(project="proj_a"):
        thread = threading.Thread(target=lambda: said.append(probe()))
        thread.start()
    thread.join()
    assert said == ["a"]
    assert "run" not in vars(thread)


@pytest.fixture
def no_thread_can_start() -> Iterator[Callable[[], object]]:
    """What ends it. No system has an address space for such a stack."""
    size = threading.stack_size(1 << 46)

    def end() -> None:
        threading.stack_size(size)

    yield end
    end()


@pytest.mark.parametrize("later", ["proj_b", None])
def test_a_thread_that_could_not_start_starts_later_in_the_scope_of_then(
    later: str | None, probe: Probe, no_thread_can_start: Callable[[], object]
) -> None:
    opg.enable(registry=REGISTRY)
    said: list[str] = []
    outside = threading.Thread()
    thread = threading.Thread(target=lambda: said.append(probe()))
    with pytest.raises(RuntimeError, match="can't start"):
        outside.start()
    with opg.guard(project="proj_a"):
        for _ in range(2):
            with pytest.raises(RuntimeError):
                thread.start()
    assert "run" not in vars(thread)
    no_thread_can_start()
    try:
        outside.start()
    except RuntimeError:
        pytest.skip("from Python 3.13 on it can be started no more")
    with opg.guard(project=later) if later else nullcontext():
        thread.start()
    thread.join()
    assert said == ["b" if later else "ab"]


def test_a_thread_cannot_be_started_twice(probe: Probe) -> None:
    opg.enable(registry=REGISTRY)
    with opg.guard(project="proj_a"):
        thread = threading.Thread(target=probe)
        thread.start()
        thread.join()
        with pytest.raises(RuntimeError, match="only be started once"):
            thread.start()
    assert "run" not in vars(thread)


def test_what_is_called_when_a_process_is_done_is_not_in_the_scope_that_made_the_pool(
    probe: Probe,
) -> None:
    """The thread that serves a pool of processes lives as long as the pool, and calls it."""
    said: list[str] = []
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        with opg.guard(project="proj_a"):
            assert pool.submit(abs, -1).result() == 1  # it starts that thread, too
        pool.submit(abs, -2).add_done_callback(lambda _: said.append(probe()))
    assert said == ["ab?"]


@pytest.mark.skipif("fork" not in get_all_start_methods(), reason="no fork")
def test_a_forked_process_has_the_scope_that_started_it_and_one_that_serves_a_pool_none() -> None:
    program = f"""
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.managers import BaseManager
from support import Probe
import openai_project_guard as opg

probe = Probe()
fork = multiprocessing.get_context("fork")
opg.enable(registry={REGISTRY!r})

def passes():
    return probe()

def tell(end):
    end.send(passes())

class Serves(BaseManager):
    pass

Serves.register("passes", lambda: [passes()])
here, there = fork.Pipe()
with ProcessPoolExecutor(1, fork) as executor:
    with opg.guard(project="proj_a"):
        pool = fork.Pool(1)
        process = fork.Process(target=tell, args=(there,))
        process.start()
        print(here.recv(), executor.submit(passes).result(), pool.apply(passes))
        manager = Serves(ctx=fork)
        manager.start()
        print(manager.passes().copy())
    print(executor.submit(passes).result(), pool.apply(passes))
    with opg.guard(project="proj_b"):
        print(executor.submit(passes).result(), pool.apply(passes))
process.join()
pool.close()
pool.join()
"""
    assert output(program).splitlines() == ["a ab ab", "['ab']", "ab ab", "ab ab"]


@pytest.mark.parametrize("method", ["submit", "map"])
def test_a_thread_that_hands_work_to_a_pool_has_the_scope_that_started_it(
    method: str, probe: Probe
) -> None:
    opg.enable(registry=REGISTRY)
    said: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        with opg.guard(project="proj_a"):
            thread = threading.Thread(
                target=getattr(pool, method), args=(lambda *_: said.append(probe()), [0])
            )
            thread.start()
        thread.join()
    assert said == ["a"]


# --- signals --------------------------------------------------------------------------------------


class Interrupt(Exception):  # noqa: N818
    """What a signal's handler raises, as task queues do when a task has taken too long."""


def interrupted_at(step: int, run: Callable[[], object]) -> bool:
    """Runs something and raises just before the given instruction of our scopes' code."""
    passed = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal passed
        if not frame.f_code.co_filename.endswith(("_guard.py", "_scope.py", "_block.py")):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            passed += 1
            if passed == step:
                raise Interrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    except Interrupt:
        pass
    finally:
        sys.settrace(before)
    return passed >= step


def with_block() -> None:
    with opg.guard(project="proj_a"):
        pass


def reused() -> None:
    scope = opg.guard(project="proj_a")
    with scope:
        pass
    with scope:
        pass


@opg.guard(project="proj_a")
def decorated() -> None:
    pass


@opg.guard(project="proj_a")
def generator() -> Any:
    yield 1
    yield 2


def async_with() -> None:
    async def run() -> None:
        async with opg.guard(project="proj_a"):
            pass

    with suppress(StopIteration):
        run().send(None)


WAYS = [with_block, reused, decorated, lambda: list(generator()), async_with]


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupt_at_any_instruction_leaves_no_scope_behind(
    way: Callable[[], object], clean: pytest.MonkeyPatch
) -> None:
    opg.enable(registry=REGISTRY)
    way()  # what is imported at the first use
    interrupted_at(sys.maxsize, way)  # Python 3.12 begins to tell opcodes in the second run
    step = 1
    while interrupted_at(step, way):
        assert current_scope() is None, f"interrupted at instruction {step}"
        assert SCOPE.get() is None
        step += 1
    assert step > 50


def test_within_the_handler_of_the_interrupt_no_scope_is_open() -> None:
    opg.enable(registry=REGISTRY)
    with_block()
    step, found = 1, []

    def run() -> None:
        try:
            with_block()
        except Interrupt:
            found.append(current_scope())
            raise

    while interrupted_at(step, run):
        step += 1
    assert len(found) > 50
    assert found == [None] * len(found)


def test_an_interrupt_within_the_check_is_the_applications() -> None:
    opg.enable(registry=REGISTRY)
    client = sync_client(Recorder(), project="proj_a")
    client.models.list()
    lines = 0
    for line in range(1, 1000):
        passed = 0

        def trace(frame: Any, event: str, _: Any, line: int = line) -> Any:
            nonlocal passed
            if not frame.f_code.co_filename.endswith(("check.py", "headers.py", "response.py")):
                return None
            if event == "line":
                passed += 1
                if passed == line:
                    raise Interrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            client.models.list()
        except (Interrupt, openai.APIConnectionError) as error:
            # The SDKs before 2.31 take every Exception for their HTTP client's.
            lines += Interrupt in (type(error), type(error.__cause__))
        else:
            assert passed < line
            break
        finally:
            sys.settrace(before)
    assert lines > 20


def test_real_signals_leave_no_scope_behind() -> None:
    run = python(
        f"""
import signal, time
import openai_project_guard as opg
from openai_project_guard._scope import current_scope

class Limit(Exception): ...

def handler(*_):
    raise Limit

signal.signal(signal.SIGALRM, handler)
opg.enable(registry={{"proj_a": {A!r}}})
with opg.guard(project="proj_a"):
    pass  # what it imports: importlib drops an error that comes amid its own clearing up
caught = 0
for _ in range(300):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        while True:
            with opg.guard(project="proj_a"):
                pass
    except Limit:
        caught += 1
        assert current_scope() is None
print(caught)
"""
    )
    if "SIGALRM" in run.stderr and "AttributeError" in run.stderr:
        pytest.skip("this system has no SIGALRM")
    assert run.stdout.strip() == "300", run.stderr


def test_a_signal_handler_may_register_and_observe_within_the_same() -> None:
    """At any instruction: a lock that its own thread cannot take again would wait for ever."""
    code = """
        import faulthandler, sys
        import openai_project_guard as opg

        faulthandler.dump_traceback_later(60, exit=True)
        key = "sk-proj-not-a-real-key-of-number-{}".format
        opg.enable(registry={}, unregistered="learn")
        from openai_project_guard._check.learn import learn
        from openai_project_guard._keys import digest
        jobs = (
            lambda number: opg.register(key(number), "proj_a"),
            lambda number: (opg.add_observer(print), opg.remove_observer(print)),
            lambda number: learn(digest(key(number)), "", "proj_a", 200),
        )
        numbers = iter(range(10**6))

        def trace(frame, event, arg):
            names = "add", "add_observer", "remove_observer", "learn"
            if "openai_project_guard" not in frame.f_code.co_filename:
                return None
            frame.f_trace_opcodes = frame.f_code.co_name in names
            if event == "opcode":
                sys.settrace(None)
                for job in jobs:
                    job(next(numbers))
                sys.settrace(trace)
            return trace

        for job in jobs:
            sys.settrace(trace)
            job(next(numbers))
            sys.settrace(None)
        print(next(numbers) > 100)
    """
    assert output(textwrap.dedent(code)) == "True"
