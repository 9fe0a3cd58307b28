"""Does the output fit the terminal: its colours, its characters and its width?"""

from __future__ import annotations

import io
import os

import pytest

from openai_project_guard._cli.output import Cell, Terminal

COLOR_VARIABLES = ("NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS", "WT_SESSION")


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in COLOR_VARIABLES:
        monkeypatch.delenv(name, raising=False)


class Stream(io.StringIO):
    def __init__(self, encoding: str = "utf-8", *, is_terminal: bool = False) -> None:
        super().__init__()
        self._encoding = encoding
        self._is_terminal = is_terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.mark.skipif(os.name == "nt", reason="asks for a terminal that knows colours")
@pytest.mark.parametrize(
    ("is_terminal", "variables", "has_color"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (False, {"FORCE_COLOR": "1"}, True),
        (True, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_color_is_for_terminals_that_want_it(
    is_terminal: bool,
    variables: dict[str, str],
    has_color: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    stream = Stream(is_terminal=is_terminal)
    Terminal(stream).line("stop", "red")
    assert stream.getvalue() == ("\x1b[31mstop\x1b[0m\n" if has_color else "stop\n")


TABLE = (
    ("Call", "Bytes out"),
    [
        (Cell("✓ one"), Cell("7")),
        (Cell("a longer one, with several words"), Cell("1234")),
    ],
)


def shown(stream: Stream) -> list[str]:
    Terminal(stream).table(*TABLE)
    return stream.getvalue().splitlines()


def test_a_table_breaks_titles_and_sets_numbers_flush_right() -> None:
    assert shown(Stream()) == [
        " Call                             │ Bytes",
        "                                  │   out",
        "──────────────────────────────────┼──────",
        " ✓ one                            │     7",
        " a longer one, with several words │  1234",
    ]


def test_a_stream_without_box_characters_gets_ascii() -> None:
    assert shown(Stream("latin-1"))[2:4] == [
        "----------------------------------+------",
        " + one                            |     7",
    ]


def test_a_character_that_the_stream_lacks_does_not_stop_the_output() -> None:
    stream = Stream("ascii")
    Terminal(stream).line("sk-proj-…Ab3d, ü")
    assert stream.getvalue() == "sk-proj-...Ab3d, ?\n"


def test_a_narrow_terminal_breaks_the_widest_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    assert shown(Stream())[2:] == [
        "─────────────────┼──────",
        " ✓ one           │     7",
        " a longer one,   │  1234",
        " with several    │",
        " words           │",
    ]


def test_a_cell_is_broken_between_words_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = Stream()
    Terminal(stream).table(("Key", "No"), [(Cell("the key sk-proj-…Ab3d"), Cell("7"))])
    assert [line.split("│")[0].strip() for line in stream.getvalue().splitlines()[2:]] == [
        "the key",
        "sk-proj-…Ab3d",
    ]


def test_a_table_that_just_fits_is_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = shown(Stream())
    width = max(map(len, wide))
    monkeypatch.setenv("COLUMNS", str(width))
    assert shown(Stream()) == wide
    monkeypatch.setenv("COLUMNS", str(width - 1))
    assert max(map(len, shown(Stream()))) < width


def test_a_terminal_too_narrow_for_any_table_gets_one_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "1")
    assert " several  │" in shown(Stream())


def test_a_paragraph_is_broken_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = Stream()
    Terminal(stream).paragraph("the key sk-proj-…Ab3d belongs elsewhere")
    assert stream.getvalue() == "the key\nsk-proj-…Ab3d\nbelongs elsewhere\n"
