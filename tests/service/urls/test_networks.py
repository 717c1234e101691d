"""Only a public host's address is public: against what the standard library knows, and by name."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import numpy as np
import pytest

from models.errors import OptionError
from service.urls.networks import AllowedNetworks, is_public


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_these_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.215.14", "172.15.0.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00::1"],
)
def test_these_are(address: str) -> None:
    assert is_public(ip_address(address))


def test_nothing_is_public_that_the_standard_library_takes_for_private() -> None:
    random = np.random.default_rng(0)
    addresses: list[IPv4Address | IPv6Address] = [
        IPv4Address(int(number)) for number in random.integers(0, 2**32, 20_000)
    ]
    # Near the edges of /16 networks, and within all kinds of IPv6.
    addresses += [IPv4Address(high << 16 | low) for high in range(0, 2**16, 4) for low in (0, 0xFFFF)]
    addresses += [IPv6Address(high << 112 | low) for high in range(0, 2**16, 8) for low in (1, 2**96, 2**111)]
    for address in addresses:
        if is_public(address):
            assert address.is_global, address
            assert not any((address.is_private, address.is_multicast, address.is_reserved)), address
        elif isinstance(address, IPv4Address):
            known = address.is_global and not (address.is_multicast or address.is_reserved)
            assert not known or str(address).startswith(
                ("192.31.196.", "192.52.193.", "192.88.99.", "192.175.48.")
            )


def test_allowed_networks_hold_their_addresses_and_no_others() -> None:
    networks = AllowedNetworks.parse("10.1.0.0/16, 127.0.0.1/32, fd00:1::/32")
    assert IPv4Address("10.1.2.3") in networks
    assert IPv4Address("127.0.0.1") in networks
    assert IPv6Address("fd00:1::5") in networks
    assert IPv4Address("10.2.0.1") not in networks
    assert IPv4Address("127.0.0.2") not in networks
    assert IPv6Address("::ffff:10.1.2.3") not in networks


@pytest.mark.parametrize("entry", ["10.1.2.3/16", "10.1.0.0/33", "internal", "10.1"])
def test_an_entry_that_is_no_network_is_named(entry: str) -> None:
    with pytest.raises(OptionError, match="LOOKALIKE_URL_NETWORKS"):
        AllowedNetworks.parse(f"10.0.0.0/8,{entry}")
