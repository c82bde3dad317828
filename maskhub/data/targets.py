"""Where a data set is built: a folder, a data set on the Hub, or another store that fsspec can write to.

    pairs/                              a folder
    hf://datasets/user/name             a data set on the Hub, created if missing
    s3://bucket/pairs                   any other store of fsspec

A shard is put in place whole, under a name that says what is in it, so that its presence means that it is done, and
processes on any machines need nothing but the list of names to agree on what remains.
"""

import io
import re
import secrets
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from maskhub.cards import THIS_REPOSITORY
from maskhub.data.texts import replace_own
from maskhub.errors import ConfigError, WriteError, first_line
from maskhub.files import PARTIAL, remove_file, scratch_folder, sweep, write_file
from maskhub.hub_errors import hub_errors, patient, persistent

__all__ = ["FolderTarget", "HubTarget", "MirroredTarget", "StoreTarget", "open_target"]

HUB = re.compile(r"hf://datasets/(?P<id>[\w-][\w.-]*/[\w-][\w.-]*)/?")
BATCH_SECONDS = 60.0
"""Least time between two commits of a process."""
COMMITS_AN_HOUR = 100
"""Commits of all processes together; the Hub takes 128 an hour in a repository."""


def open_target(output, world=1, private=None):
    """The target that a path or address names.

    Args:
        output: see the module.
        world: number of processes that commit to a data set on the Hub: the more, the fewer commits of each.
        private: whether a new data set on the Hub is private.

    Raises:
        ConfigError: there is no such kind of store. HubError: no right to write to the data set, or no connection.
    """
    output = str(output)
    if output.startswith("hf:") and not output.startswith("hf://buckets/"):
        match = HUB.fullmatch(output)
        if not match:
            raise ConfigError(f"the target {output} is not a data set on the Hub: write hf://datasets/user/name.")
        return HubTarget(match["id"], world, private)
    if "://" in output and not output.startswith("file://"):
        return StoreTarget(output)
    return FolderTarget(Path(output.removeprefix("file://")))


class _Target:
    """What all targets have.

    Attributes:
        lag: seconds after which every finished shard is in :meth:`shards`.
        hub: the :class:`HubTarget` that shards are uploaded to, or None.
    """

    lag, hub = 0.0, None

    def stored(self, text):
        """A text (or UTF-8 bytes) as it is stored, in bytes."""
        return text.encode() if isinstance(text, str) else text

    def replace(self, texts):
        """Write texts about the whole data set, name → text, or None to delete it. Those that no build wrote, or that
        were edited since, stay as they are; returns where they are."""
        return [f"{self}/{name}" for name in replace_own(self, texts)]


class FolderTarget(_Target):
    """A folder, which processes of several machines may share."""

    def __init__(self, folder):
        self.folder = Path(folder).expanduser()

    def __str__(self):
        return str(self.folder)

    def prepare(self):
        """Delete what killed processes left behind."""
        if self.folder.is_dir():
            sweep(self.folder)

    def shards(self):
        """Names of the shards, paths within the data set → their bytes."""
        found = sorted((self.folder / "data").rglob("[!.]*.parquet"))
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in found}

    @contextmanager
    def place(self, name):
        """A path to write a file to; at the end of the block it is put in place under its name."""
        yield self.folder / name

    def open(self, name):
        """A file to read."""
        return open(self.folder / name, "rb")

    def read(self, name):
        """The bytes of a text; None if it doesn't exist, and empty bytes if it can't be read."""
        try:
            return (self.folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            return b""

    def write(self, files):
        """Write texts: name → text, or None to delete it."""
        for name, text in files.items():
            if text is None:
                remove_file(self.folder / name)
            else:
                write_file(self.folder / name, self.stored(text))

    def flush(self):
        """Put everything that is finished in place."""


class StoreTarget(_Target):
    """A store of fsspec, such as ``s3://bucket/pairs`` or ``sftp://host/pairs``.

    Attributes:
        buckets: whether an address begins with a bucket, which must exist, and there are no folders to make.
        renames: whether it is a file system, in which a file can be seen while it is written, and be renamed; to an
            object store an upload appears whole or not at all.
    """

    def __init__(self, address):
        import fsspec

        self.address = address.rstrip("/")
        if not address.partition("://")[2].strip("/"):
            raise ConfigError(f"the target {address} names no folder: write one as in s3://bucket/pairs.")
        try:
            self.system, self.base = fsspec.core.url_to_fs(self.address)
        except Exception as error:  # whatever the store's client raises
            raise ConfigError(f"the target {address} can't be opened: {first_line(error)}.") from error
        self.buckets = hasattr(self.system, "split_path")  # as s3fs, gcsfs and adlfs have
        self.renames = type(self.system).mv is not fsspec.AbstractFileSystem.mv

    def __str__(self):
        return self.address

    @contextmanager
    def _errors(self, name=None):
        where = f"{self.address}/{name}" if name else self.address
        try:
            yield
        except Exception as error:  # each store's client has classes of its own
            raise WriteError(
                f"{where} could not be reached or written: {first_line(error)}. Check the address, your keys and the "
                "connection, and run the same command again."
            ) from error

    def prepare(self):
        """Refuse a bucket that does not exist: fsspec would make one of a mistyped name."""
        bucket = self.base.strip("/").partition("/")[0]
        with self._errors():
            try:
                there = not self.buckets or self.system.info(bucket)
            except FileNotFoundError:
                there = False
        if not there:
            raise ConfigError(f"the target {self} can't be opened: there is no bucket {bucket}. Create it first.")

    def shards(self):
        with self._errors():
            self.system.invalidate_cache()
            try:
                found = self.system.find(f"{self.base}/data", detail=True)
            except FileNotFoundError:
                return {}
        shards = {path: about["size"] for path, about in sorted(found.items()) if f"/{PARTIAL}" not in path}
        return {path.removeprefix(f"{self.base}/"): size for path, size in shards.items()}

    @contextmanager
    def place(self, name):
        with scratch_folder() as folder:
            path = folder / PurePosixPath(name).name
            yield path
            with self._errors(name):
                self._put(str(path), f"{self.base}/{name}")

    def _put(self, path, final):
        part = f"{self._made_parent(final)}/{PARTIAL}{secrets.token_hex(8)}" if self.renames else final
        self.system.put_file(path, part)
        if self.renames:
            self.system.mv(part, final)

    def _made_parent(self, path):
        """The folder of a path, which is made if it is missing."""
        parent = path.rpartition("/")[0]
        if not self.buckets:
            self.system.makedirs(parent, exist_ok=True)
        return parent

    def open(self, name):
        with self._errors(name):
            file = self.system.open(f"{self.base}/{name}", "rb", block_size=1 << 16)
        return _Stored(file, partial(self._errors, name))

    def read(self, name):
        with self._errors(name):
            try:
                return self.system.cat_file(f"{self.base}/{name}")
            except FileNotFoundError:
                return None

    def write(self, files):
        for name, text in files.items():
            with self._errors(name):
                if text is not None:
                    self._made_parent(f"{self.base}/{name}")
                    self.system.pipe_file(f"{self.base}/{name}", self.stored(text))
                elif self.system.exists(f"{self.base}/{name}"):
                    self.system.rm_file(f"{self.base}/{name}")

    def flush(self):
        pass


class _Stored(io.RawIOBase):
    """A stored file to read. Its errors are those of the store, so that a lost connection isn't taken for damage."""

    def __init__(self, file, errors):
        self._file, self._errors = file, errors

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        return self._file.seek(offset, whence)

    def tell(self):
        return self._file.tell()

    def readinto(self, buffer):
        with self._errors():
            return self._file.readinto(buffer)

    def close(self):
        self._file.close()
        super().close()


class HubTarget(_Target):
    """A data set on the Hub. Shards are uploaded as they are made, and committed many at once, since the Hub
    limits the number of commits. A kill loses the shards since the last commit, which are then made again.

    Attributes:
        uploaded: uploaded shards that are not committed yet. Another process may commit them.
        commits: whether this process commits.
    """

    def __init__(self, repo_id, world=1, private=None):
        from huggingface_hub import HfApi

        self.repo_id, self.api, self.commits = repo_id, HfApi(), True
        self.lag = max(BATCH_SECONDS, 3600 / COMMITS_AN_HOUR * world)
        self.uploaded, self.committed = [], time.monotonic()
        with self._errors():
            url = patient(self.api.create_repo, repo_id, repo_type="dataset", private=private, exist_ok=True)
        self.repo_id, self.url = url.repo_id, str(url)

    def __str__(self):
        return f"hf://datasets/{self.repo_id}"

    @property
    def hub(self):
        return self

    def _errors(self):
        return hub_errors(f"the upload to {self.repo_id}")

    def prepare(self):
        pass

    def shards(self):
        from huggingface_hub import RepoFile
        from huggingface_hub.errors import EntryNotFoundError

        with self._errors():
            try:
                found = self.api.list_repo_tree(self.repo_id, "data", recursive=True, repo_type="dataset")
                return {file.path: file.size for file in found if isinstance(file, RepoFile)}
            except EntryNotFoundError:
                return {}

    @contextmanager
    def place(self, name):
        with scratch_folder() as folder:
            path = folder / PurePosixPath(name).name
            yield path
            self.upload(name, path)

    def upload(self, name, path):
        """Upload a file, and commit if it is time to."""
        from huggingface_hub import CommitOperationAdd

        shard = CommitOperationAdd(name, path)
        with self._errors():
            persistent(self.api.preupload_lfs_files, self.repo_id, [shard], repo_type="dataset")
        self.take([shard])

    def take(self, uploaded):
        """Take over shards that are uploaded already, and commit if it is time to."""
        self.uploaded += uploaded
        if self.commits and time.monotonic() - self.committed > self.lag:
            self.flush()

    def open(self, name):
        from huggingface_hub import HfFileSystem

        with self._errors():
            file = HfFileSystem().open(f"datasets/{self.repo_id}/{name}", "rb", cache_type="none")
        return _Stored(file, self._errors)

    def read(self, name):
        from huggingface_hub import HfFileSystem

        with self._errors():
            try:
                return HfFileSystem(skip_instance_cache=True).cat_file(f"datasets/{self.repo_id}/{name}")
            except FileNotFoundError:
                return None

    def stored(self, text):
        return super().stored(text).replace(THIS_REPOSITORY.encode(), self.repo_id.encode())

    def write(self, files):
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        with self._errors():
            there = self.api.list_repo_files(self.repo_id, repo_type="dataset") if None in files.values() else ()
        changes = [CommitOperationAdd(name, self.stored(text)) for name, text in files.items() if text is not None]
        changes += [CommitOperationDelete(name) for name, text in files.items() if text is None and name in there]
        self._commit(changes, "Card and totals")

    def flush(self):
        if self.uploaded and self.commits:
            self._commit(self.uploaded, f"Add {len(self.uploaded)} shards")
            self.uploaded, self.committed = [], time.monotonic()

    def _commit(self, changes, message):
        with self._errors():
            persistent(self.api.create_commit, self.repo_id, changes, commit_message=message, repo_type="dataset")


class MirroredTarget(FolderTarget):
    """A folder whose shards are also uploaded to a data set on the Hub."""

    def __init__(self, folder, hub):
        super().__init__(folder)
        self.hub, self.lag = hub, hub.lag

    @contextmanager
    def place(self, name):
        yield self.folder / name
        self.hub.upload(name, self.folder / name)

    def replace(self, texts):
        left = super().replace(texts)
        there = self.hub.shards()
        for name in self.shards().keys() - there.keys():  # shards from before the data set was to be uploaded
            self.hub.upload(name, self.folder / name)
        self.hub.flush()
        # what lies here now, so also an edited card; if it is empty or can't be read, the Hub's stays
        here = {name: self.read(name) for name in texts}
        return left + self.hub.replace({name: content for name, content in here.items() if content != b""})

    def flush(self):
        self.hub.flush()
