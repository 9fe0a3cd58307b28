"""What could escape? Every place in the installed SDK's source from where something can be sent.

The sweep finds what the methods of today do. This reads what the code could do, and fails, naming
file and line, on a place that has not been looked at. Then look: if it lies behind a hook, or can
carry no API key, say so in `KNOWN`; if not, it needs a hook.
"""

from __future__ import annotations

import ast
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import openai

SDK = Path(openai.__file__).parent

NETWORK = set(
    re.findall(
        r"\w+",
        "aiohttp boto3 botocore curl_cffi ftplib google grpc http httpcore httpcore2 httpx httpx2 "
        "httpx_aiohttp niquests pycurl requests smtplib socket socketserver subprocess urllib "
        "urllib3 websocket websockets wsproto xmlrpc",
    )
)
"""Packages by which something can leave a process. What is called of them is a place."""

DATA = re.compile(
    r"urllib\.parse\..*|websockets\.(exceptions|uri|version)\..*|google\.auth\.exceptions\..*|"
    r"httpx2?\._config\..*|aiohttp\.client_exceptions\..*|http\.HTTPStatus|"
    r"(httpx2?|aiohttp)\.(URL|Headers|QueryParams|Limits|Proxy|Auth|BasicAuth|(Async)?BaseTransport|"
    r"(Async|Sync)ByteStream|Request|Response|RequestNotRead|StreamConsumed|InvalidURL|"
    r"create_ssl_context|\w*(Timeout|Error|Exception|Protocol))\b.*"
)
"""What of them only describes, or forwards to a place that is found by itself."""

OTHERS = set(
    re.findall(
        r"\w+",
        "anyio cached_property distro h2 jiter numpy openai pandas pydantic pydantic_core sniffio "
        "sounddevice tqdm trio typing_extensions",
    )
)
"""The other packages that the SDK imports. One that is not here has not been looked at."""

SENDS = re.compile(
    r"\.(send|handle_request|handle_async_request|_send_single_request|send_api_request|urlopen|"
    r"getresponse|create_subprocess_\w+|create_connection|create_datagram_endpoint|open_connection|connect|connect_tcp|"
    r"sock_connect|sendall|sendto|Client|AsyncClient)$|"
    r"(client|session|http|pool|transport)(\(\))?\.(get|post|put|patch|delete|head|options|"
    r"request|stream|fetch)$|\.request$|(^|\.)\w*Http\w*(Client|Wrapper)$"
)
"""What sends, whoever it is called on; or if it is called on something named like a client."""


TYPE_CHECKS = ("isinstance", "issubclass", "cast", "TypeVar")
TYPES_ONLY = ("annotation", "returns", "slice")
"""Calls, and fields of a syntax node, in which a class is only a type."""


class Place(NamedTuple):
    """Where something can be sent from."""

    file: str
    line: int
    within: str
    call: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.call} in {self.within or 'the module'}"


class Known(NamedTuple):
    """Places that somebody has looked at: three patterns, and why nothing escapes there."""

    file: str
    within: str
    call: str
    why: str


SDK_CLIENT = r"(Sync|Async)APIClient"
KNOWN = (
    # Where the SDK's client sends.
    Known(
        r"_base_client\.py",
        rf"{SDK_CLIENT}\.(_send_request|request|_request)",
        r"self\._client\.send",
        "the SDK sends a request here: `_send_request`, or `request` in older releases, where "
        "`_prepare_request` comes before it (`_request`, called by `request`, up to 1.66)",
    ),
    Known(
        r"_base_client\.py",
        rf"{SDK_CLIENT}\.(get|post|put|patch|delete|_request_api_list)|AsyncPaginator\._get_page",
        r"self\.(_client\.)?request",
        "`request` of the SDK's client, which is hooked",
    ),
    # HTTP clients that the SDK's client sends with: what they do during a call of it is judged.
    Known(
        r"_base_client\.py",
        r"|_?(Default|Missing|Installed)\w*|(Sync|Async)HttpxClientWrapper|\w+APIClient\.__init__",
        r"httpx2?\.(Async)?Client|httpx_aiohttp\.HttpxAiohttpClient|\w*Http\w*(Client|Wrapper)",
        "HTTP clients that the caller may hand to `http_client=`, and the client's own",
    ),
    Known(
        r"_httpx2\.py",
        r"Default(Async)?Httpx2Client",
        r"(httpx2|module)\.(Async)?Client",
        "HTTP clients that the caller may hand to `http_client=`",
    ),
    Known(
        r"_vendor/httpx_aiohttp/.*",
        r"Httpx2AiohttpClient|AiohttpTransport\..*",
        r"httpx2\.AsyncClient|aiohttp\..*|self\.client\.request",
        "a transport, below where its HTTP client hands a request over",
    ),
    Known(
        r"cli/_cli\.py",
        r"_main",
        r"httpx\.(Client|HTTPTransport)",
        "the HTTP client of the command line's `OpenAI`",
    ),
    # Workload identity (2.3x and later).
    Known(
        r"_client\.py|lib/_client_auth\.py",
        r"(Async)?OpenAI\._send_with_auth_retry|(sync|async)_send_with_auth_retry",
        r"x509_auth\.send_api_request",
        "called by `_send_request`, which is hooked",
    ),
    Known(
        r"auth/_x509\.py",
        r"_scoped_(sync|async)_client|_(Sync|Async)X509ForwardingTransport\.handle_(async_)?request|"
        r"(Sync|Async)X509WorkloadIdentityAuth\.(send_api_request|_fetch_token_from_exchange\w*)",
        r"httpx2\.(Async)?Client|scoped_client\.send|self\._http_client\._transport_for_url.*",
        "an HTTP client of its own, inside `_send_request`: judged where it hands a request over; "
        "the exchange itself carries a certificate and no key",
    ),
    Known(
        r"auth/_workload\.py",
        r"(azure_managed_identity|gcp_id)_token_provider\.get_token",
        r"httpx2?\.Client|(http_)?client\.get",
        "asks the cloud's metadata server for a subject token; carries no key",
    ),
    Known(
        r"auth/_workload\.py",
        r"WorkloadIdentityAuth\._fetch_token_from_exchange",
        r"(httpx2?|legacy_httpx)\.Client|DefaultHttpx2Client|client\.post",
        "exchanges the subject token at auth.openai.com; carries no key",
    ),
    # Other clouds' credentials.
    Known(
        r"providers/vertex\.py",
        r"|_VertexDefinition\.configure\.adc_headers(\.BoundedRequest)?",
        r"google\.auth\..*|requests\.Session",
        "asks Google for a Google credential; carries no OpenAI key",
    ),
    Known(
        r"lib/_bedrock_auth\.py",
        r"_load_botocore",
        r"botocore\..*",
        "finds AWS credentials and signs with them; carries no OpenAI key",
    ),
    # WebSockets. All of them are opened by a `connect` of `websockets`, which is hooked.
    Known(
        r"resources/.*|_websocket_connection\.py",
        r"\w+ConnectionManager\.(__a?enter__|_connect_ws)|_(async_)?connect_websocket",
        r"websockets\.(sync|asyncio)\.client\.connect",
        "hooked in `websockets`",
    ),
    Known(
        r"lib/_websocket\.py",
        r"_WebSocketConnect",
        r"websockets\.asyncio\.client\.connect",
        "a subclass of what is hooked in `websockets`",
    ),
    Known(
        r"lib/realtime_translation\.py",
        r"(Async)?TranslationSession\.__a?enter__",
        r"self\._resource\.connect",
        "the `connect()` of `realtime.translations`",
    ),
    Known(
        r"resources/.*|_websocket_connection\.py|lib/realtime_translation\.py|"
        r"lib/responses_websocket/_session\.py",
        r".*",
        r"(self\._)?connection\.send",
        "an open WebSocket, judged when it was opened",
    ),
    # Neither.
    Known(
        r"lib/decisions_tool_runner\.py",
        r"(Async)?DecisionsToolRunner\.run",
        r"run\.request",
        "a property of the SDK's own object",
    ),
    Known(
        r"cli/_tools/migrate\.py",
        r"install|grit|migrate",
        r"httpx\.Client|client\.get|subprocess\..*",
        "downloads and runs a code migration tool; carries no key",
    ),
)


def test_every_place_of_the_installed_sdk_is_known() -> None:
    found = list(places(SDK))
    unknown = unknown_of(found)
    assert not unknown, "these have not been looked at:\n" + "\n".join(map(str, unknown))
    hook_points = [place for place in found if place.call == "self._client.send"]
    assert len(hook_points) == 2, "the SDK sends a request elsewhere"


PLANTED = {
    "resources/planted.py": """
import httpx, httpx2 as web
from httpx import Client as C
web.post("https://api.openai.com/v1/responses")  # found
def f(url: httpx.URL, client: httpx.Client): return isinstance(client, httpx.Client)
class D(C): pass  # found
post = httpx.post  # found
""",
    "lib/planted.py": """
class Resource:
    def f(self, request):
        return self._client._client.send(request)  # found
    async def g(self, request, session):
        await self.transport.handle_async_request(request)  # found
        await session.post("/responses", json=request)  # found
        self._post("/responses", body=request)
    def h(self, wire): wire._send_single_request(1)  # found
""",
    "_planted.py": """
import asyncio, http.client, socket, urllib.parse
from urllib.request import urlopen
from websockets.sync.client import connect as link
socket.create_connection(("api.openai.com", 443))  # found
http.client.HTTPSConnection("api.openai.com")  # found
urlopen(urllib.parse.quote("x"))  # found
link("wss://api.openai.com/v1/realtime")  # found
asyncio.run(asyncio.open_connection("api.openai.com", 443))  # found
import postman  # found
""",
    "_base_client.py": """
class SyncAPIClient:
    def _send_request(self, request): return self._client.send(request)
    def send_quietly(self, request): return self._client.send(request)  # found
""",
}


def test_planted_places_are_found_by_file_and_line(tmp_path: Path) -> None:
    sdk = tmp_path / "openai"
    shutil.copytree(SDK, sdk, ignore=shutil.ignore_patterns("types", "__pycache__"))
    wanted = set()
    for name, source in PLANTED.items():
        with (sdk / name).open("a+", encoding="utf-8") as file:
            file.write(source)
            file.seek(0)
            lines = enumerate(file, start=1)
            wanted |= {(name, number) for number, line in lines if line.endswith("# found\n")}

    assert {(place.file, place.line) for place in unknown_of(places(sdk))} == wanted


def test_an_unknown_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "_new.py").write_text("def f(client, r):\n    return client.stream(r)\n")
    (place,) = unknown_of(places(tmp_path))
    assert str(place) == "_new.py:2: client.stream in f"


def unknown_of(found: Iterable[Place]) -> list[Place]:
    return [place for place in found if not is_known(place)]


def is_known(place: Place) -> bool:
    return any(
        re.fullmatch(known.file, place.file)
        and re.fullmatch(known.within, place.within)
        and re.fullmatch(known.call, place.call)
        for known in KNOWN
    )


def places(sdk: Path) -> Iterator[Place]:
    for path in sorted(sdk.rglob("*.py")):
        module = ast.parse(path.read_bytes())
        file = path.relative_to(sdk).as_posix()
        imported: dict[str, str] = {}
        for node in ast.walk(module):
            for name, origin in imports(node):
                imported[name] = origin
                package = origin.partition(".")[0]
                if package not in NETWORK | OTHERS | sys.stdlib_module_names:
                    yield Place(file, node.lineno, "", f"import {package}")
        yield from uses(module, file, "", imported)


def imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The names that an import binds, and what they stand for."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            top = alias.name.partition(".")[0]
            yield (alias.asname, alias.name) if alias.asname else (top, top)
    elif isinstance(node, ast.ImportFrom) and not node.level:
        for alias in node.names:
            yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def uses(node: ast.AST, file: str, within: str, imported: dict[str, str]) -> Iterator[Place]:
    """Calls of what sends, and every other mention of it: it may be called by another name."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        within = f"{within}.{node.name}".lstrip(".")
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        if called in TYPE_CHECKS:
            return
        if SENDS.search(called):
            yield Place(file, node.lineno, within, called)
    if isinstance(node, (ast.Attribute, ast.Name)):
        name, dot, rest = ast.unparse(node).partition(".")
        used = imported.get(name, "") + dot + rest
        if used.partition(".")[0] in NETWORK:
            if not DATA.fullmatch(used):
                yield Place(file, node.lineno, within, used)
            return
    for field, value in ast.iter_fields(node):
        if field not in TYPES_ONLY:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from uses(child, file, within, imported)
