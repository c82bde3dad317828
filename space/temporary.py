"""The temporary folder for visitors' photos, from which old files are deleted.

gradio deletes files that it has a record of. A killed process loses its records, and interrupted uploads have none.
"""

import os
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from maskhub.service.home import process_folder

__all__ = ["CLEAN_EVERY", "KEEP", "clean", "keep_clean", "photo_folder"]

PREFIX = "maskhub-app-"
CLEAN_EVERY, KEEP = 600, 3000
"""Seconds between two clean-ups, and the age at which photos are deleted, so that all are gone within an hour."""


@contextmanager
def photo_folder():
    """Create the folder for gradio's files, and delete those that killed processes of the app left behind."""
    with process_folder(tempfile.gettempdir(), PREFIX) as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        yield folder


def keep_clean(demo, folder):
    """Delete old photos of a running app periodically in the background."""

    def run():
        while True:
            time.sleep(CLEAN_EVERY)
            clean(demo, folder)

    threading.Thread(target=run, name="maskhub-clean", daemon=True).start()


def clean(demo, folder, now=None):
    """Delete files in ``folder``, of the ``gr.Blocks``, that are older than :data:`KEEP`, except the app's examples."""
    now = now or time.time()
    kept = {str(path) for block in demo.blocks.values() for path in getattr(block, "keep_in_cache", ())}
    for path in sorted(Path(folder).rglob("*"), reverse=True):  # files before their folders
        with suppress(OSError):  # already deleted, or a folder that is not empty
            if now - path.lstat().st_mtime <= KEEP or str(path) in kept:
                continue
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
                for noted in demo.temp_file_sets:
                    noted.discard(str(path))
