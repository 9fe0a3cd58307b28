"""What does `--env-file` read from a file, and does it read it as python-dotenv does?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import A, B, frames_holding

from openai_project_guard import ConfigurationError
from openai_project_guard._cli.env_files import (
    EnvFile,
    environment_of,
    read_env_file,
    read_env_files,
)

dotenv = pytest.importorskip("dotenv")

AS_PYTHON_DOTENV_READS = {
    "plain": "A=1\nB=two words\n",
    "export": "export A=1\nexport   B=2\n",
    "double quotes": 'A="a # b"\nB="line\\nbreak"\n',
    "several lines in quotes": 'A="first\nsecond"\nB=2\n',
    "single quotes": "A='a \\n b'\nB=' x '\n",
    "comments": "# A=0\nA=1 # one\nB=a#b\n",
    "empty": "A=\nB=''\nC\n",
    "Windows line ends": "A=1\r\nB=\"2\"\r\n\r\nC='3'\r\n",
    "spaces": "  A = 1  \n\tB\t=\t2\n",
    "references": "A=1\nB=${A}${OUTSIDE}\nA=2\nC=${A}-${NOWHERE:-default}\nD='${A}'\n",
    "not there": "A=${NOWHERE}x\n",
    "equals sign": "A=b=c\nB==\n",
    "a line that is none": 'A=1\nB="never closed\nC=3\n',
}


@pytest.mark.parametrize("text", AS_PYTHON_DOTENV_READS.values(), ids=AS_PYTHON_DOTENV_READS)
def test_values_are_those_of_python_dotenv(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".env"
    path.write_bytes(text.encode())
    monkeypatch.setenv("OUTSIDE", "out")
    monkeypatch.setenv("A", "of the environment")
    expected = dotenv.dotenv_values(path)
    assert read_env_file(str(path), os.environ).values == {
        name: value for name, value in expected.items() if value is not None
    }


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"\xef\xbb\xbfA=1\r\n")
    assert read_env_files([str(path)], {}) == {"A": "1"}


def test_files_beat_the_environment_and_later_files_earlier_ones(tmp_path: Path) -> None:
    one, two = tmp_path / "one.env", tmp_path / "two.env"
    one.write_text("A=1\nB=1\n")
    two.write_text("B=2${A}\n")
    environ = {"A": "0", "B": "0", "C": "0"}
    assert read_env_files([str(one), str(two)], environ) == {"A": "1", "B": "21", "C": "0"}
    assert environ == {"A": "0", "B": "0", "C": "0"}


def test_a_key_where_a_variable_belongs_is_not_kept_as_its_name(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("OPENAI_API_KEY=${sk-proj-not-a-real-key-0123456789}\n")
    assert read_env_file(str(path), {}).unknown == {"OPENAI_API_KEY": ("sk-proj-…6789",)}


def test_what_refers_to_a_variable_that_is_not_there_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(
        "A=${NOWHERE}\nB=x${A}\nC=${NOWHERE:-c}\nD=${HERE}\nE=${NOWHERE}\nE=value\nF=${X}${Y}\n"
    )
    found = read_env_file(str(path), {"HERE": ""})
    assert found.unknown == {"A": ("NOWHERE",), "B": ("NOWHERE",), "F": ("X", "Y")}
    assert "value" not in repr(found)  # a value may be a key


def test_a_line_that_is_skipped_is_named_and_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ".env"
    path.write_text('A=1\n\n\nB="sk-proj-not-a-real-key-AAAA\nC=3\n')
    assert read_env_files([str(path)], {}) == {"A": "1", "C": "3"}
    said = capsys.readouterr().err
    assert said == (
        f"openai-project-guard: warning: {path}, line 4: this is not NAME=value, so it was "
        "skipped.\n"
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "it cannot be read (No such file or directory), seen from "),
        (b"A=\xff\n", "it is not UTF-8. Save it as UTF-8."),
        (b"A=1\0\n", "there is a NUL character in it, so it is no text file."),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "a.env"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_env_files([str(path)], {})
    assert f"--env-file {path}: {problem}" in str(caught.value)


@pytest.mark.parametrize("content", [f"KEY={A}\n\0".encode(), f"KEY={A}\n\xff".encode("latin-1")])
def test_an_error_holds_no_key_of_the_file_or_of_the_environment(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "a.env"
    path.write_bytes(content)
    for read in (
        lambda: read_env_file(str(path), {"B": B}),
        lambda: read_env_files([str(path)], {"B": B}),
    ):
        with pytest.raises(ConfigurationError) as caught:
            read()
        assert frames_holding(caught.value, A, B) == []


def test_a_value_that_is_slow_to_take_apart_is_an_error(tmp_path: Path) -> None:
    """python-dotenv looks from each `${` for its end: 20,000 of them took a quarter of a minute."""
    path = tmp_path / "a.env"
    path.write_text("A=1\nB=" + "${" * 20_000 + "\n")
    with pytest.raises(ConfigurationError, match=r"a\.env, line 2: this value has too many \$\{"):
        read_env_file(str(path), {})
    path.write_text("A=1\n" + "".join(f"B{n}=" + "${A}" * 100 + "\n" for n in range(100)))
    assert read_env_file(str(path), {}).values["B99"] == "1" * 100


@pytest.mark.parametrize("space", [" ", "\t", "\u2003"])
def test_a_run_of_spaces_that_is_slow_to_look_through_is_an_error(
    tmp_path: Path, space: str
) -> None:
    path = tmp_path / "a.env"
    path.write_text(f"A=1\nB=x{space * 200_000}y\n", encoding="utf-8")
    problem = r"a\.env, line 2: it has too many spaces in a row\."
    with pytest.raises(ConfigurationError, match=problem):
        read_env_file(str(path), {})
    path.write_text("A=1\n" + f"# {space * 4_000}x\n" * 7, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=problem.replace("2", "8")):
        read_env_file(str(path), {})
    path.write_text(f"A=1\nB=x{space * 4_999}y\n", encoding="utf-8")
    assert read_env_file(str(path), {}).values["A"] == "1"


def test_a_value_that_doubles_at_each_line_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.env"
    long = "1" * 200_000
    path.write_text(
        f"LONG={long}\nA0=12345678\n" + "".join(f"A{n + 1}=${{A{n}}}${{A{n}}}\n" for n in range(16))
    )
    problem = r"a\.env, line 16: with what its \$\{\.\.\.\} stand for, .* 131,072 characters"
    with pytest.raises(ConfigurationError, match=problem):
        read_env_file(str(path), {})
    path.write_text(f"LONG={long}\nA={'1' * 65_535}\nB=${{A}}${{A}}\n")
    values = read_env_file(str(path), {}).values
    assert values["LONG"] == long
    assert len(values["B"]) == 131_070


def up_to_the_limit(path: Path, more: str, good: int, problem: str) -> EnvFile:
    """What the good lines say, of 299 that each add something; with all of them it is an error."""
    lines = [f"A{n}=${{A{n - 1}}}{more.replace('NUMBER', str(n))}\n" for n in range(1, 300)]
    path.write_text("".join(lines))
    with pytest.raises(ConfigurationError, match=problem):
        read_env_file(str(path), {})
    path.write_text("".join(lines[:good]))
    return read_env_file(str(path), {})


def test_a_value_that_refers_to_ever_more_that_is_not_set_is_an_error(tmp_path: Path) -> None:
    problem = r"a\.env, line 200: this value refers to 201 variables that are not set"
    file = up_to_the_limit(tmp_path / "a.env", "${UNKNOWNNUMBER}", 199, problem)
    assert len(file.unknown["A199"]) == 200


def test_values_that_grow_by_a_little_at_each_line_are_an_error_in_the_end(tmp_path: Path) -> None:
    problem = r"a\.env, line 206: with what their \$\{\.\.\.\} stand for, .* 2,097,152 fit in an"
    file = up_to_the_limit(tmp_path / "a.env", "x" * 100, 205, problem)
    assert len(file.values["A205"]) == 20_500


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="Windows has none")
def test_a_file_without_an_end_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"it has more than 1,048,576 characters\."):
        read_env_file("/dev/zero", {})
    path = tmp_path / "a.env"
    path.write_text("A=1\n#" + "x" * 1_048_571)
    assert read_env_file(str(path), {}).values == {"A": "1"}


def test_the_environment_is_as_before_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT", "before")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj_before")
    before = dict(os.environ)
    path = tmp_path / ".env"
    path.write_text("KEPT=inside\nNEW=1\nOPENAI_PROJECT_ID=${NOWHERE}\n")
    with environment_of(read_env_file(str(path), os.environ)):
        inside = {**before, "KEPT": "inside", "NEW": "1"}
        del inside["OPENAI_PROJECT_ID"]  # which nobody knows
        assert dict(os.environ) == inside
    assert dict(os.environ) == before
