"""HTTP and tokens of :mod:`hub_server`: how a request is read, routed, judged and answered, and how it is spoilt."""

import json
import socket
import time
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["CHUNK", "HubHandler", "Refusal"]

CHUNK = 1 << 20
"""Bytes that are read or written at once."""


class Refusal(Exception):  # noqa: N818 (an answer, not a mistake)
    """An answer that is no success; ``code`` is the Hub's ``X-Error-Code``."""

    def __init__(self, status, message, code=None, headers=()):
        super().__init__(message)
        self.status, self.message, self.code, self.headers = status, message, code, dict(headers)


class HubHandler(BaseHTTPRequestHandler):
    """One connection; subclasses give ``routes``, :class:`hub_server.LoopbackHub` gives ``hub``."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer of two packets waits 40 ms for the client
    hub = None
    routes = ()

    # ---- plumbing -------------------------------------------------------------------------------------------------

    def log_message(self, *_):
        pass

    def _answer(self):
        url = urlsplit(self.path)
        self.query, self.body_read = parse_qs(url.query), False
        self.fault = self.hub.take_fault(self.command, url.path)
        try:
            if self.fault and self.fault.hang:
                time.sleep(self.fault.hang)
            if self.fault and self.fault.status:
                raise Refusal(self.fault.status, "injected fault", headers=self.fault.headers)
            endpoint, arguments = self._route(url.path)
            endpoint(**arguments)
        except Refusal as refusal:
            headers = {"X-Error-Message": refusal.message, **refusal.headers}
            if refusal.code:
                headers["X-Error-Code"] = refusal.code
            self.reply(refusal.status, {"error": refusal.message}, headers)
        except (BrokenPipeError, ConnectionError):
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _answer  # noqa: N815 (names of http.server)

    def _route(self, path):
        for method, pattern, name in self.routes:
            match = pattern.match(path) if method == self.command else None
            if match:
                groups = match.groupdict()
                # a revision stays quoted: refs%2Fpr%2F1 is one name
                return getattr(self, f"on_{name}"), {
                    key: unquote(value) if value and key != "revision" else value for key, value in groups.items()
                }
        raise Refusal(404, f"no route for {self.command} {path}")

    def body_chunks(self):
        """The request's body, whether sized or chunked."""
        self.body_read = True
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            data = self.rfile.read(min(left, CHUNK))
            if not data:
                raise ConnectionError("body cut short")
            left -= len(data)
            yield data

    def body(self):
        return b"".join(self.body_chunks())

    def json_body(self):
        return json.loads(self.body() or b"{}")

    def reply(self, status=200, body=b"", headers=()):
        if not self.body_read and self.command in ("POST", "PUT", "DELETE"):
            for _ in self.body_chunks():  # an unread body would be parsed as the next request
                pass
        headers = dict(headers)
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers = {"Content-Type": "application/json", **headers}
        self._start_reply(status, {"Content-Length": len(body), **headers})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _start_reply(self, status, headers, logged=None):
        self.hub.log.append((self.command, self.path, logged or status))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()

    def hang_up(self):
        """Drop the line in the middle of a transfer."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    # ---- who asks, and for what -----------------------------------------------------------------------------------

    def user(self):
        """Name and role of the asking user, ``(None, None)`` without a token."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token:
            return None, None
        if token not in self.hub.tokens:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return self.hub.tokens[token]

    def known_user(self):
        name, role = self.user()
        if name is None:
            raise Refusal(401, "Invalid username or password.")
        return name, role

    def check_writer(self, owner):
        name, role = self.known_user()
        if role != "write" or name != owner:
            raise Refusal(403, f"You don't have the rights to write to {owner}")

    def repository(self, kind, repo_id, write=False):
        repository, owner = self.hub.find(kind or "models", repo_id), repo_id.split("/")[0]
        name, _ = self.user()
        if repository is None or (repository.private and name != owner):
            # as the Hub does: 401 to strangers, whether the repository is missing or private
            raise Refusal(404 if name else 401, "Repository not found", "RepoNotFound")
        if write:
            self.check_writer(owner)
        return repository

    def named_in_body(self, request):
        owner = request.get("organization") or self.known_user()[0]
        return (request.get("type") or "model") + "s", f"{owner}/{request['name']}"
