"""A word to another computer when a job is done: one JSON POST to an address that a visitor gave.

Strangers choose the address, so that it must not reach what only this machine can: only http and https, only public
addresses, the very address that was looked up (no second look-up that could answer otherwise), no redirects, seconds
of patience. What goes wrong is noted and stops nothing.
"""

import ipaddress
import os
import socket

import httpx

from maskhub.errors import ConfigError, first_line

__all__ = ["check_webhook", "is_public", "post"]

TIMEOUT = 5.0
"""Seconds for each step of a request."""
PRIVATE = "MASKHUB_WEBHOOK_PRIVATE"
"""Set to 1 where webhooks may go to this machine and its network: at home, not on a public Space."""


RELAY = ipaddress.ip_network("192.88.99.0/24")  # 6to4, RFC 7526
UNICAST = ipaddress.ip_network("2000::/3")
SPECIAL = [ipaddress.ip_network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]
"""What IANA lists within 2000::/3: protocol assignments with Teredo, documentation, 6to4. Python's ``is_global`` lacks
some of them before 3.12.4."""


def check_webhook(address):
    """``address``, if it may be a webhook's; "" for none.

    Raises:
        ConfigError: it may not.
    """
    address = (address or "").strip()
    if not address:
        return ""
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError) as error:
        raise ConfigError(f"the webhook {address!r} is no address.") from error
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or len(address) > 500:
        raise ConfigError("a webhook is an address such as https://example.org/hook, without a password in it.")
    _public_address(url)
    return address


def post(address, record):
    """Send ``record`` as JSON.

    Returns:
        what went wrong, "" if nothing did.
    """
    try:
        url = httpx.URL(address)
        place = _public_address(url)
        # to the address that was checked, under the name that was meant
        there = url.copy_with(host=place)
        names = {"headers": {"Host": url.netloc.decode()}, "extensions": {"sni_hostname": url.host}}
        with (
            httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", there, json=record, **names) as answer,
        ):
            if answer.status_code >= 300:
                return f"the webhook answered {answer.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL, ConfigError, OSError, ValueError) as error:
        return f"the webhook could not be told: {first_line(error)}"
    return ""


def _public_address(url):
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        found = {entry[4][0] for entry in socket.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"the webhook's computer {url.host} can't be found.") from error
    allowed = os.environ.get(PRIVATE) == "1"
    addresses = sorted(found, key=lambda text: ":" in text)
    if not allowed and not all(is_public(text) for text in addresses):
        raise ConfigError(f"the webhook's computer {url.host} is not a public one.")
    return addresses[0]


def is_public(text):
    """Whether an IP address belongs to one computer on the public Internet.

    IPv6 addresses count only within the global unicast block, without its special-purpose parts. So nothing that holds
    an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo) leads back into a private network.
    """
    address = ipaddress.ip_address(text.split("%")[0])
    if address.version == 4:
        return address.is_global and not address.is_multicast and not address.is_reserved and address not in RELAY
    return address in UNICAST and address.is_global and not any(address in network for network in SPECIAL)
