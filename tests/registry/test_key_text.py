"""What may be seen of a key, and what is taken for one?"""

from __future__ import annotations

import hashlib
import random
import re
import string

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from openai_project_guard import ConfigurationError
from openai_project_guard._keys import (
    digest,
    digest_of,
    find_key,
    fingerprint_of,
    hint,
    redact,
    shown,
    validate_key,
    weakness,
    without_known_keys,
    without_random,
)

LETTERS_AND_DIGITS = string.ascii_letters + string.digits
KEYS = st.one_of(
    *(
        st.builds(prefix.__add__, st.text(alphabet, min_size=least, max_size=most))
        for prefix, alphabet, least, most in (
            ("sk-proj-", LETTERS_AND_DIGITS + "_-", 20, 170),
            ("sk-svcacct-", LETTERS_AND_DIGITS + "_-", 20, 170),
            ("sk-admin-", LETTERS_AND_DIGITS + "_-", 20, 170),
            ("sk-None-", LETTERS_AND_DIGITS + "_-", 20, 170),
            ("sk-", LETTERS_AND_DIGITS, 32, 48),
            ("sess-", LETTERS_AND_DIGITS, 40, 40),
            ("ek_", string.hexdigits, 32, 40),
        )
    )
)
# What stands around a key in an error, a log line or a file, and what is hard to tell from one.
PIECES = [*"abz_-AZ09 .,:;/@\"'=\n…é", "sk-", "sess-", "ek_", "proj_", "//", "sk-proj-…", "Bearer "]
AROUND = st.lists(st.sampled_from(PIECES), max_size=20).map("".join)


def is_apart(before: str) -> bool:
    """Whether what begins here is no part of a word, as `sk-` is of flask-admin."""
    return re.search("[A-Za-z0-9]$", before) is None


def looks_like_one(key: str) -> bool:
    """Whether it has capitals and small letters, as a random one has and hardly a name."""
    begin = key[3:30].removeprefix("proj-").removeprefix("svcacct-").removeprefix("admin-")
    begin = begin.removeprefix("None-").removeprefix("s-")
    return key.startswith("ek_") or (begin != begin.lower() and begin != begin.upper())


@settings(derandomize=True, deadline=None, max_examples=500)
@given(AROUND, KEYS, AROUND)
@example("team_", "sk-proj-" + "A1" * 20, "")
@example("team", "sk-proj-" + "a_A1" * 5, "")
@example("week", "ek_" + "0123456789abcdef" * 2, "")
@example("", "sk-" + "a" * 48, "…")
@example("flask", "sk-" + "a" * 25 + "T3BlbkFJ" + "b" * 15, "")
def test_twelve_characters_of_a_key_never_survive(before: str, key: str, behind: str) -> None:
    assume(is_apart(before) or looks_like_one(key))
    shown = redact(before + key + behind)
    around = before + " " + behind
    for start in range(len(key) - 11):
        piece = key[start : start + 12]
        assert piece not in shown or piece in around


@settings(derandomize=True, deadline=None)
@given(AROUND, KEYS, AROUND)
def test_a_key_is_found_wherever_it_begins(before: str, key: str, behind: str) -> None:
    assume(is_apart(before) or looks_like_one(key))
    assert find_key(before + key + behind)


@pytest.mark.parametrize(
    "text",
    [
        "sk-learn-recommendations",
        "task-management-service-2024",
        "flask-admin-dashboard/app.py, helpdesk-admin-console-7d9f8b6c5d-aaaaa",
        "desk-proj-berlin-01, task-management-service-2024-a1b2c3d4",
        "task-67f7bfc50b288190893f242d9fa93c52, task_01HV3K9M2N4P5Q6R7S8T9V0W1X",
        "risk-assessment",
        "proj_5fPqTn0w of org-Jx1c",
        "sk-proj-…Ab3d, sk-svcacct-…Ab3d, sk-…Ab3d",
        "sk-team-…Ab3d, sk-Team-…Ab3d, sk-sBnoIEMHykab-…Ab3d, sess-…Ab3d, …Ab3d",
        "sha256:" + "0123456789abcdef" * 4,
        "/opt/sk-learn-1.5.2/lib/python3.11/site-packages/App/Main.py:9",
        "p/sk-learn-1.5/Model_v2/train.py, sk-eu1.gateway.example.com",
        "sk-learn/RecommendationService/sk-2024/Build77",
        "https://api.openai.com/v1/models",
        "redis://cache/0, of the team @work",
    ],
)
def test_names_and_hints_are_left_alone(text: str) -> None:
    assert redact(text) == text
    assert find_key(text) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:s3cret@host:1/0", "redis://…@host:1/0"),
        ("redis:/user:s3cret@host", "redis:/…@host"),
        (":/user:s3cret@host", ":/…@host"),
        (":/u:s3cret@host", ":/…@host"),
        ("user:secret@host:6379/0", "…@host:6379/0"),
        ("redis:user:secret@host", "…@host"),
        ("in /srv/app/user:secret@host: no", "in /srv/app/…@host: no"),
        ("'user:se/cr:et@host'", "…@host'"),
        ("C:\\users\\a@b", "C:\\users\\a@b"),
        ("/srv/a@b/x.py:12", "/srv/a@b/x.py:12"),
        ("rediss://:p@ss:/w@rd@host and a@b", "rediss://…@host and a@b"),
        ("redis://h/0?password=s3.cr,e't&db=1", "redis://h/0?password=…&db=1"),
        ("'redis://h?db=1&password=s3cret', a URL", "'redis://h?db=1&password=…', a URL"),
        ("(redis://h/0?password=s3cret).", "(redis://h/0?password=…)."),
        ("redis://h/0?password=…", "redis://h/0?password=…"),
        ("redis://h/0?password= is empty", "redis://h/0?password= is empty"),
        ("team_sk-proj-0123456789Ab3d", "team_sk-proj-…Ab3d"),
        ("xsess-0123456789012345678901Ab3d", "xsess-…Ab3d"),
        ("sk-1234abcd", "sk-…abcd"),
        ("sk-A1sk-345, sk-A1sk-34", "sk-…-345, sk-A1sk-34"),
        # Of a gateway, as far as it is no path, id, port or other key.
        ("'sk-9tG+Zq8Rw3Tn6Yc1'", "'sk-…6Yc1'"),
        ("sk-prod:Q1okTBGzvAmwufUxbvJD9x2L is", "sk-…9x2L is"),
        ("x://h/sess-a.b/sk-a~Q1okTBGzvAmwufUxbvJD9x2L/x", "x://h/sess-a.b/sk-…9x2L/x"),
        ("/sk-proj-0123456789Ab3d/v1/chat/completions", "/sk-proj-…Ab3d/v1/chat/completions"),
        ("/sk-proj-0123456789Ab3d/files/file-Ab3", "/sk-proj-…Ab3d/files/file-Ab3"),
        ("sk-proj-0123456789Ab3d:8080, x", "sk-proj-…Ab3d:8080, x"),
        ("sk-0123Ab3d=proj_5fPqTn0w", "sk-…Ab3d=proj_5fPqTn0w"),
        ("sk-proj-0123456789Ab3d:sk-0123456789Ab3e", "sk-proj-…Ab3d:sk-…Ab3e"),
        ("sk-proj-0123456789Ab3d.toml, Zq8Rw3Tn6Yc1", "sk-proj-…Ab3d.toml, Zq8Rw3Tn6Yc1"),
    ],
)
def test_user_info_and_keys_are_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_what_is_known_to_be_a_key_is_hidden_and_no_other_word(encoding: str) -> None:
    key = "schlüssel-0123456789ab"
    text = f"Ж {key}, no-key_of-the-support-team or über"
    known = hashlib.sha256(key.encode(encoding)).digest()
    assert without_known_keys(text, known.__eq__) == text.replace(key, "…89ab")
    assert without_known_keys(text, lambda _: False) == text


@pytest.mark.parametrize(
    ("text", "key", "is_found"),
    [
        ("{}", "a:b:c:d:e:f:g:h:0123456789", True),  # eight characters that few keys have
        ("{}", "a:b:c:d:e:f:g:h:i:0123456789", True),  # a whole word may have more
        ("x={}", "a:b:c:d:e:f:g:h:0123456789", True),
        ("x={}", "a:b:c:d:e:f:g:h:i:0123456789", False),
        ("x" * 1998 + "={}", "gw/0123456789", True),  # it begins within the first 2,000
        ("x" * 1999 + "={}", "gw/0123456789", False),
        ("x" * 1999 + "={}", "gw-0123456789", True),
        ("x=" * 5000 + "{}=x", "gw-0123456789", True),
    ],
)
def test_a_key_with_separators_in_it_is_found_among_others(
    text: str, key: str, is_found: bool
) -> None:
    cleaned = without_known_keys(text.format(key), digest(key).__eq__)
    assert cleaned == text.format(hint(key) if is_found else key)


def test_of_a_key_within_a_key_no_part_is_left() -> None:
    inner = "0123456789Ab3d"
    known = {digest(inner), digest(f"gw:{inner}"), digest(f"gw:{inner}==")}
    said = without_known_keys(f"/x/gw:{inner}==/gw:{inner}/{inner}", known.__contains__)
    assert said == "/x/…3d==/…Ab3d/…Ab3d"


@pytest.mark.parametrize("text", ["{}", "it is {}.", "({})", "a={}"])
def test_what_looks_random_in_a_text_is_hidden_unless_it_is_in_a_path(text: str) -> None:
    secret = "Zq8vN3xK1mB7cT5wR9yP2sL6d"
    assert without_random(text.format(secret)) == text.format("…sL6d")
    assert without_random(f"/srv/{secret}") == f"/srv/{secret}"
    assert without_random(text.format("sk-team-…Ab3d")) == text.format("sk-team-…Ab3d")


@pytest.mark.parametrize("key", ["abcd-1234", "abcd1234"])
def test_a_key_within_a_word_beside_it_is_refused_unless_it_is_as_short_as_a_word(key: str) -> None:
    with pytest.raises(ConfigurationError, match="has a key in it"):
        validate_key(key, None, f"of-x{key}x")
    validate_key(key[:7], None, f"of-x{key[:7]}x")
    with pytest.raises(ConfigurationError, match="has a key in it"):
        validate_key(key[:7], None, f"of {key[:7]}.")


@pytest.mark.parametrize(
    "form",
    ["{}", "Bearer {}", "proj_a={}", "{}, x", '"{}"', "a;{};b", "…{}", "x://{}", "x://{}:1/y"],
)
def test_what_looks_random_in_a_value_that_is_shown_is_hidden(form: str) -> None:
    secret = "Zq8vN3xK1mB7cT5wR9yP2sL6d"
    assert secret not in shown(form.format(secret))
    assert "…sL6d" in shown(form.format(secret))
    name = form.format("text-embedding-of-the-support-team")
    assert shown(name) == repr(name)


@pytest.mark.parametrize("key", ["sk-a1b2c3{}Zq8", "sk-proj-a1{}Zq8.Rw3", "sess-A{}{}b"])
@pytest.mark.parametrize("around", ["{}", "x://{}", "a={}", "'{}', b"])
def test_a_word_of_a_value_that_begins_as_a_key_is_hidden_to_its_end(key: str, around: str) -> None:
    for character in ":/+=@!%.~|&#$*^?()[]{}<>\\`":
        word = key.replace("{}", character) + "4567"
        said = shown(around.replace("{}", word))
        assert said == repr(around.replace("{}", hint(word)))


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("sk-proj-0123456789Ab3d", "sk-proj-…Ab3d"),
        ("sk-svcacct-0123456789Ab3d", "sk-svcacct-…Ab3d"),
        ("sk-0123456789Ab3d", "sk-…Ab3d"),
        ("sk-0123456789-01234567Ab3d", "sk-…Ab3d"),
        ("sess-0123456789Ab3d", "sess-…Ab3d"),
        ("gateway-token-0123456789", "…6789"),
        ("abcd-token-0123456789", "…6789"),
        ("sk-team-0123456789012345Ab3d", "sk-team-…Ab3d"),
        ("sk-team-012345678901234Ab3d", "sk-…Ab3d"),  # of 19 characters no more than four
        ("sk-or-0123456789012345Ab3d", "sk-or-…Ab3d"),
        ("sk-o-0123456789012345Ab3d", "sk-…Ab3d"),
        ("sk-Team-0123456789012345Ab3d", "sk-…Ab3d"),
        ("sk-abcdefghijkl-0123456789012345Ab3d", "sk-abcdefghijkl-…Ab3d"),
        ("sk-abcdefghijklm-0123456789012345Ab3d", "sk-…Ab3d"),
        ("ek_0123456789Ab3d", "…Ab3d"),
        ("ek-0123456789Ab3d", "ek-…Ab3d"),
        ("sk-proj-1234567", "sk-proj-…"),
        ("sk-proj-12345678", "sk-proj-…5678"),
        ("1234567", "…"),
        ("", "…"),
    ],
)
def test_a_hint_is_the_prefix_and_the_last_four_characters(key: str, shown: str) -> None:
    assert hint(key) == shown


def test_of_a_gateways_random_key_four_characters_are_shown() -> None:
    """Its letters may have a dash among them, and what stands before that is a part of it."""
    chance = random.Random(7)
    secrets = ["".join(chance.choices(LETTERS_AND_DIGITS + "_-", k=22)) for _ in range(100_000)]
    assert {hint(f"sk-{secret}") for secret in secrets} == {f"sk-…{each[-4:]}" for each in secrets}
    assert {hint(secret) for secret in secrets} == {f"…{each[-4:]}" for each in secrets}


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (5, "must be a string, not int"),
        ("", "is empty"),
        ("  ", "is empty"),
        ("sk-a\n", "white space around it"),
        ('"sk-a"', "quotes around it"),
        ("'sk-a", "quotes around it"),
        ("sk-a'", "quotes around it"),
        ("sk-a b", "in the middle of it"),
        ("sk-é", "in the middle of it"),
        ("sha256:" + "0" * 64, "this is a fingerprint"),
        ("OPENAI_API_KEY=sk-a", "this is an assignment"),
        ("sk-admin-0123456789", "an admin key belongs to the organization"),
    ],
)
def test_what_is_no_key_of_a_project_is_refused(key: object, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        validate_key(key)


@pytest.mark.parametrize(
    "beside",
    ["it is sk-a, really", "team_sk-proj-0123456789Ab3d", "sk-prod:Q1okTBGzvAmwufUxbvJD9x2L"],
)
def test_a_key_in_what_is_kept_beside_it_is_refused(beside: str) -> None:
    validate_key("sk-a", None, "a note")
    with pytest.raises(ConfigurationError, match="a registry holds no key"):
        validate_key("sk-a", None, beside)


@pytest.mark.parametrize("beginning", ["sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-"])
def test_a_short_key_is_told_by_its_kind(beginning: str) -> None:
    key = beginning + "Ab3d5Ef7G"[: 16 - len(beginning)]
    assert find_key(f"it is {key}") == key
    assert find_key(f"it is just {key[:-1]}") is None
    assert find_key(key) == key  # alone, too


def test_a_key_of_the_old_form_has_19_characters_or_more() -> None:
    assert find_key("sk-Ab3dEf7GhJ9kLm2N") == "sk-Ab3dEf7GhJ9kLm2N"
    assert find_key("sk-Ab3dEf7GhJ9kLm2") is None


def test_a_fingerprint_is_the_word_sha256_and_64_hex_digits() -> None:
    written = f"sha256:{hashlib.sha256(b'sk-a').hexdigest()}"
    assert fingerprint_of(digest("sk-a")) == written
    assert digest_of(written) == digest("sk-a")


RANDOM = "q7Zr2LmX9vKp4TnB8cWd5HyJ3sGf6AoE1uVi"


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("sk-1234", "it has 4 characters behind its prefix"),
        ("sess-1234", "it has 4 characters behind its prefix"),
        ("sk-proj-" + RANDOM[:19], "it has 19 characters behind its prefix"),
        ("password", "it has 8 characters, where"),
        ("proj_5fPqTn0w", "it is the id of a project"),
        ("sk-proj_5fPqTn0w", "it is the id of a project"),
        ("org-" + RANDOM, "it is the id of a project, an organization"),
        ("user-" + RANDOM, "it is the id of a project, an organization or a user"),
        ("sk-proj-" + "ab" * 30, "it has 2 different characters only"),
        ("sk-" + RANDOM[:9] * 3, "it has 9 different characters only"),
        ("sk-abc9fgh2klm7pqr4vwx0", "follow each other as in the alphabet"),  # 10 of 20
        ("sk-abcdefghijklmnopqrstuvwxyz0123456789", "follow each other as in the alphabet"),
        ("sk-zyxwvutsrqponmlkjihgfedcba", "follow each other as in the alphabet"),
        ("changeme-please-2024-production", "it is made of words"),
        ("sk-my-secret-litellm-key", "it is made of words"),
        ("CorrectHorseBatteryStaple", "it is made of words"),
        ("sk-CORRECT-HORSE-BATTERY-STAPLE", "it is made of words"),
        ("sk-gardens7bottles3-9-4", "it is made of words"),  # 14 of 20 characters
        ("sk-Apple-Grape-Lemon-Mango", "it is made of words"),  # of five letters each
        ("sk-myCompanySecretGateway1", "it is made of words"),
        ("sk-proj-this-is-the-staging-gateway", "it is made of words"),
        ("sk-gardens7bottles39-bw", "it is made of words"),  # 2 of 20 are other letters
        ("sk-kitchens7bottles3-bwz", "it is made of words"),  # 3 of 21, a seventh
        ("sk-proj-quiet-jazz-evening-vacation", "it is made of words"),
    ],
)
def test_a_key_that_can_be_guessed_is_weak(key: str, problem: str) -> None:
    assert problem in (weakness(key) or "")


@pytest.mark.parametrize("alphabet", [LETTERS_AND_DIGITS, LETTERS_AND_DIGITS + "_-"])
def test_of_random_keys_hardly_one_is_refused(alphabet: str) -> None:
    """Each is refused in less than one of 100,000 cases; before, it was one in 1,000 of 20."""
    chance = random.Random(7)
    for length in (20, 24, 32, 48):
        keys = ("".join(chance.choices(alphabet, k=length)) for _ in range(10_000))
        assert [key for key in keys if weakness(f"sk-proj-{key}")] == []


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-" + RANDOM[:20],
        "sk-" + RANDOM[:10] * 2,
        "sk-ab0cd2ef4gh6ij8kl0mn2op",  # a third of them follow each other
        "sk-bdf024prtBDFvxz579HJLprt",  # in steps of two
        "sk-garden7bottles3-9-4x",  # 13 of 20 characters are words
        "sk-gardens7bottles3-bwp",  # 3 of 20 are other letters
        "sk-kolatemiruna-XULOTIBE",  # nobody writes some words in capitals and some not
        "sk-proj-7fRYXcssBBUIFynjapxu",  # words in capitals are not run together with others
        "sk-qataroqonedoqopakasi",  # a q without its u
        "sk-hajvaroksovtanemajlo",  # a j or v before a consonant
        "sk-lokaanterawiitosanuu",  # double letters that no word has
        "sk-mdoraketavunidasobeto",  # no word begins so
        "sk-" + RANDOM,
        "sess-" + RANDOM,
        RANDOM,
        "sk-qwrtaplkjhgfedszxcvobnm",  # four consonants in a row are no word
        "sk-550e8400-e29b-41d4-a716-446655440000",
        "9f86d081884c7d659a2feaa0c55ad015",
        "sk-kopaZimuRetoBaleNudiSofa7",  # a word has more letters than a syllable or two
    ],
)
def test_a_random_key_is_not_weak(key: str) -> None:
    assert weakness(key) is None
