"""What may be known of a key: its fingerprint, its hint, its kind. Never the key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import pairwise

from openai_project_guard._errors import ConfigurationError

FINGERPRINT = re.compile(r"sha256:[0-9a-fA-F]{64}")
# A key of any known form, wherever it begins; no hint, no name. Each look ahead is bounded: linear.
_KEY = re.compile(
    # Of a gateway, sk-team:…
    r"(?<![A-Za-z0-9])(?:[se]k[-_]|sess-)[A-Za-z0-9_-]{1,20}[:/+=@!%.~|&#$*^?]"
    r"(?=[A-Za-z]{0,31}[0-9])(?=[a-z0-9]{0,31}[A-Z])[A-Za-z0-9]{12}[A-Za-z0-9_-]*"
    r"|(?<![A-Za-z0-9])sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]+"
    r"|(?<![A-Za-z0-9])(?:[se]k[-_]|sess-)(?=[a-z_-]{0,100}[A-Z0-9])[A-Za-z0-9_-]+"
    # Behind letters (flask-admin-…, task-…) only what has capitals and small letters, as no name.
    r"|sk-(?:proj|svcacct|admin|None)-(?=[a-z0-9_-]{0,99}[A-Z])[A-Za-z0-9_-]{20,}"
    r"|(?:(?:sk[-_]|sess-)(?=[a-z0-9]{0,31}[A-Z])(?=[A-Z0-9]{0,31}[a-z])|ek_)[A-Za-z0-9]{20}[\w-]*"
    r"|(?:sk[-_]|sess-)[a-z]{32}[\w-]*",
    re.ASCII,
)
_KEY_WORD = re.compile(rf"(?:(?<![^\s'\"=,;])|(?<=//))(?:{_KEY.pattern})[^\s'\",;…]*")
_KINDS = ("proj", "svcacct", "admin", "None")
_TYPED = tuple(f"sk-{kind}-" for kind in _KINDS)
_HINT_PREFIX = re.compile(r"(?:[se]k|sess)-(?:[A-Za-z]{1,12}-)?")
# No part of a path, but what stands where a URL has the name of its host.
_TOKEN = re.compile(r"(?:(?<![/A-Za-z0-9_])|(?<=//))[A-Za-z0-9_][A-Za-z0-9_-]{19,}")
_WORD_OF_VALUE = re.compile(
    r"(?<=['\"\s=,;])…?[\w:.+@!%~-]{20,}={0,2}(?=['\"\s,;])|(?<=//)[\w-]{20,}(?=['\"\s,;:/?])",
    re.ASCII,
)
_LONG_PIECE = re.compile(r"[A-Za-z0-9]{16}")  # longer than most words in a name
_SEPARATOR = re.compile(r"[^\w-]", re.ASCII)  # behind a scheme, a quote, a name, in a path
_MOST_SEPARATORS = 8  # within a key; base64 has + / =, and a gateway's key perhaps a colon
_LOOKED_AT = 2000  # characters, in which such a key may begin; fewer are shown of a call
_ASSIGNMENT = re.compile(r"\A[A-Za-z_]+=")
_ONE_SLASH = re.compile(r":/(?!/)")
_NO_SCHEME = re.compile(r"(?:\A|/)([^/:@]{2,}:)(?!/)")  # one letter is a drive: C:
_WORD = re.compile(r"\S+")
_URL_PASSWORD = re.compile(r"(?<=[?&]password=)[^&\s]*[^&\s'\",.)]")  # in a query
_PREFIX = re.compile(r"sk-(?:proj|svcacct|admin|None)-|[se]k[-_]|sess-")
_LETTERS = re.compile(r"[A-Za-z]+")
_STYLES = (re.compile(r"[A-Z]?[a-z]+(?:[A-Z][a-z]+)*"), re.compile(r"[A-Z]+"))  # of words
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_VOWEL = re.compile(r"[aeiouy]", re.IGNORECASE)
# Four consonants, a q without its u, a j or v before a consonant, a double letter that no word has,
# a beginning such as md or tv.
_UNSPEAKABLE = re.compile(
    r"[^aeiouy]{4}|q(?!u)|[jv][^aeiouy]|([ahijkquvwxy])\1|\b[^aeiouy][bdfgjqsvxz]", re.IGNORECASE
)
_SHORTEST_RANDOM = 20  # characters; with ten different ones or more, beyond all guessing


def is_secret(key: str) -> bool:
    """Whether a key is longer than a word such as `dev`, and than twice what its hint shows."""
    return len(key) >= 8


def digest(key: str) -> bytes:
    """SHA-256 of the key's UTF-8 bytes."""
    return sha256(key.encode(errors="surrogatepass")).digest()


def fingerprint_of(key_digest: bytes) -> str:
    """The written form of a digest, as the registry file has it."""
    return "sha256:" + key_digest.hex()


def digest_of(fingerprint: str) -> bytes:
    """The digest behind the written form."""
    return bytes.fromhex(fingerprint[7:])


def hint(key: str) -> str:
    """Prefix up to the second dash, an ellipsis, the last four characters.

    What stands before a dash is a prefix only if it is no part of the secret: in a random key, such
    as a gateway makes, there may be a dash anywhere.

    Example:
        >>> hint("sk-proj-0123456789Ab3d")
        'sk-proj-…Ab3d'
    """
    first, dash, rest = key.partition("-")
    if not dash or first not in ("sk", "ek", "sess"):
        prefix, rest = "", key  # not a key of OpenAI's
    else:
        prefix = first + dash
        kind, dash, secret = rest.partition("-")
        is_name = re.fullmatch("[a-z]{2,12}", kind) and len(secret) >= _SHORTEST_RANDOM
        if dash and (kind in _KINDS or is_name):
            prefix, rest = prefix + kind + dash, secret
    return f"{prefix}…{rest[-4:] if is_secret(rest) else ''}"


def find_key(text: str) -> str | None:
    """A key that stands in the text, if one does. What is as short as a name is none.

    Example:
        >>> find_key("the key of team_sk-proj-0123456789Ab3d")
        'sk-proj-0123456789Ab3d'
        >>> find_key("sk-learn-recommendations") is None
        True
    """
    if len(text) < 16:  # as most hints and notes are, of which there may be a million
        return None
    for found in _KEY.finditer(text):
        key = found.group()
        if len(key) >= (16 if key.startswith(_TYPED) else 19):
            return key
    return None


def redact(text: str) -> str:
    """The text without a URL's user or password, and with what looks like a key as its hint.

    Example:
        >>> redact("redis://user:secret@host has sk-proj-0123456789Ab3d")
        'redis://…@host has sk-proj-…Ab3d'
    """
    return _KEY.sub(_hidden, _URL_PASSWORD.sub("…", without_user_info(text)))


def without_known_keys(text: str, is_key: Callable[[bytes], bool]) -> str:
    """The same, and with what is known to be a key, of whatever form, replaced by its hint too.

    Args:
        text: the text.
        is_key: whether this is the digest of a key.
    """
    for piece in sorted({text.strip(), *_pieces(text)} - {""}, key=len, reverse=True):
        if is_key(digest(piece)) or (
            not piece.isascii() and is_key(sha256(piece.encode("latin-1", "replace")).digest())
        ):
            text = text.replace(piece, hint(piece))
    return redact(text)


def _pieces(text: str) -> Iterator[str]:
    """What may be a key in a text: from behind a character that few keys have to before another."""
    for found in _WORD.finditer(text):
        start, last = found.span()
        yield found.group()
        ends = [*(each.start() for each in _SEPARATOR.finditer(text, start, last)), last]
        for at, end in enumerate(ends):
            joined = _MOST_SEPARATORS if start < _LOOKED_AT else 0
            yield from (text[start:after] for after in ends[at : at + 1 + joined])
            start = end + 1


def _hidden(found: re.Match[str]) -> str:
    key = found.group()
    if found.string.startswith("…", found.end()) and _HINT_PREFIX.fullmatch(key):
        return key  # it is a hint already
    return hint(key) if is_secret(_PREFIX.sub("", key, 1)) else key  # sk-learn-1 is a name


def without_user_info(text: str) -> str:
    """The text without the user and the password of whatever looks like a URL."""
    return _WORD.sub(_without_user_info, text) if "@" in text else text


def _without_user_info(word: re.Match[str]) -> str:
    # Of a mistyped URL too: redis:/user:secret@host, user:secret@host. A password may have
    # anything in it.
    url = word.group()
    at = url.rfind("@")
    if at < 0:
        return url
    begins = []
    slashes = url.find("//", 0, at)
    if slashes >= 0:
        begins.append(slashes + 2)
    one_slash = _ONE_SLASH.search(url, 0, at)
    if one_slash and ":" in url[one_slash.end() : at]:
        begins.append(one_slash.end())
    no_scheme = _NO_SCHEME.search(url, 0, at)
    if no_scheme:
        begins.append(no_scheme.start(1))
    return f"{url[: min(begins)]}…{url[at:]}" if begins else url


def shown(value: object) -> str:
    """A value as an error message may show it.

    A word of it that begins as a key is shown by its hint, whatever is in it, and so is one that
    looks random: it may be a key of an unknown form. A name, an id, a path or a URL stays as it is.
    """
    text = value if isinstance(value, str) else repr(value)
    text = redact(_KEY_WORD.sub(_hidden, text))
    text = repr(text) if isinstance(value, str) else text
    return _WORD_OF_VALUE.sub(_hidden_if_random, text)


def without_random(text: str) -> str:
    """The text without a key, as above, and with whatever looks random replaced by its hint."""
    return _TOKEN.sub(_hidden_if_random, redact(text))


def _hidden_if_random(found: re.Match[str]) -> str:
    is_random = _LONG_PIECE.search(found[0]) and weakness(found[0]) is None
    return hint(found[0]) if is_random else found[0]


def validate_key(key: object, *beside: object) -> None:
    """Refuses what cannot be registered as a key.

    Args:
        key: the key.
        beside: what is to be kept with it as it stands: its alias, note or organization.

    Raises:
        ConfigurationError: it is empty, has a space or quotes around it, or is an admin key; or
            there is a key in what is kept with it.
    """
    if not isinstance(key, str):
        raise ConfigurationError(f"A key must be a string, not {type(key).__name__}.")
    problem = None
    if not key or key.isspace():
        problem = "the key is empty"
    elif key != key.strip():
        problem = "the key has white space around it (a trailing newline, perhaps)"
    elif key[0] in "\"'" or key[-1] in "\"'":
        problem = "the key has quotes around it"
    elif not (key.isascii() and key.isprintable()) or " " in key:
        problem = "the key has white space or a strange character in the middle of it"
    elif FINGERPRINT.fullmatch(key):
        problem = "this is a fingerprint, not a key; fingerprints belong in the registry file"
    elif _ASSIGNMENT.match(key):
        problem = "this is an assignment, not the key alone"
    elif key.startswith("sk-admin-"):
        problem = "an admin key belongs to the organization, not to a project"
    elif any(_has_key(text, key) for text in beside):
        problem = "its alias, note or organization has a key in it, and a registry holds no key"
    if problem:
        raise ConfigurationError(f"This key cannot be registered: {problem}.")


def _has_key(text: object, key: str) -> bool:
    """Whether this key is in a text, or one of a known form; `dev` may be in `dev-team`."""
    if not isinstance(text, str):
        return False
    if key in text and is_secret(key):
        return True
    as_a_word = rf"(?<![\w-]){re.escape(key)}(?![\w-])"
    return re.search(as_a_word, text) is not None or find_key(text) is not None


def weakness(key: str) -> str | None:
    """Why a key could be guessed from its fingerprint; `None` if it looks random.

    A fingerprint of a random key tells nothing. Whoever reads that of a weak one can try guesses
    until one fits: nothing slows them down.

    Args:
        key: the key itself.

    Example:
        >>> weakness("sk-1234")
        'it has 4 characters behind its prefix, where a random key has 20 or more'
        >>> weakness("sk-correct-horse-battery-staple")
        'it is made of words'
    """
    prefix = _PREFIX.match(key)
    secret = key[prefix.end() :] if prefix else key
    if secret.startswith(("proj_", "org-", "user-")):
        return "it is the id of a project, an organization or a user, which others know"
    if len(secret) < _SHORTEST_RANDOM:
        behind = f"{' behind its prefix' if prefix else ''}, where a random key has"
        return f"it has {len(secret)} characters{behind} {_SHORTEST_RANDOM} or more"
    if len(set(secret)) < _SHORTEST_RANDOM // 2:
        return f"it has {len(set(secret))} different characters only"
    near = sum(abs(ord(after) - ord(before)) <= 1 for before, after in pairwise(secret))
    if 2 * near >= len(secret):
        return "its characters follow each other as in the alphabet"
    if _is_made_of_words(secret):
        return "it is made of words"
    return None


def _is_made_of_words(secret: str) -> bool:
    """Whether nearly all of it is what could be words; of random keys, not one in 100,000 is."""
    runs = _LETTERS.findall(secret)
    for style in _STYLES:  # in capitals or not: nobody writes both, and random letters are both
        pieces = [word for run in filter(style.fullmatch, runs) for word in _WORDS.findall(run)]
        words = list(filter(_is_speakable, pieces))
        letters = sum(map(len, words))
        others = sum(map(len, runs)) - letters
        is_most = 10 * letters >= 7 * len(secret) and 7 * others <= len(secret)
        if is_most and letters >= 5 * len(words):
            return True
    return False


def _is_speakable(word: str) -> bool:
    return len(word) >= 3 and bool(_VOWEL.search(word)) and not _UNSPEAKABLE.search(word)
