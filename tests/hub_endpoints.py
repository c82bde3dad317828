"""The endpoints of :mod:`hub_server`: what the clients huggingface_hub 2.4, datasets 5.2 and diffusers 0.42 ask for."""

import base64
import hashlib
import json
import os
import re
import tempfile
from contextlib import suppress
from urllib.parse import parse_qs, unquote, urlsplit

from hub_handler import CHUNK, HubHandler, Refusal

__all__ = ["HubEndpoints"]

LFS_SUFFIXES = re.compile(r"\.(safetensors|bin|pt|pth|ckpt|parquet|arrow|tar|zip|gz|png|jpg|jpeg|npz|npy|onnx|webp)$")
LFS_FROM = 10 << 20
"""Bytes from which a file goes to LFS whatever its name."""
PAGE = 1000
"""Entries of one answer to a listing."""

API_REPO = r"/api/(?P<kind>models|datasets|spaces)/(?P<repo_id>[^/]+/[^/]+)"
FILE_REPO = r"/(?:(?P<kind>datasets|spaces)/)?(?P<repo_id>[^/]+/[^/]+)"
REVISION = r"(?P<revision>[^/]+)"
ROUTES = [
    (method, re.compile(pattern + r"/?\Z"), name)
    for method, pattern, name in [
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/validate-yaml", "validate_yaml"),
        ("POST", r"/api/repos/create", "create"),
        ("DELETE", r"/api/repos/delete", "delete"),
        ("GET", API_REPO, "info"),
        ("GET", rf"{API_REPO}/revision/{REVISION}", "info"),
        ("GET", rf"{API_REPO}/auth-check(?P<write>/write)?", "auth_check"),
        ("GET", rf"{API_REPO}/tree/{REVISION}(?:/(?P<path>.+))?", "tree"),
        ("POST", rf"{API_REPO}/paths-info/{REVISION}", "paths_info"),
        ("GET", rf"{API_REPO}/refs", "refs"),
        ("GET", rf"{API_REPO}/commits/{REVISION}", "commits"),
        ("POST", rf"{API_REPO}/(?P<what>branch|tag)/{REVISION}", "add_ref"),
        ("DELETE", rf"{API_REPO}/(?P<what>branch|tag)/{REVISION}", "delete_ref"),
        ("PUT", rf"{API_REPO}/settings", "settings"),
        ("POST", rf"{API_REPO}/preupload/{REVISION}", "preupload"),
        ("POST", rf"{API_REPO}/commit/{REVISION}", "commit"),
        ("POST", rf"{API_REPO}/hardware", "hardware"),
        ("POST", rf"{FILE_REPO}\.git/info/lfs/objects/batch", "lfs_batch"),
        ("PUT", r"/_lfs/(?P<oid>[0-9a-f]{64})", "lfs_put"),
        ("POST", r"/_lfs/verify", "lfs_verify"),
        ("HEAD", rf"{FILE_REPO}/resolve/{REVISION}/(?P<path>.+)", "resolve"),
        ("GET", rf"{FILE_REPO}/resolve/{REVISION}/(?P<path>.+)", "resolve"),
        ("GET", r"/_cdn/(?P<oid>[0-9a-f]{64})", "cdn"),
    ]
]


class HubEndpoints(HubHandler):
    """Answers each route with the method ``on_<name>``."""

    routes = ROUTES

    # ---- users and repositories -----------------------------------------------------------------------------------

    def on_whoami(self):
        name, role = self.known_user()
        token = {"type": "access_token", "accessToken": {"displayName": "test", "role": role}}
        self.reply(200, {"type": "user", "id": name, "name": name, "fullname": name, "orgs": [], "auth": token})

    def on_validate_yaml(self):
        self.json_body()
        self.reply(200, {"errors": [], "warnings": []})

    def on_create(self):
        request = self.json_body()
        kind, repo_id = self.named_in_body(request)
        self.check_writer(repo_id.split("/")[0])
        self.check_plan(kind, request.get("sdk"), request.get("hardware"))
        url = self.hub.address(kind, repo_id)
        private = bool(request.get("private")) or request.get("visibility") == "private"
        if not self.hub.create(
            kind, repo_id, private, {key: request[key] for key in ("sdk", "hardware") if key in request}
        ):
            return self.reply(409, {"error": "You already created this repo", "url": url})
        return self.reply(200, {"url": url, "name": repo_id, "id": repo_id})

    def check_plan(self, kind, sdk, hardware):
        """As the Hub does since 2026: of the Spaces, accounts without a plan may only have static ones and ZeroGPU."""
        if kind == "spaces" and sdk != "static" and hardware != "zero-a10g" and self.user()[0] in self.hub.without_plan:
            text = (
                "Static Spaces are free for everyone, but hosting Gradio and Docker Spaces on free cpu-basic requires "
            )
            raise Refusal(402, text + "a PRO subscription. Subscribe at https://huggingface.co/pro")

    def on_hardware(self, kind, repo_id):
        repository, flavor = self.repository(kind, repo_id, write=True), self.json_body()["flavor"]
        self.check_plan(kind, repository.extra.get("sdk"), flavor)
        repository.extra["hardware"] = flavor
        stage = {"stage": "BUILDING", "hardware": {"current": None, "requested": flavor}, "storage": None}
        self.reply(200, stage | {"gcTimeout": None})

    def on_delete(self):
        kind, repo_id = self.named_in_body(self.json_body())
        self.repository(kind, repo_id, write=True)
        self.hub.delete(kind, repo_id)
        self.reply(200, b"OK")

    def on_settings(self, kind, repo_id):
        repository, request = self.repository(kind, repo_id, write=True), self.json_body()
        before = "private" if repository.private else "public"
        repository.private = request.get("private", request.get("visibility", before) == "private")
        self.reply(200, {"private": repository.private})

    def on_auth_check(self, kind, repo_id, write):
        self.repository(kind, repo_id, write=bool(write))
        self.reply(200, b"OK")

    def on_info(self, kind, repo_id, revision=None):
        repository = self.repository(kind, repo_id)
        sha = repository.resolve(revision)
        commit = repository.commits[sha]
        siblings = [{"rfilename": path} for path in sorted(commit.files)]
        if "blobs" in self.query:
            for sibling in siblings:
                file = commit.files[sibling["rfilename"]]
                sibling |= {"blobId": file["oid"], "size": file["size"], "lfs": file.get("lfs")}
        card = self._card(commit.files)
        about = {"_id": "0", "id": repo_id, "modelId": repo_id, "author": repo_id.split("/")[0], "sha": sha}
        about |= {"private": repository.private, "gated": False, "disabled": False, "downloads": 0, "likes": 0}
        about |= {"createdAt": repository.created, "lastModified": commit.date, "siblings": siblings}
        self.reply(200, {**about, "tags": card.get("tags") or [], "cardData": card, **repository.extra})

    def _card(self, files):
        front = None
        if "README.md" in files:
            text = self.hub.blob(files["README.md"]["blob"]).read_bytes()
            front = re.match(rb"---\n(.*?)\n---", text, re.DOTALL)
        if front:
            with suppress(ImportError):
                import yaml  # comes with huggingface_hub; without it, the Hub knows no card

                return yaml.safe_load(front[1]) or {}
        return {}

    # ---- listings -------------------------------------------------------------------------------------------------

    def on_tree(self, kind, repo_id, revision, path=None):
        files = self.repository(kind, repo_id).files(revision)
        base = f"{path}/" if path else ""
        recursive = self.query.get("recursive", [""])[0].lower() in ("1", "true")

        def inside(name):
            return name.startswith(base) and (recursive or "/" not in name[len(base) :])

        entries = [_folder_entry(name) for name in sorted(_folders(files)) if inside(name)]
        entries += [_file_entry(name, files[name]) for name in sorted(files) if inside(name)]
        if base and not entries:
            raise Refusal(404, f"{path} does not exist on {revision}", "EntryNotFound")
        start, headers = int(self.query.get("cursor", ["0"])[0]), {}
        if start + PAGE < len(entries):
            after = f"{self.hub.url}{urlsplit(self.path).path}?recursive={recursive}&cursor={start + PAGE}"
            headers["Link"] = f'<{after}>; rel="next"'
        self.reply(200, entries[start : start + PAGE], headers)

    def on_paths_info(self, kind, repo_id, revision):
        files = self.repository(kind, repo_id).files(revision)
        body = self.body()
        as_json = "json" in self.headers.get("Content-Type", "")
        asked = json.loads(body)["paths"] if as_json else parse_qs(body.decode()).get("paths", [])
        asked, folders = [path.strip("/") for path in asked], _folders(files)
        entries = [_file_entry(path, files[path]) for path in asked if path in files]
        self.reply(200, entries + [_folder_entry(path) for path in asked if path in folders])

    def on_refs(self, kind, repo_id):
        repository = self.repository(kind, repo_id)

        def listed(where, refs):
            return [{"name": name, "ref": f"refs/{where}/{name}", "targetCommit": sha} for name, sha in refs.items()]

        refs = {"branches": listed("heads", repository.branches), "tags": listed("tags", repository.tags)}
        self.reply(200, {**refs, "converts": [], "pullRequests": []})

    def on_commits(self, kind, repo_id, revision):
        repository = self.repository(kind, repo_id)
        sha, commits = repository.resolve(revision), []
        while sha:
            commit = repository.commits[sha]
            authors = [{"user": repo_id.split("/")[0]}]
            commits.append({"id": sha, "title": commit.title, "message": "", "date": commit.date, "authors": authors})
            sha = commit.parent
        self.reply(200, commits)

    def on_add_ref(self, kind, repo_id, what, revision):
        repository, request = self.repository(kind, repo_id, write=True), self.json_body()
        if what == "branch":
            refs, name, sha = repository.branches, unquote(revision), repository.resolve(request.get("startingPoint"))
        else:
            refs, name, sha = repository.tags, request["tag"], repository.resolve(revision)
        if name in refs:
            raise Refusal(409, f"{what} {name} exists already")
        refs[name] = sha
        self.reply(200, {})

    def on_delete_ref(self, kind, repo_id, what, revision):
        repository = self.repository(kind, repo_id, write=True)
        refs = repository.branches if what == "branch" else repository.tags
        if refs.pop(unquote(revision), None) is None:
            raise Refusal(404, "no such ref", "RevisionNotFound")
        self.reply(200, {})

    # ---- uploads --------------------------------------------------------------------------------------------------

    def on_preupload(self, kind, repo_id, revision):
        repository, answers = self.repository(kind, repo_id, write=True), []
        files = repository.files(revision)
        for file in self.json_body()["files"]:
            binary = b"\0" in base64.b64decode(file.get("sample") or "")
            lfs = file["size"] > LFS_FROM or bool(LFS_SUFFIXES.search(file["path"])) or binary
            have = files.get(file["path"])
            oid = have and (have["lfs"]["oid"] if have.get("lfs") else have["oid"])
            mode = "lfs" if lfs else "regular"
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.reply(200, {"files": answers, "commitOid": repository.resolve(revision)})

    def on_lfs_batch(self, kind, repo_id):
        self.repository(kind, repo_id, write=True)
        objects = []
        for wanted in self.json_body()["objects"]:
            oid, size = wanted["oid"], wanted["size"]
            item = {"oid": oid, "size": size, "authenticated": True}
            if not self.hub.blob(oid).exists():  # the client PUTs without its token: the address carries the right
                address = f"{self.hub.url}/_lfs/{oid}?sig={self.hub.sign(oid, size)}&size={size}"
                item["actions"] = {"upload": {"href": address}, "verify": {"href": f"{self.hub.url}/_lfs/verify"}}
            objects.append(item)
        headers = {"Content-Type": "application/vnd.git-lfs+json"}
        self.reply(200, {"transfer": "basic", "objects": objects}, headers)

    def on_lfs_put(self, oid):
        size, signature = int(self.query["size"][0]), self.query["sig"][0]
        if (oid, size, signature) not in self.hub.signatures:
            raise Refusal(403, "bad signature")
        cut_after = self.fault.cut_after if self.fault else None
        digest, received = hashlib.sha256(), 0
        with tempfile.NamedTemporaryFile(dir=self.hub.folder, delete=False) as partial:
            try:
                for data in self.body_chunks():
                    digest.update(data)
                    partial.write(data)
                    received += len(data)
                    if cut_after is not None and received >= cut_after:
                        self.hub.log.append((self.command, self.path, "cut"))
                        self.hang_up()
                        raise ConnectionError
                if (received, digest.hexdigest()) != (size, oid):
                    raise Refusal(400, "checksum mismatch")
                partial.flush()  # two uploads of one content may race: never expose a half-written blob
                os.replace(partial.name, self.hub.blob(oid))
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(partial.name)
        self.reply(200, b"", {"ETag": f'"{oid}"'})

    def on_lfs_verify(self):
        request = self.json_body()
        blob = self.hub.blob(request["oid"])
        self.reply(200 if blob.exists() and blob.stat().st_size == request["size"] else 404, {})

    def on_commit(self, kind, repo_id, revision):
        repository, branch = self.repository(kind, repo_id, write=True), unquote(revision)
        lines = [json.loads(line) for line in self.body().splitlines() if line.strip()]
        with self.hub.lock:
            parent = repository.resolve(revision)
            if branch not in repository.branches:
                raise Refusal(400, "can only commit to a branch")
            header = next(line["value"] for line in lines if line["key"] == "header")
            if header.get("parentCommit") not in (None, parent):
                raise Refusal(412, "A commit has happened since. Please refresh and try again.")
            files = dict(repository.commits[parent].files)
            for line in lines:
                self._apply(files, line["key"], line["value"])
            sha = repository.add_commit(branch, parent, header["summary"], files)
        address = f"{self.hub.address(kind, repo_id)}/commit/{sha}"
        self.reply(200, {"success": True, "commitOid": sha, "commitUrl": address, "hookOutput": ""})

    def _apply(self, files, key, value):
        """Carry out one operation of a commit on its mapping of paths to files."""
        if key == "file":
            data = base64.b64decode(value["content"])
            files[value["path"]] = {"oid": _git_oid(data), "size": len(data), "blob": self.hub.put_blob(data)}
        elif key == "lfsFile":
            oid, blob = value["oid"], self.hub.blob(value["oid"])
            if not blob.exists():
                raise Refusal(400, f"LFS object {oid} of {value['path']} was never uploaded")
            size = blob.stat().st_size
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()
            lfs = {"oid": oid, "sha256": oid, "size": size, "pointerSize": len(pointer)}
            files[value["path"]] = {"oid": _git_oid(pointer), "size": size, "blob": oid, "lfs": lfs}
        elif key == "deletedFile":
            if files.pop(value["path"], None) is None:
                raise Refusal(404, f"{value['path']} does not exist", "EntryNotFound")
        elif key == "deletedFolder":
            for path in [path for path in files if path.startswith(value["path"].strip("/") + "/")]:
                del files[path]

    # ---- downloads ------------------------------------------------------------------------------------------------

    def on_resolve(self, kind, repo_id, revision, path):
        repository = self.repository(kind, repo_id)
        sha = repository.resolve(revision)
        file = repository.commits[sha].files.get(path)
        if file is None:
            raise Refusal(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": sha})
        etag = file["lfs"]["oid"] if file.get("lfs") else file["oid"]
        headers = {"X-Repo-Commit": sha, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if file.get("lfs"):
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": file["size"]}
            if self.hub.cdn:  # another host name, as the real CDN: the client must not send its token there
                signature = self.hub.sign(file["blob"])
                address = f"http://localhost:{self.hub.port}/_cdn/{file['blob']}?sig={signature}"
                return self.reply(302, b"", {**headers, "Location": address})
        return self.send_blob(file["blob"], headers)

    def on_cdn(self, oid):
        signed = (oid, self.query.get("sig", [""])[0]) in self.hub.signatures
        if not signed or self.headers.get("Authorization"):
            raise Refusal(403, "unsigned, or a token was sent to the CDN")
        self.send_blob(oid, {"ETag": f'"{oid}"', "Accept-Ranges": "bytes"})

    def send_blob(self, oid, headers):
        size = self.hub.blob(oid).stat().st_size
        status, start, end = 200, 0, size - 1
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked:
            first, last = asked.groups()
            status, start = 206, int(first) if first else max(0, size - int(last))
            end = min(int(last), size - 1) if first and last else size - 1
            if start >= size:
                raise Refusal(416, "range not satisfiable", headers={"Content-Range": f"bytes */{size}"})
            headers = {**headers, "Content-Range": f"bytes {start}-{end}/{size}"}
        left = end + 1 - start
        cut_after = self.fault.cut_after if self.fault else None
        about = {"Content-Type": "application/octet-stream", "Content-Length": left, **headers}
        self._start_reply(status, about, logged=None if cut_after is None else "cut")
        if self.command == "HEAD":
            return
        with self.hub.blob(oid).open("rb") as file:
            file.seek(start)
            while left:
                data = file.read(min(left, CHUNK))
                if self.fault and self.fault.corrupt:
                    data = bytes(byte ^ 0xFF for byte in data[:64]) + data[64:]
                if cut_after is not None and len(data) >= cut_after:
                    self.wfile.write(data[:cut_after])
                    self.wfile.flush()
                    self.hang_up()
                    return
                self.wfile.write(data)
                left -= len(data)
                with self.hub.lock:
                    self.hub.served += len(data)


def _git_oid(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _folders(files):
    return {"/".join(path.split("/")[:depth]) for path in files for depth in range(1, path.count("/") + 1)}


def _folder_entry(path):
    return {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}


def _file_entry(path, file):
    return {"type": "file", "path": path, **{key: file[key] for key in ("oid", "size", "lfs") if key in file}}
