"""A cache of bytes by key in an SQLite file, which several processes can use at once."""

import os
import sqlite3
import warnings
from contextlib import suppress
from pathlib import Path

__all__ = ["BlobCache"]


class BlobCache:
    """The base of caches: a table with ``columns``, in the file ``path``, created if it is missing; None: no cache. If
    the file can't be used, a warning says ``otherwise``, what happens each time instead, and the cache stays empty."""

    table, columns, otherwise = "blobs", ("key", "value"), "this is computed again each time"

    def __init__(self, path=None):
        self.path = None if path is None else Path(path)
        self._connections = {}

    def get(self, key):
        """The bytes stored for a key, or None."""
        connection = self._connection()
        if connection is not None:
            with suppress(sqlite3.Error):
                key_column, value = self.columns
                row = connection.execute(f"SELECT {value} FROM {self.table} WHERE {key_column} = ?", (key,)).fetchone()
                return None if row is None else row[0]
        return None

    def put(self, rows):
        """Store pairs of key and bytes."""
        connection = self._connection()
        if connection is not None:
            # another process may lock the file for longer than the timeout: then these are computed again
            with suppress(sqlite3.Error), connection:
                connection.executemany(f"INSERT OR REPLACE INTO {self.table} VALUES (?, ?)", rows)

    def __len__(self):
        connection = self._connection()
        return connection.execute(f"SELECT count(*) FROM {self.table}").fetchone()[0] if connection else 0

    def __getstate__(self):
        return self.__dict__ | {"_connections": {}}

    def close(self):
        """Close the file in this process."""
        connection = self._connections.pop(os.getpid(), None)
        if connection is not None:
            connection.close()

    def _connection(self):
        """The connection of this process; SQLite's can't be used after a fork."""
        process = os.getpid()
        if process not in self._connections and self.path is not None:
            self._connections = {process: self._opened()}
        return self._connections.get(process)

    def _opened(self):
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=20, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            key, value = self.columns
            columns = f"{key} BLOB PRIMARY KEY, {value} BLOB"
            connection.execute(f"CREATE TABLE IF NOT EXISTS {self.table} ({columns}) WITHOUT ROWID")
            return connection
        except (OSError, sqlite3.Error) as error:
            warnings.warn(f"{self.otherwise}: {self.path} can't be used ({error})", stacklevel=2)
            return None
