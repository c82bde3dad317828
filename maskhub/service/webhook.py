"""Webhooks: a JSON POST to a visitor's URL at the end of a job.

The URL is untrusted and must not reach private networks: only http and https, only public addresses, exactly the
address that was checked (no second DNS look-up, which could differ), no redirects, short timeouts. Errors are recorded
and stop nothing.
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
"""Set to 1 to allow webhooks to this machine and its network; not on a public Space."""


RELAY = ipaddress.ip_network("192.88.99.0/24")  # 6to4, RFC 7526
UNICAST = ipaddress.ip_network("2000::/3")
SPECIAL = [ipaddress.ip_network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]
"""IANA's special blocks within 2000::/3: protocol assignments with Teredo, documentation, 6to4. Python's ``is_global``
lacks some of them before 3.12.4."""


def check_webhook(address):
    """Check the URL of a webhook and return it; "" for none. ConfigError if it is not allowed."""
    address = (address or "").strip()
    if not address:
        return ""
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError) as error:
        raise ConfigError(f"the webhook {address!r} is not a URL.") from error
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or len(address) > 500:
        raise ConfigError("a webhook must be an address such as https://example.org/hook, without a password.")
    _public_address(url)
    return address


def post(address, record):
    """Send ``record`` as JSON; returns the error, or ""."""
    try:
        url = httpx.URL(address)
        place = _public_address(url)
        # connect to the checked address, with the original host name
        there = url.copy_with(host=place)
        names = {"headers": {"Host": url.netloc.decode()}, "extensions": {"sni_hostname": url.host}}
        with (
            httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", there, json=record, **names) as answer,
        ):
            if answer.status_code >= 300:
                return f"the webhook answered {answer.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL, ConfigError, OSError, ValueError) as error:
        return f"the webhook could not be called: {first_line(error)}"
    return ""


def _public_address(url):
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        found = {entry[4][0] for entry in socket.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"the webhook's host {url.host} can't be found.") from error
    allowed = os.environ.get(PRIVATE) == "1"
    addresses = sorted(found, key=lambda text: ":" in text)
    if not allowed and not all(is_public(text) for text in addresses):
        raise ConfigError(f"the webhook's host {url.host} is not a public one.")
    return addresses[0]


def is_public(text):
    """Whether an IP address is a public unicast address.

    IPv6 addresses must be in the global unicast block, outside its special-purpose parts, so that no address that
    embeds an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo) leads into a private network.
    """
    address = ipaddress.ip_address(text.split("%")[0])
    if address.version == 4:
        return address.is_global and not address.is_multicast and not address.is_reserved and address not in RELAY
    return address in UNICAST and address.is_global and not any(address in network for network in SPECIAL)
