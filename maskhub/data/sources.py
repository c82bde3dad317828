"""Sources of photos: a spec is a folder, a Hub dataset or one of the built-in sets.

    faces/                                              a folder, flat or with sub-folders (imagefolder)
    pairs[:split][#masked]                              a column of a folder of parquet shards (maskhub dataset build)
    user/dataset[/config][:split][@revision][#column]   a dataset on the Hub, streamed
    builtin:portraits[/masked][:split]                  161 photos, see maskhub.data.portraits
    builtin:pixel-faces[/...][:split]                   drawn faces, see maskhub.data.pixel_faces

All are read by *position*: a seed defines an endless sequence of samples 0, 1, 2, ..., shuffled in each pass. A
process, a worker or a resumed run only reads its positions, so no state has to be saved and no sample is lost or
repeated.
"""

from copy import copy
from pathlib import Path, PurePosixPath

import numpy as np

from maskhub.data.folder import chosen_few, is_held_out, is_photo, list_files, no_photo
from maskhub.data.folder_rows import FolderRows
from maskhub.data.hub_source import BuiltSource, HubSource, has_shards
from maskhub.data.pixel_faces import PixelSource
from maskhub.data.portraits import FOLDER, are_portraits, portraits
from maskhub.data.source import PhotoSource
from maskhub.errors import PhotoError, SourceError
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.source_spec import HUB_SPEC, shard_folder

__all__ = ["BuiltSource", "FolderSource", "HubSource", "PortraitSource", "is_held_out", "open_source"]


def open_source(spec, holdout=False):
    """Open the source that a spec names: a folder, ``folder[:split][#column]`` of parquet shards,
    ``user/dataset[/config][:split][@revision][#column]``, or ``builtin:portraits`` or ``builtin:pixel-faces`` with
    their options. Where no split is named, it is ``train`` or the only one there is. ``holdout`` leaves out the photos
    of :func:`is_held_out`. SourceError if there is no such source, no photo in it, or no such split."""
    if not spec:
        raise SourceError("a source is empty: give a folder of photos or a Hub dataset such as user/dataset:train.")
    if are_portraits(spec):
        return PortraitSource(spec, holdout)
    if spec.startswith("builtin:"):
        return PixelSource(spec, holdout)
    folder = Path(spec).expanduser()
    if folder.is_dir():
        return BuiltSource(folder, None, holdout) if has_shards(folder) else FolderSource(folder, holdout)
    if shards := shard_folder(spec):
        place, split, column = shards
        return BuiltSource(Path(place).expanduser(), column, holdout, split)
    match = HUB_SPEC.fullmatch(spec)
    if folder.exists() or not match:
        what = "is a file, not a folder" if folder.exists() else "is neither a folder here nor user/dataset on the Hub"
        raise SourceError(
            f"the source {spec} {what}. Give a folder of photos, folder[:split][#column] of parquet shards, "
            "user/dataset[/config][:split][@revision][#column] or builtin:portraits."
        )
    return HubSource(match["id"], match["split"], match["revision"], match["column"], holdout, config=match["config"])


class FolderSource(PhotoSource):
    """The photos of a folder and its sub-folders, sorted by path; ``holdout`` leaves out those of
    :func:`is_held_out`. SourceError if no photo is left."""

    def __init__(self, folder, holdout=False):
        self.folder = Path(folder)
        self.spec = str(folder)
        if holdout:
            photos = {row.name: Path(row.photo) for row in FolderRows(folder) if not row.held_out}
        else:
            photos = {name: path for name, path in list_files(self.folder).items() if is_photo(name)}
        self.names, self.paths, self.size = list(photos), list(photos.values()), len(photos)
        if not photos:
            raise SourceError(no_photo(folder, " once the held-out tenth is left out" if holdout else ""))

    def walk(self, positions, seed):
        order, order_of = None, None
        for position in positions:
            epoch, place = divmod(position, self.size)
            if epoch != order_of:
                order, order_of = np.random.default_rng((seed, epoch)).permutation(self.size), epoch
            yield position, self._first_good(order, place)

    def identity(self):
        return [PurePosixPath(name).with_suffix("").as_posix() for name in self.names]

    def limited(self, count):
        few, other = chosen_few(self.identity(), count), copy(self)
        other.names, other.paths = [self.names[place] for place in few], [self.paths[place] for place in few]
        other.size = len(few)
        return other

    def _first_good(self, order, place):
        for step in range(len(order)):
            try:
                face = order[(place + step) % len(order)]
                return (self._open(face), self.partner._open(face)) if self.partner else self._open(face)
            except PhotoError as error:
                self.warn(f"left out of training: {error}")
        raise SourceError(f"no photo of {self.spec} can be read.")

    def _open(self, place):
        return split_alpha(open_photo(self.paths[place]))[0]


class PortraitSource(FolderSource):
    """The built-in portraits of a spec as a source; SourceError if there is no such spec or no photo is left."""

    def __init__(self, spec, holdout=False):
        chosen = {portrait.name: portrait for portrait in portraits(spec)}
        super().__init__(FOLDER, holdout)
        self.names = [name for name in self.names if name in chosen]
        self.paths = [chosen[name] for name in self.names]
        self.spec, self.folder, self.size = spec, None, len(self.names)
        if not self.names:
            raise SourceError(f"{spec} without the held-out tenth holds no photo.")

    def _open(self, place):
        return self.paths[place].image
