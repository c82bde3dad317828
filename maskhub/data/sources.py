"""Sources of photos: one spec string for a folder, a Hub dataset or our own drawn faces.

    faces/                                      a folder, flat or with sub-folders (imagefolder)
    pairs/#masked                               an image column of a folder of parquet shards (maskhub dataset build)
    user/dataset[:split][@revision][#column]    a dataset on the Hub, streamed
    builtin:pixel-faces[/...][:split]           drawn faces, see maskhub.data.pixel_faces

All are walked by *position*: the endless sequence of samples 0, 1, 2, ... that one seed defines, a new order each
pass. Whoever needs a share (a process, a worker) or a later start (a resumed run) walks only those positions, so that
no state has to be saved and no sample is lost or seen twice.
"""

import atexit
import hashlib
import io
import itertools
import re
import warnings
import weakref
from collections import deque
from pathlib import Path

import numpy as np

from maskhub.data.pixel_faces import PixelSource
from maskhub.errors import PhotoError, SourceError, first_line
from maskhub.faces.photo import PHOTO_SUFFIXES, open_photo, split_alpha
from maskhub.hub_errors import hub_errors

__all__ = ["BuiltSource", "FolderSource", "HubSource", "is_held_out", "open_source"]

_HUB_SPEC = re.compile(
    r"(?P<id>[\w-][\w.-]*/[\w-][\w.-]*)(?::(?P<split>[\w.-]+))?(?:@(?P<revision>[^#\s]+))?(?:#(?P<column>.+))?"
)


_READING = weakref.WeakSet()
"""Half-read shards: pyarrow complains about those that are still open when the interpreter falls apart."""


@atexit.register
def _stop_reading():
    for shard in list(_READING):
        shard.close()


def is_held_out(file_name):
    """Whether a photo belongs to the tenth that is never trained on.

    The rule: the SHA-1 of the file name without its folder, taken as an integer, is divisible by 10.
    """
    name = file_name.replace("\\", "/").rsplit("/", 1)[-1]
    return int(hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest(), 16) % 10 == 0


def open_source(spec, holdout=False):
    """Open the source that a spec names.

    Args:
        spec: a folder, ``folder#column``, ``user/dataset[:split][@revision][#column]``, or ``builtin:pixel-faces``
            with its options.
        holdout: leave out the photos of :func:`is_held_out`.

    Raises:
        SourceError: no such folder or dataset, or no photo in it.
    """
    if not spec:
        raise SourceError("a source is empty: give a folder of photos or a Hub dataset such as user/dataset:train.")
    if spec.startswith("builtin:"):
        return PixelSource(spec, is_held_out if holdout else None)
    folder = Path(spec).expanduser()
    if folder.is_dir() and not any(folder.glob("**/*.parquet")):
        return FolderSource(folder, holdout)
    built, _, column = spec.partition("#")
    if Path(built).expanduser().is_dir():
        return BuiltSource(built, column or None, holdout)
    match = _HUB_SPEC.fullmatch(spec)
    if folder.exists() or not match:
        what = "is a file, not a folder" if folder.exists() else "is neither a folder here nor user/dataset on the Hub"
        raise SourceError(
            f"the source {spec} {what}. Give a folder of photos, user/dataset[:split][@revision][#column] "
            "or builtin:pixel-faces."
        )
    return HubSource(match["id"], match["split"] or "train", match["revision"], match["column"], holdout)


class FolderSource:
    """The photos of a folder and its sub-folders, sorted by path."""

    def __init__(self, folder, holdout=False):
        self.folder = Path(folder)
        self.spec = str(folder)
        paths = sorted(
            p for p in self.folder.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES and not _hidden(p, self.folder)
        )
        self.paths = [p for p in paths if not (holdout and is_held_out(p.name))]
        if not self.paths:
            rest = " once the held-out tenth is left out" if paths else ""
            raise SourceError(
                f"the folder {folder} holds no photo{rest} (looked for {', '.join(sorted(PHOTO_SUFFIXES))})."
            )

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

    Each pass takes the shards in an order drawn anew, the rows of ``mixed`` shards in turns, and shuffles them within
    blocks of ``block`` rows, which are held undecoded in memory. Images may lie in the rows (parquet, webdataset) or in
    files of their own (imagefolder), which are fetched one by one.

    A walk that starts late, or takes only a share, still reads the rows that it passes over (of whole passes only the
    first, and no files of their own), so each process and worker streams the rows for itself.

    Args:
        dataset: ``user/name``.
        split, revision: of the dataset.
        column: the image column; may be left out where there is one.
        holdout: leave out the photos of :func:`is_held_out`.
        block: rows.
        mixed: shards.

    Raises:
        SourceError: no such dataset, split or revision, no right to it, no network, or no single image column.
    """

    def __init__(self, dataset, split="train", revision=None, column=None, holdout=False, block=512, mixed=4):
        self.dataset, self.split, self.revision, self.holdout = dataset, split, revision, holdout
        self.block, self.mixed = block, mixed
        self.spec = f"{dataset}:{split}" + (f"@{revision}" if revision else "") + (f"#{column}" if column else "")
        rows = self._open()
        self.column = self._image_column(rows, column)
        # undecoded first: datasets has set up its own decoding threads, which only `decode` takes out again
        self._rows = rows.decode(False).select_columns([self.column])
        self._size = None  # rows of a pass, known once one has been read

    def _open(self):
        from datasets import load_dataset
        from datasets.data_files import EmptyDatasetError
        from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError

        what = f"the Hub dataset {self.spec}"
        with self._hub_errors():
            try:
                return load_dataset(self.dataset, split=self.split, revision=self.revision, streaming=True)
            except DatasetNotFoundError as error:
                if "Revision" in str(error):
                    raise SourceError(f"{what} has no such revision (branch, tag or commit).") from error
                raise SourceError(
                    f"no folder and no Hub dataset is called {self.dataset}, or it is private or gated: "
                    "check the name, or log in with `hf auth login`."
                ) from error
            except (EmptyDatasetError, DataFilesNotFoundError) as error:
                raise SourceError(f"{what} holds no photo.") from error
            except ValueError as error:
                raise SourceError(f"{what} can't be streamed: {first_line(error)}") from error

    def _image_column(self, rows, column):
        from datasets import Image

        images = [name for name, feature in (rows.features or {}).items() if isinstance(feature, Image)]
        if column is not None and column not in images:
            names = ", ".join(map(repr, images)) or "none"
            raise SourceError(f"the dataset {self.spec} has no image column {column!r}; it has {names}.")
        if column is None and len(images) != 1:
            what = f"{len(images)} image columns ({', '.join(images)})" if images else "no image column"
            how = f": name one, as in {self.dataset}:{self.split}#{images[0]}." if images else "."
            raise SourceError(f"the dataset {self.spec} has {what}{how}")
        return column or images[0]

    def _hub_errors(self):
        return hub_errors(f"streaming {self.spec} from the Hub", SourceError)

    def walk(self, positions, seed):
        """As :meth:`FolderSource.walk`; rows before the first position are passed over undecoded."""
        positions = iter(positions)
        position = next(positions, None)
        epoch = 0
        while position is not None:
            if self._size:  # whole passes are stepped over without reading
                epoch = position // self._size
            start = epoch * (self._size or 0)  # position of the pass's first row
            for block in self._blocks(seed, epoch):
                order = np.random.default_rng((seed, epoch, start)).permutation(len(block))
                while position is not None and position < start + len(block):
                    yield position, self._first_good(block, order, position - start, seed, epoch)
                    position = next(positions, None)
                start += len(block)
                if position is None:
                    return
            self._size = self._size or start
            if not self._size:
                rest = " once the held-out tenth is left out" if self.holdout else ""
                raise SourceError(f"the dataset {self.spec} holds no photo{rest}.")

    def _blocks(self, seed, epoch):
        """Lists of ``block`` undecoded images, the last one shorter."""
        block = []
        for cell in self._cells(np.random.default_rng((seed, epoch)).permutation(self._rows.num_shards)):
            if cell is None or (self.holdout and is_held_out(self._file_name(cell))):
                continue
            block.append(cell)
            if len(block) == self.block:
                yield block
                block = []
        if block:
            yield block

    def _cells(self, order):
        """The rows of the shards, ``mixed`` at a time in turns."""
        waiting = map(self._shard, order)
        reading = deque(itertools.islice(waiting, self.mixed))
        while reading:
            shard = reading.popleft()
            with self._hub_errors():
                try:
                    cell = next(shard, self)  # self stands for the end: a cell may be None
                except ValueError as error:  # pyarrow's word for a broken file
                    what = f"a file of the Hub dataset {self.spec} is damaged"
                    raise SourceError(f"{what}: {first_line(error)}.") from error
            if cell is not self:
                reading.append(shard)
                yield cell
            else:
                reading.extend(itertools.islice(waiting, 1))

    def _shard(self, index):
        # `iter` and not a plain loop, which would hand each worker of a DataLoader another share of the rows
        batches = self._rows.shard(self._rows.num_shards, int(index)).iter(batch_size=32)
        cells = (cell for batch in batches for cell in batch[self.column])
        _READING.add(batches)
        return cells

    def _file_name(self, cell):
        if not cell.get("path"):
            raise SourceError(
                f"the dataset {self.spec} does not keep its photos' file names, so the held-out tenth is not known: "
                "train without --holdout, or on a split that leaves it out."
            )
        return cell["path"].split("::")[0]  # zip://photo.png::hf://datasets/...

    def _first_good(self, block, order, place, seed, epoch):
        """The photo at a place of a block, or the next that can be read: the same one wherever the walk began."""
        turns = (block[order[(place + step) % len(block)]] for step in range(len(block)))
        rest = itertools.chain.from_iterable(self._blocks(seed, epoch))  # where a whole block is broken
        for cell in itertools.chain(turns, rest):
            try:
                return split_alpha(open_photo(io.BytesIO(self._bytes(cell))))[0]
            except PhotoError as error:
                warnings.warn(f"left out of training: {cell.get('path')}: {error}", stacklevel=2)
        raise SourceError(f"no photo of {self.spec} can be read.")

    def _bytes(self, cell):
        if cell.get("bytes") is not None:
            return cell["bytes"]
        import fsspec

        with self._hub_errors(), fsspec.open(cell["path"], "rb") as file:
            return file.read()


class BuiltSource(HubSource):
    """A column of a folder of parquet shards, such as ``maskhub dataset build`` makes; read as a Hub dataset is.

    Args:
        folder, column, holdout: as there.

    Raises:
        SourceError: no shard in the folder, or no single image column.
    """

    def __init__(self, folder, column=None, holdout=False):
        self.folder = Path(folder).expanduser()
        if not any(self.folder.glob("**/*.parquet")):
            raise SourceError(f"{folder} holds no parquet shard, so it has no column {column!r}: leave #{column} out.")
        super().__init__(str(self.folder), column=column, holdout=holdout)
        self.spec = str(folder) + (f"#{column}" if column else "")


def _hidden(path, root):
    return any(part.startswith(".") for part in path.relative_to(root).parts)
