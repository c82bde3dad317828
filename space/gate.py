"""Checks of every HTTP request before gradio handles it: allowed hosts, and limits on what a visitor may send.

gradio reads JSON of any size into memory, keeps any number of uploads, and answers unexpected fields with tracebacks.
Here all of them have limits and one-line errors.
"""

import ipaddress
import json
import os
import shutil
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass

from gradio.utils import get_upload_folder
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException

from maskhub.errors import first_line

__all__ = ["KEEP", "Bounds", "Gate", "allowed_hosts", "host_name", "visitor"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MB = 2**20
KEEP = 3600
"""Seconds for which uploads count; they are deleted by then."""
TOO_LARGE = "exceeded maximum allowed size"
"""gradio answers 413 to upload errors with this text, and deletes partial files."""


@dataclass(frozen=True)
class Bounds:
    """Limits on what may be sent; sizes in bytes."""

    body: int = 4 * MB
    """JSON of one request; the largest are camera frames of about 1 MB."""
    agent: int = 16 * MB
    """JSON of a call by an agent (MCP), whose photos are text in it."""
    upload: int = 200 * MB
    """All files of one upload."""
    visitor: int = 500 * MB
    """Uploads of one visitor within an hour."""
    total: int = 4000 * MB
    """Uploads of all visitors within an hour."""
    free: int = 200 * MB
    """Disk space that uploads leave free."""
    least: int = MB // 16
    """Minimum size that an upload counts for."""
    requests: int = 200
    """Concurrent requests of one visitor; a page keeps two open."""


def allowed_hosts(server_name, share=False):
    """The Host names that an app answers to, or None for all.

    A web page can make its domain point to 127.0.0.1 (DNS rebinding) and use a local app on behalf of its visitor; but
    its requests still have the page's domain as Host. An app that is served to a network, shared, or on a Space is open
    to everyone anyway. ``MASKHUB_HOSTS`` adds names, for a reverse proxy that keeps them; ``*``
    allows all.
    """
    added = [name.strip().lower() for name in os.environ.get("MASKHUB_HOSTS", "").split(",") if name.strip()]
    local = host_name(server_name) in LOOPBACK or _is_loopback(host_name(server_name))
    if "*" in added or not local or share or "SPACE_ID" in os.environ:
        return None
    return {*LOOPBACK, host_name(server_name), *added}


def host_name(host):
    """A Host header without its port and brackets, in lower case."""
    host = (host or "").strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0]


def visitor(scope):
    """The sender of a request: an IPv4 address (also one written as IPv6), or the /64 of an IPv6 address; "" for this
    machine.

    A Space's proxies append the sender's address to X-Forwarded-For, so the last public one is the visitor's, whatever
    the visitor puts before it. Elsewhere uvicorn has already replaced a trusted proxy's address.
    """
    client = scope.get("client")
    candidates = [client[0]] if client else []
    if "SPACE_ID" in os.environ:
        forwarded = Headers(scope=scope).getlist("x-forwarded-for")
        candidates = [*candidates, *(part.strip() for line in forwarded for part in line.split(","))]
    for text in reversed(candidates):
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        address = getattr(address, "ipv4_mapped", None) or address  # all of these would share one /64
        if address.is_global or text == candidates[0]:
            if address.is_loopback:
                return ""
            return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)
    return ""


class Gate:
    """ASGI middleware around gradio's app; ``hosts`` of :func:`allowed_hosts`, ``bounds`` are :class:`Bounds`."""

    def __init__(self, app, hosts=None, bounds=None):
        self.app, self.hosts, self.bounds = app, hosts, bounds or Bounds()
        self.uploads, self.open = _Uploads(self.bounds), Counter()

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        who = visitor(scope)
        refusal = self._refusal(scope, who)
        if refusal:
            await _answer(send, *refusal)
            return
        self.open[who] += 1
        try:
            await self._passed(scope, receive, send, who)
        finally:
            self.open[who] -= 1
            if not self.open[who]:
                del self.open[who]

    def _refusal(self, scope, who):
        """Status and text if a request is refused, else None."""
        headers, path = Headers(scope=scope), scope["path"]
        if self.hosts is not None:
            host, origin = headers.get("host"), headers.get("origin")
            if host_name(host) not in self.hosts:
                return 403, "This app is served under another name. Set MASKHUB_HOSTS to allow this one."
            if origin and host_name(origin.partition("://")[2]) not in self.hosts:
                return 403, "Other sites may not use this app."
        if path.partition("file=")[2].lower().startswith(("http:", "https:")):
            return 403, "This app fetches no files from elsewhere."
        if self.open[who] >= self.bounds.requests:
            return 429, "Too many requests at once."
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > (self.bounds.upload if _is_upload(path) else self._most(path)):
            return 413, f"This request {TOO_LARGE}."
        if _is_upload(path) and self.uploads.room(who) <= 0:
            return 413, "Too much was uploaded within the last hour. Try again later."
        return None

    def _most(self, path):
        return self.bounds.agent if path.rstrip("/").endswith("/gradio_api/mcp") else self.bounds.body

    async def _passed(self, scope, receive, send, who):
        path = scope["path"]
        budget = self.uploads.begin(who) if _is_upload(path) else _Budget(self._most(path))
        begun = False

        async def received():
            message = await receive()
            budget.take(len(message.get("body", b"")))
            return message

        async def sent(message):
            nonlocal begun
            # gradio would call the truncated body malformed
            if message["type"] == "http.response.start" and budget.exceeded and not begun:
                message = message | {"status": 413}
            begun = True
            await send(message)

        try:
            await self.app(scope, received, sent)
        except Exception as error:  # gradio raises KeyError and others for unexpected fields
            if begun:
                raise
            print(f"maskhub: {scope['path']}: {type(error).__name__}: {first_line(error)}", file=sys.stderr, flush=True)
            await _answer(send, 413 if budget.exceeded else 400, "This request could not be understood.")


class _Budget:
    """Remaining bytes of one request; ``count`` is called with the size of each part."""

    def __init__(self, left, count=None):
        self.left, self.count, self.exceeded = left, count, False

    def take(self, size):
        self.left -= size
        if self.count:
            self.count(size)
        if self.left < 0:
            self.exceeded = True
            raise MultiPartException(f"This request {TOO_LARGE}.")


class _Uploads:
    """Uploads of the last hour by visitor."""

    def __init__(self, bounds):
        self.bounds, self.entries, self.sums = bounds, deque(), Counter()

    def room(self, who):
        """Bytes that a visitor may still upload."""
        while self.entries and self.entries[0][0] < time.monotonic() - KEEP:
            _, other, size = self.entries.popleft()
            self.sums[other] -= size
            if not self.sums[other]:
                del self.sums[other]
        free = shutil.disk_usage(os.path.dirname(get_upload_folder())).free - self.bounds.free
        return min(self.bounds.visitor - self.sums[who], self.bounds.total - self.sums.total(), free)

    def begin(self, who):
        """A :class:`_Budget` for an upload of a visitor."""
        left = min(self.bounds.upload, self.room(who))
        entry = [time.monotonic(), who, 0]
        self.entries.append(entry)

        def count(size):
            entry[2] += size
            self.sums[who] += size

        count(self.bounds.least)
        return _Budget(left, count)


async def _answer(send, status, text):
    body = json.dumps({"detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _is_upload(path):
    return path.rstrip("/").endswith(("/upload", "/process_recording"))


def _is_loopback(name):
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
