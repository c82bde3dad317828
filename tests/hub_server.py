"""A Hugging Face Hub on 127.0.0.1 for tests: standard library only, refs in memory, file contents on disk.

    hub = LoopbackHub(folder, tokens={"hf_alice": ("alice", "write")}).start()
    os.environ["HF_ENDPOINT"] = hub.url         # before huggingface_hub, datasets or diffusers is imported
    os.environ["HF_HUB_DISABLE_XET"] = "1"      # else uploads insist on Xet

    hub.fault("PUT", "/_lfs/", cut_after=1000)  # the next such request breaks off
    hub.log                                     # what was asked: (method, path, status)
    hub.served                                  # bytes of files that were sent

``python tests/hub_server.py`` serves one to try things by hand.
"""

import argparse
import hashlib
import os
import re
import secrets
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from hub_endpoints import HubEndpoints
from hub_handler import Refusal

__all__ = ["Commit", "Fault", "LoopbackHub", "Repository"]


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())


@dataclass
class Commit:
    """A state of a repository: ``files`` maps each path to its oid, size, blob and, for large files, its LFS record."""

    parent: str | None
    title: str
    files: dict
    date: str = field(default_factory=now)


class Repository:
    """Commits by hash, and the branches and tags that name some of them."""

    def __init__(self, kind, repo_id, private, extra):
        self.kind, self.repo_id, self.private, self.extra = kind, repo_id, private, extra
        self.commits, self.branches, self.tags, self.created = {}, {}, {}, now()
        self.add_commit("main", None, "initial commit", {})

    def add_commit(self, branch, parent, title, files):
        sha = hashlib.sha1(secrets.token_bytes(20)).hexdigest()
        self.commits[sha] = Commit(parent, title, files)
        self.branches[branch] = sha
        return sha

    def resolve(self, revision):
        """The hash of a branch, tag, or full or short hash."""
        name = unquote(revision or "main").removeprefix("refs/heads/").removeprefix("refs/tags/")
        sha = self.branches.get(name) or self.tags.get(name) or (name if name in self.commits else None)
        if sha is None and len(name) >= 7:
            sha = next((known for known in self.commits if known.startswith(name)), None)
        if sha is None:
            raise Refusal(404, f"Invalid rev id: {name}", "RevisionNotFound")
        return sha

    def files(self, revision):
        return self.commits[self.resolve(revision)].files


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests whose method and path match."""

    method: str
    pattern: re.Pattern
    times: int
    status: int | None
    headers: dict
    cut_after: int | None
    corrupt: bool
    hang: float


class LoopbackHub:
    """The server, and all that it knows.

    Args:
        folder: where file contents go.
        tokens: token → (user name, ``"read"`` or ``"write"``).
        port: 0 takes a free one.
        cdn: send downloads of large files on to another host name, as the real Hub does.
    """

    def __init__(self, folder, tokens, port=0, cdn=False):
        self.folder, self.tokens, self.cdn = Path(folder), dict(tokens), cdn
        self.repositories, self.log, self.faults, self.served = {}, [], [], 0
        self.without_plan = set()  # names of users who pay for nothing
        self.signatures, self.lock = set(), threading.RLock()
        (self.folder / "blobs").mkdir(parents=True, exist_ok=True)
        self.server = ThreadingHTTPServer(("127.0.0.1", port), type("BoundHandler", (HubEndpoints,), {"hub": self}))
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def fault(self, method, pattern, *, times=1, status=None, headers=(), cut_after=None, corrupt=False, hang=0):
        """Spoil the next ``times`` matching requests.

        Args:
            method: ``"GET"`` and so on, or ``"*"``.
            pattern: regular expression, searched in the path.
            status: answer with this error, and ``headers``.
            cut_after: drop the line after so many bytes of an upload or a download.
            corrupt: flip the first bytes of a download, its length unchanged.
            hang: seconds to wait first.
        """
        self.faults.append(Fault(method, re.compile(pattern), times, status, dict(headers), cut_after, corrupt, hang))

    def take_fault(self, method, path):
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method in (method, "*") and fault.pattern.search(path):
                    fault.times -= 1
                    return fault
        return None

    def find(self, kind, repo_id):
        return self.repositories.get((kind, repo_id))

    def create(self, kind, repo_id, private, extra):
        """Add an empty repository; returns whether there was none."""
        with self.lock:
            if (kind, repo_id) in self.repositories:
                return False
            self.repositories[kind, repo_id] = Repository(kind, repo_id, private, extra)
            return True

    def delete(self, kind, repo_id):
        del self.repositories[kind, repo_id]

    def address(self, kind, repo_id):
        return f"{self.url}/{'' if kind == 'models' else kind + '/'}{repo_id}"

    def sign(self, *what):
        """A signature that stands for the right to ``what``, as the addresses of a CDN carry it."""
        signature = secrets.token_hex(8)
        self.signatures.add((*what, signature))
        return signature

    def blob(self, oid):
        return self.folder / "blobs" / oid

    def put_blob(self, data):
        oid = hashlib.sha256(data).hexdigest()
        partial = self.blob(f"{oid}.{secrets.token_hex(4)}")
        partial.write_bytes(data)
        os.replace(partial, self.blob(oid))
        return oid


def main():
    parser = argparse.ArgumentParser(description="Serve a Hugging Face Hub on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--folder", default=None, help="for file contents; a new temporary one if not given")
    parser.add_argument("--token", default="hf_test:alice:write", help="token:user:read|write")
    parser.add_argument("--cdn", action="store_true", help="redirect downloads of large files")
    options = parser.parse_args()
    token, user, role = options.token.split(":")
    hub = LoopbackHub(options.folder or tempfile.mkdtemp(), {token: (user, role)}, options.port, options.cdn)
    print(hub.url, flush=True)
    hub.server.serve_forever()


if __name__ == "__main__":
    main()
