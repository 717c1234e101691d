"""Addresses: the public ones, and the networks that are allowed beside them."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from models.errors import OptionError

__all__ = ["Address", "AllowedNetworks", "is_public"]

Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network

# The registries of special-purpose addresses (IANA, RFC 6890) and what is no single host at all. Written out,
# because what `is_global` says differs between the patches of a Python.
_NOT_PUBLIC_V4 = tuple(
    IPv4Network(one)
    for one in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by the customers of a carrier (RFC 6598), and of some clouds
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a public number that is the platform inside of one cloud
        "169.254.0.0/16",  # link-local, and the metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112, which answers for private addresses
        "192.52.193.0/24",  # AMT relays
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
# All else is loopback, private, link-local, multicast, or holds an IPv4 address: mapped (::ffff:0:0/96),
# NAT64 (64:ff9b::/96 and 64:ff9b:1::/48), or compatible (::/96).
_UNICAST_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    IPv6Network(one)
    for one in (
        "2001::/23",  # protocol assignments, Teredo among them, which holds an IPv4 address
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which holds an IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)


def is_public(address: Address) -> bool:
    """Say whether an address is a host's of the public internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    return address in _UNICAST_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


@dataclass(frozen=True, slots=True)
class AllowedNetworks:
    """Networks whose addresses may be fetched from though they are not public."""

    networks: tuple[_Network, ...]

    @classmethod
    def parse(cls, text: str) -> "AllowedNetworks":
        """Read `10.1.0.0/16, fd00:1::/32`.

        Raises:
            OptionError: an entry that is no network.
        """
        return cls(tuple(_network(one.strip()) for one in text.split(",") if one.strip()))

    def __contains__(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


def _network(text: str) -> _Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise OptionError(
            f"LOOKALIKE_URL_NETWORKS: {text!r} is no network ({error}). Write 10.1.0.0/16, or 10.1.2.3/32 "
            "for one address."
        ) from None
