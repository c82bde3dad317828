"""Where visitors' photos are while they are worked on: a folder of this process, emptied of what is old.

gradio deletes what it has a note of. A killed process has no notes, and an upload that breaks off is in none.
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
"""Seconds between two rounds that delete photos, and the age from which they are: gone within the hour."""


@contextmanager
def photo_folder():
    """Make the folder that gradio keeps files in, and delete what killed processes of the app left behind."""
    with process_folder(tempfile.gettempdir(), PREFIX) as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        yield folder


def keep_clean(demo, folder):
    """Delete old photos of a running app from time to time, in the background."""

    def run():
        while True:
            time.sleep(CLEAN_EVERY)
            clean(demo, folder)

    threading.Thread(target=run, name="maskhub-clean", daemon=True).start()


def clean(demo, folder, now=None):
    """Delete the files in ``folder`` that are older than :data:`KEEP`, except those of the app itself (examples).

    Args:
        demo: ``gr.Blocks``. folder: of its files. now: seconds since 1970.
    """
    now = now or time.time()
    kept = {str(path) for block in demo.blocks.values() for path in getattr(block, "keep_in_cache", ())}
    for path in sorted(Path(folder).rglob("*"), reverse=True):  # what is within a folder comes before it
        with suppress(OSError):  # deleted meanwhile, or a folder that is not empty
            if now - path.lstat().st_mtime <= KEEP or str(path) in kept:
                continue
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
                for noted in demo.temp_file_sets:
                    noted.discard(str(path))
