"""Sources of photos: one spec string for a folder or a Hub dataset.

    faces/                                      a folder, flat or with sub-folders (imagefolder)
    user/dataset[:split][@revision][#column]    a dataset on the Hub, streamed

Both are walked by *position*: the endless sequence of samples 0, 1, 2, ... that one seed defines, a new order each
pass. Whoever needs a share (a process, a worker) or a later start (a resumed run) walks only those positions, so that
no state has to be saved and no sample is lost or seen twice.
"""

import hashlib
import io
import re
import warnings
from pathlib import Path

import numpy as np

from maskhub.errors import PhotoError, SourceError
from maskhub.faces.photo import PHOTO_SUFFIXES, open_photo, split_alpha

__all__ = ["FolderSource", "HubSource", "is_held_out", "open_source"]

_HUB_SPEC = re.compile(
    r"(?P<id>[\w-][\w.-]*/[\w-][\w.-]*)(?::(?P<split>[\w.-]+))?(?:@(?P<revision>[^#\s]+))?(?:#(?P<column>.+))?"
)


def is_held_out(file_name):
    """Whether a photo belongs to the tenth that is never trained on.

    The rule: the SHA-1 of the file name without its folder, taken as an integer, is divisible by 10.
    """
    name = file_name.replace("\\", "/").rsplit("/", 1)[-1]
    return int(hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest(), 16) % 10 == 0


def open_source(spec, holdout=False):
    """Open the source that a spec names.

    Args:
        spec: a folder, or ``user/dataset[:split][@revision][#column]``.
        holdout: leave out the photos of :func:`is_held_out`.

    Raises:
        SourceError: no such folder or dataset, or no photo in it.
    """
    if not spec:
        raise SourceError("a source is empty: give a folder of photos or a Hub dataset such as user/dataset:train.")
    folder = Path(spec).expanduser()
    if folder.is_dir():
        return FolderSource(folder, holdout)
    match = _HUB_SPEC.fullmatch(spec)
    if folder.exists() or not match:
        what = "is a file, not a folder" if folder.exists() else "is neither a folder here nor user/dataset on the Hub"
        raise SourceError(f"the source {spec} {what}. Give a folder of photos or user/dataset[:split][@revision][#column].")
    return HubSource(match["id"], match["split"] or "train", match["revision"], match["column"], holdout)


class FolderSource:
    """The photos of a folder and its sub-folders, sorted by path."""

    def __init__(self, folder, holdout=False):
        self.folder = Path(folder)
        self.spec = str(folder)
        paths = sorted(p for p in self.folder.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES and not _hidden(p, self.folder))
        self.paths = [p for p in paths if not (holdout and is_held_out(p.name))]
        if not self.paths:
            rest = " once the held-out tenth is left out" if paths else ""
            raise SourceError(f"the folder {folder} holds no photo{rest} (looked for {', '.join(sorted(PHOTO_SUFFIXES))}).")

    def __len__(self):
        return len(self.paths)

    def walk(self, positions, seed):
        """Yield ``(position, photo)`` for ascending sample positions; photos are RGB ``PIL.Image``.

        A file that can't be read is named in a warning and replaced by the next one that can.
        """
        order, order_of = None, None
        for position in positions:
            epoch, place = divmod(position, len(self))
            if epoch != order_of:
                order, order_of = np.random.default_rng((seed, epoch)).permutation(len(self)), epoch
            yield position, self._first_good(order, place)

    def _first_good(self, order, place):
        for step in range(len(order)):
            try:
                return split_alpha(open_photo(self.paths[order[(place + step) % len(order)]]))[0]
            except PhotoError as error:
                warnings.warn(f"left out of training: {error}", stacklevel=2)
        raise SourceError(f"no photo of {self.spec} can be read.")


class HubSource:
    """A dataset on the Hub, streamed: nothing is downloaded before it is needed, nothing is kept on disk.

    Shards come in an order drawn anew each pass; photos are mixed within blocks of ``block`` rows, which are held
    undecoded in memory.
    """

    def __init__(self, dataset, split="train", revision=None, column=None, holdout=False, block=512):
        self.dataset, self.split, self.revision, self.holdout, self.block = dataset, split, revision, holdout, block
        self.spec = f"{dataset}:{split}" + (f"@{revision}" if revision else "")
        self._rows = self._open()
        self.column = self._image_column(column)
        self._passes = {}  # rows that pass `holdout`, once a whole pass has counted them

    def _open(self):
        from datasets import load_dataset
        from datasets.exceptions import DatasetNotFoundError
        from huggingface_hub.errors import HfHubHTTPError

        try:
            return load_dataset(self.dataset, split=self.split, revision=self.revision, streaming=True)
        except DatasetNotFoundError as error:
            raise SourceError(
                f"no folder and no Hub dataset is called {self.dataset}"
                + (f" at revision {self.revision}" if self.revision else "")
                + " (or it is private: log in with `hf auth login`)."
            ) from error
        except (ConnectionError, HfHubHTTPError, OSError) as error:
            raise SourceError(f"the Hub dataset {self.dataset} can't be reached: {_line(error)}") from error
        except ValueError as error:
            raise SourceError(f"the Hub dataset {self.spec} can't be streamed: {_line(error)}") from error

    def _image_column(self, column):
        from datasets import Image

        features = self._rows.features or self._rows._resolve_features().features
        images = [name for name, feature in features.items() if isinstance(feature, Image)]
        if column is not None and column not in images:
            raise SourceError(
                f"the dataset {self.spec} has no image column {column!r}; it has {', '.join(map(repr, images)) or 'none'}."
            )
        if column is None and len(images) != 1:
            raise SourceError(
                f"the dataset {self.spec} has {len(images)} image columns ({', '.join(images) or 'none'}): "
                f"name one, as in {self.dataset}:{self.split}#{images[0] if images else 'image'}."
            )
        column = column or images[0]
        self._rows = self._rows.select_columns([column]).cast_column(column, Image(decode=False))
        return column

    def walk(self, positions, seed):
        """As :meth:`FolderSource.walk`; rows before the first position are passed over undecoded."""
        wanted = iter(positions)
        position = next(wanted, None)
        start, epoch = 0, 0  # position of the pass's first row
        while position is not None:
            count = self._passes.get(epoch - 1) if epoch else None
            if count and position >= start + count:  # whole passes are stepped over without reading
                skipped = (position - start) // count
                start, epoch = start + skipped * count, epoch + skipped
                self._passes[epoch - 1] = count
            rows, last_good = 0, None
            for block in self._blocks(seed, epoch):
                order = np.random.default_rng((seed, epoch, rows)).permutation(len(block))
                while position is not None and position < start + rows + len(block):
                    photo = self._decode(block[order[position - start - rows]])
                    last_good = photo or last_good or next(filter(None, map(self._decode, block)), None)
                    if last_good is not None:
                        yield position, last_good
                    position = next(wanted, None)
                rows += len(block)
                if position is None:
                    return
            if rows == 0 or (last_good is None and position < start + rows):
                raise SourceError(f"the dataset {self.spec} holds no photo that can be read.")
            self._passes[epoch] = rows
            start, epoch = start + rows, epoch + 1

    def _blocks(self, seed, epoch):
        block = []
        # a buffer of one shuffles nothing but the order of the shards
        for row in self._rows.shuffle(seed=(seed * 1_000_003 + epoch) % 2**31, buffer_size=1):
            cell = row[self.column]
            if cell is None or (self.holdout and is_held_out(cell.get("path") or "")):
                continue
            block.append(cell)
            if len(block) == self.block:
                yield block
                block = []
        if block:
            yield block

    def _decode(self, cell):
        try:
            return split_alpha(open_photo(io.BytesIO(cell["bytes"]) if cell["bytes"] else cell["path"]))[0]
        except PhotoError as error:
            warnings.warn(f"left out of training: {cell.get('path')}: {error}", stacklevel=2)
            return None


def _hidden(path, root):
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _line(error):
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
