"""Which names of hosts are understood? What is none would leave a hole in silence."""

from __future__ import annotations

import ipaddress
import os

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support import KEYS, STRANGER, Recorder, sync_client

import openai_project_guard as opg
from openai_project_guard._state import STATE

pytestmark = pytest.mark.usefixtures("clean")

HOSTS = "OPENAI_PROJECT_GUARD_HOSTS"
LABELS = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,8}[a-z0-9_])?", fullmatch=True)
NAMES = (
    st.lists(LABELS, min_size=1, max_size=4)
    .map(".".join)
    .filter(lambda name: not name.rpartition(".")[2].isdigit())
)
IPV4, IPV6 = st.ip_addresses(v=4).map(str), st.ip_addresses(v=6)
many = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def accepted(host: str) -> bool:
    """Whether a name is understood, given to `enable()` and in the variable alike."""
    given_to = {}
    for way in ("hosts=", HOSTS):
        os.environ.pop(HOSTS, None)
        if way == HOSTS:
            os.environ[HOSTS] = host
        try:
            opg.enable(registry=KEYS, hosts=[host] if way == "hosts=" else None)
        except opg.ConfigurationError as error:
            given_to[way] = f"{way} has {host!r}, " not in str(error)
        else:
            given_to[way] = True
    os.environ.pop(HOSTS, None)
    assert len(set(given_to.values())) == 1, given_to
    return given_to[HOSTS]


def counts(host: str) -> bool:
    """Whether calls to a host are checked, as those to OpenAI are."""
    assert STATE.settings is not None
    return STATE.settings.is_openai(host)


@many
@given(st.one_of(NAMES, IPV4))
@example("ace")
@example("cafe")
@example("a")
@example("f00d.example.com")
def test_a_name_is_understood(host: str) -> None:
    assert accepted(host)
    assert counts(host)
    assert counts(host.upper() + ".")


@pytest.mark.parametrize(
    "host",
    ["sk-eu1.example.com", "sk-0.svc.local", "sk-litellm-gateway-01", "flask-admin-gw.x"],
)
def test_a_name_may_begin_as_a_key_does(host: str) -> None:
    opg.enable(registry=KEYS, hosts=[host])
    assert counts(host)


@pytest.mark.parametrize("key", ["sk-proj-0a9b8c7d6e5f4g3h2i1jx", "sk-Zq8Rw3Tn.6Yc1Vb4Nm7Kj2Hg5"])
def test_a_key_is_no_name(key: str) -> None:
    with pytest.raises(opg.ConfigurationError, match="which is not a host name") as refused:
        opg.enable(registry=KEYS, hosts=[key])
    assert key not in str(refused.value)


@many
@given(st.one_of(NAMES, IPV4, IPV6.map("[{}]".format)), st.integers(0, 65535))
@example("ace", 8080)
@example("db", 80)
@example("cafe", 443)
@example("a", 1)
@example("gateway.example.com", 8080)
@example("bücher.example", 80)
def test_a_host_with_a_port_is_refused_and_the_port_is_to_be_left_off(host: str, port: int) -> None:
    assert not accepted(f"{host}:{port}")
    with pytest.raises(opg.ConfigurationError) as refused:
        opg.enable(registry=KEYS, hosts=[f"{host}:{port}"])
    assert str(refused.value) == (
        f"hosts= has '{host}:{port}', a host with a port. Leave the port off: '{host}' counts at "
        "every port."
    )
    assert accepted(host)  # what the error advises


@many
@given(IPV6)
@example(ipaddress.IPv6Address("::1"))
@example(ipaddress.IPv6Address("::ffff:10.0.0.7"))
def test_an_ipv6_address_is_understood_however_it_is_written(
    address: ipaddress.IPv6Address,
) -> None:
    spellings = (address.compressed, address.exploded, address.exploded.upper())
    for spelling in spellings:
        for written in (spelling, f"[{spelling}]"):
            assert accepted(written)
            assert all(counts(other) for other in spellings)


@many
@given(st.text("0123456789abcdef:.[]", min_size=1, max_size=24))
@example("1:2:3")
@example("[ace]")
@example("::1]")
def test_only_an_address_has_a_colon(host: str) -> None:
    bare = host.rstrip(".")
    if bare.startswith("[") and bare.endswith("]"):
        bare = bare[1:-1]
    try:
        is_address = bool(ipaddress.IPv6Address(bare))
    except ValueError:
        is_address = False
    if accepted(host) and not is_address:
        assert not set(host) & set(":[]")
    elif is_address:
        assert accepted(host)


@pytest.mark.parametrize(
    "host",
    [
        "https://gateway.example.com",
        "gateway.example.com/v1",
        "user@gateway.example.com",
        "*.example.com",
        ".example.com",
        "gateway..example.com",
        "-gateway",
        "gate way",
        "fe80::1%eth0",
        "10.0.0.256",
        "10.0.0",
        "8080",
        "gateway:",
        "gateway:http",
        ":8080",
        "[::1",
        "::1]",
        "[gateway.example.com]",
        "[10.0.0.7]",
    ],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    assert not accepted(host)
    with pytest.raises(opg.ConfigurationError, match=r"is not a host name\. Expected a name alone"):
        opg.enable(registry=KEYS, hosts=[host])
    assert not opg.is_enabled()


@pytest.mark.parametrize("given_as", ["::1", "[::1]", "[0:0:0:0:0:0:0:1]"])
def test_a_gateway_that_is_listed_with_or_without_brackets_is_checked(given_as: str) -> None:
    opg.enable(registry=KEYS, hosts=[given_as])
    sent = Recorder()
    client = sync_client(sent, api_key=STRANGER, base_url="http://[::1]:8080/v1")
    with pytest.raises(opg.UnregisteredKeyError):
        client.models.list()
    assert sent.requests == []
