"""Does a scope hold for whatever is started inside, and for nothing else, in any nesting?

Trees of scopes, tasks, threads, pools and generators. At each leaf real calls find out what passes,
and that must be what the scopes around it in the tree say.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import A, B, Probe, fresh_guard

import openai_project_guard as opg


class Node(NamedTuple):
    """What is done with the nodes inside: `how` picks a way that fits where it stands."""

    kind: str
    how: int
    mode: Any
    project: str | None
    inside: tuple[Node, ...]


class State(NamedTuple):
    """What the scopes around a leaf say."""

    is_in_scope: bool = False
    mode: str = "enforce"
    project: str | None = None

    def inside(self, node: Node) -> State:
        return State(True, node.mode or self.mode, node.project or self.project)

    @property
    def passes(self) -> str:
        if not self.is_in_scope or self.mode in ("warn", "off"):
            return "ab?"
        return "ab" if self.project is None else self.project[-1]


def nodes(inside: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    return st.builds(
        Node,
        st.sampled_from(["guard", "guard", "start", "generator"]),
        st.integers(0, 2),
        st.sampled_from([None, None, "enforce", "warn", "off"]),
        st.sampled_from([None, "proj_a", "proj_b"]),
        st.lists(inside, min_size=1, max_size=2).map(tuple),
    )


LEAF = st.just(Node("probe", 0, None, None, ()))
TREES = st.recursive(LEAF, nodes, max_leaves=4)


class Walk:
    """Goes through a tree and asks at each leaf which calls pass.

    Whatever is started is begun inside, and ends after the scope was left as often as before.
    """

    def __init__(self) -> None:
        self.probe = Probe()
        self.wrong: list[tuple[str, str]] = []
        self._one_at_a_time = threading.Lock()

    def check(self, state: State) -> None:
        with self._one_at_a_time:
            found = self.probe()
        if found != state.passes:
            self.wrong.append((found, state.passes))

    def plain(self, node: Node, state: State) -> None:
        """In a thread."""
        if node.kind == "probe":
            self.check(state)
        elif node.kind == "guard":
            with opg.guard(project=node.project, mode=node.mode):
                for one in node.inside:
                    self.plain(one, state.inside(node))
        elif node.kind == "generator":
            guard = opg.guard(project=node.project, mode=node.mode)
            for _ in guard(self.generate)(node, state.inside(node)):
                self.check(state)  # it holds only while the body runs
        else:
            self.start(node, state)
        self.check(state)

    def generate(self, node: Node, state: State) -> Iterator[None]:
        for one in node.inside:
            self.plain(one, state)
            yield
            self.check(state)

    def start(self, node: Node, state: State) -> None:
        for one in node.inside:
            if node.how == 0:
                thread = threading.Thread(target=self.plain, args=(one, state))
                thread.start()
                thread.join()
            elif node.how == 1:
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(self.plain, one, state).result()
            else:
                asyncio.run(self.asynchronous(one, state))

    async def asynchronous(self, node: Node, state: State) -> None:
        """In a task."""
        if node.kind == "probe":
            self.check(state)
        elif node.kind == "guard":
            async with opg.guard(project=node.project, mode=node.mode):
                for one in node.inside:
                    await self.asynchronous(one, state.inside(node))
        elif node.kind == "generator":
            guard = opg.guard(project=node.project, mode=node.mode)
            async for _ in guard(self.generate_async)(node, state.inside(node)):
                self.check(state)
        elif node.how == 0:
            tasks = [asyncio.create_task(self.asynchronous(one, state)) for one in node.inside]
            with opg.guard(project="proj_a", mode="enforce"):  # they were started outside of it
                await asyncio.gather(*tasks)
        elif node.how == 1:
            for one in node.inside:
                await asyncio.to_thread(self.plain, one, state)
        else:
            loop = asyncio.get_running_loop()
            waiting = [loop.run_in_executor(None, self.plain, one, state) for one in node.inside]
            await asyncio.gather(*waiting)
        self.check(state)

    async def generate_async(self, node: Node, state: State) -> AsyncIterator[None]:
        for one in node.inside:
            await self.asynchronous(one, state)
            yield
            self.check(state)


@pytest.mark.parametrize("is_enabled", [False, True])
def test_every_leaf_is_in_the_scopes_around_it(clean: pytest.MonkeyPatch, is_enabled: bool) -> None:
    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(TREES, st.booleans())
    def walk(tree: Node, is_async: bool) -> None:
        with fresh_guard():
            opg.register(A, "proj_a")
            opg.register(B, "proj_b")
            if is_enabled:
                opg.enable()
            state = State(is_enabled)
            walk = Walk()
            if is_async:
                asyncio.run(walk.asynchronous(tree, state))
            else:
                walk.plain(tree, state)
            assert walk.wrong == []

    walk()
