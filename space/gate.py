"""What each HTTP request passes before gradio handles it: whether its Host may be served, and one line for errors."""

import ipaddress
import json
import os
import sys

from starlette.datastructures import Headers

from maskhub.errors import first_line

__all__ = ["Gate", "allowed_hosts", "host_name"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def allowed_hosts(server_name, share=False):
    """The Host names that an app answers to, or None for all.

    A page on the Internet can make its own name point to 127.0.0.1 (DNS rebinding) and then use a local app in the name
    of whoever opened it; its requests still carry the page's name as Host. An app that is served to a network, shared,
    or on a Space is open to everyone anyway. ``MASKHUB_HOSTS`` adds names, for a reverse proxy that keeps them; ``*``
    allows all.
    """
    added = [name.strip().lower() for name in os.environ.get("MASKHUB_HOSTS", "").split(",") if name.strip()]
    local = host_name(server_name) in LOOPBACK or _is_loopback(server_name)
    if "*" in added or not local or share or "SPACE_ID" in os.environ:
        return None
    return {*LOOPBACK, host_name(server_name), *added}


def host_name(host):
    """A Host header without its port and brackets, in lower case."""
    host = (host or "").strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0]


class Gate:
    """ASGI middleware.

    Args:
        app: gradio's.
        hosts: from :func:`allowed_hosts`.
    """

    def __init__(self, app, hosts=None):
        self.app, self.hosts = app, hosts

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal:
            await _answer(send, *refusal)
            return
        begun = False

        async def sent(message):
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, sent)
        except Exception as error:  # gradio raises KeyError and the like for fields that it does not expect
            if begun:
                raise
            print(f"maskhub: {scope['path']}: {type(error).__name__}: {first_line(error)}", file=sys.stderr, flush=True)
            await _answer(send, 400, "This request could not be understood.")

    def _refusal(self, scope):
        """Status and text where a request is not let in, else None."""
        headers = Headers(scope=scope)
        if self.hosts is not None:
            host, origin = headers.get("host"), headers.get("origin")
            if host_name(host) not in self.hosts:
                return 403, "This app is served under another name. Set MASKHUB_HOSTS to allow this one."
            if origin and host_name(origin.partition("://")[2]) not in self.hosts:
                return 403, "Pages of other sites may not use this app."
        path = scope["path"]
        if path.partition("file=")[2].lower().startswith(("http:", "https:")):
            return 403, "This app fetches no files from elsewhere."
        return None


async def _answer(send, status, text):
    body = json.dumps({"detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _is_loopback(name):
    try:
        return ipaddress.ip_address(host_name(name)).is_loopback
    except ValueError:
        return False
