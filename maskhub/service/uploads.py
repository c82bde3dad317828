"""Add untrusted uploads to a dataset: all pictures are decoded and re-encoded.

    report = receive(Home(), ["faces.zip", "one.jpg"], "my-faces", "train", attributes={"tone": "light"}, key=key)
    report.added, report.refused        # 12, [("notes.txt", "it is not a picture ..."), ...]

Refused files are listed with the reason, and the others are added. ``metadata.csv`` or ``metadata.jsonl`` in a zip (or
among the files) has the columns of each picture by ``file_name``; folders named ``train`` and ``test`` in it are the
splits.
"""

import csv
import io
import json
import re
import secrets
import unicodedata
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from maskhub.data.folder import original_name
from maskhub.data.tables import METADATA
from maskhub.errors import ConfigError, MaskHubError, PhotoError, WriteError, first_line
from maskhub.faces import align
from maskhub.faces.detect import detect
from maskhub.faces.photo import PHOTO_SUFFIXES, open_photo, split_alpha
from maskhub.files import prepare_file
from maskhub.image_file import KINDS, encoded, open_image
from maskhub.service.datasets import SPLITS, Datasets
from maskhub.service.home import check_dataset_name, process_folder
from maskhub.service.limits import MB, Limits
from maskhub.service.zips import check_entry, opened_zip, read_entry

__all__ = ["PHOTO", "Report", "cut_face", "receive"]

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")
PHOTO, CUT = 64, 256
"""Side from which a picture can be a photo of a face, and side of a face that was cut out, in pixels."""


@dataclass
class Report:
    """The result of an upload: the number of pictures added to each split, the refused files with reasons, and the
    photos in which no face was found. Pictures below :data:`PHOTO` are not examined."""

    added: dict = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    refused: list = field(default_factory=list)
    faceless: list = field(default_factory=list)

    @property
    def count(self):
        return sum(self.added.values())


def receive(home, files, dataset, split="train", attributes=None, key="", limits=None, cut=False):
    """Add pictures, zips and metadata files to a dataset, which is created if it is missing and a picture is accepted.

    Nothing is added with an error: ConfigError for an invalid name, split or attribute, too many files, or no space
    left, OwnerError if the dataset belongs to somebody else, WriteError if the disk is full.

    Args:
        home: a :class:`~maskhub.service.home.Home`.
        split: ``"train"`` or ``"test"``, for pictures whose zip does not set it.
        attributes: columns of all pictures; metadata of single pictures overrides them.
        key, limits: key of the uploader, and :class:`~maskhub.service.limits.Limits`.
        cut: cut the largest face out of each photo, upright and aligned; photos without a face are kept whole.
    """
    limits, datasets, name = limits or Limits(), Datasets(home), check_dataset_name(dataset)
    if split not in SPLITS:
        raise ConfigError(f"the split is {split!r}; it must be train or test.")
    if not files:
        raise ConfigError("there is no file yet: choose pictures or a zip.")
    if len(files) > limits.files:
        raise ConfigError(f"these are {len(files):,} files; at most {limits.files:,} can be uploaded at once.")
    there = datasets.check_owner(name, key)
    if datasets.bytes() > limits.total:
        raise ConfigError("there is no more room for pictures: delete a dataset first.")
    room = limits.dataset - (sum(there.counts.values()) if there else 0)
    upload = _Upload(limits, split, _columns(attributes or {}, limits, "an attribute"), room, cut)
    # on the disk of the datasets, so that files can be moved
    with process_folder(home.root, ".incoming-") as folder:
        upload.folder = folder
        upload.loose([Path(path) for path in files])
        if any(upload.staged.values()):
            datasets.take(name, upload.staged, key)
    upload.report.added = {part: len(pictures) for part, pictures in upload.staged.items()}
    return upload.report


class _Upload:
    """The pictures of one upload, ``staged`` in a ``folder`` until all of them are added."""

    def __init__(self, limits, split, attributes, room, cut):
        self.limits, self.split, self.attributes, self.room, self.cut = limits, split, attributes, room, cut
        self.report, self.staged = Report(), {part: [] for part in SPLITS}
        self.folder, self.text = None, 0

    def loose(self, paths):
        """Stage the uploaded files."""
        tables = {}
        for path in paths:
            if path.name in METADATA:
                with self._refusing(path.name), open(path, "rb") as file:
                    tables |= self._metadata(path.name, file)
        for path in paths:
            with self._refusing(path.name):
                if path.name in METADATA:
                    continue
                self.limits.check_size(path.stat().st_size)
                if path.suffix.lower() == ".zip":
                    with opened_zip(path, self.limits) as opened:
                        self._zip(*opened)
                else:
                    self._picture(path.name, path.read_bytes(), tables.get(path.name, {}), self.split)

    def _zip(self, archive, entries):
        good, tables = [], {}
        for entry in entries:
            with self._refusing(_shown(entry.filename)):
                check_entry(entry, self.limits)
                if PurePosixPath(entry.filename).name in METADATA:
                    with archive.open(entry) as file:
                        found = self._metadata(entry.filename, file)
                    home = PurePosixPath(entry.filename).parent
                    tables |= {str(home / file): columns for file, columns in found.items()}
                else:
                    good.append(entry)
        folders = {PurePosixPath(entry.filename).parent.name for entry in good} - {"", *SPLITS}
        for entry in good:
            with self._refusing(entry.filename):
                place = PurePosixPath(entry.filename)
                # as in imagefolder: without metadata, folders are labels
                label = {"label": place.parent.name} if not tables and len(folders) > 1 else {}
                label = label if place.parent.name in folders else {}
                columns = tables.get(str(place), _columns(label, self.limits, "a folder"))
                splits = [part for part in place.parts[:-1] if part in SPLITS]
                data = read_entry(archive, entry, self.limits)
                self._picture(entry.filename, data, columns, (splits or [self.split])[-1])

    def _picture(self, name, data, columns, split):
        suffix = PurePosixPath(name.lower()).suffix
        if suffix in ARCHIVES:
            raise PhotoError("it is an archive: nested archives are not opened.")
        if suffix not in PHOTO_SUFFIXES:
            raise PhotoError(f"its name is not that of a picture ({', '.join(sorted(PHOTO_SUFFIXES))}).")
        original = original_name({}, name) or "picture"
        if len(original) > self.limits.name:
            raise PhotoError(f"its name has more than {self.limits.name} characters.")
        if sum(map(len, self.staged.values())) >= self.room:
            raise PhotoError(f"the dataset is full: it holds at most {self.limits.dataset:,} pictures.")
        image, faces = _decoded(data, self.limits, self.cut)
        if faces == 0:
            self.report.faceless.append(_shown(name))
        columns = self.attributes | columns
        # a column can set the split like a folder
        split = columns["split"] if columns.get("split") in SPLITS else split
        made = prepare_file(self.folder / f"{secrets.token_hex(8)}.png", encoded(image))
        kept = {key: value for key, value in columns.items() if key != "split"}
        self.staged[split].append((made.temporary, original, kept))

    def _metadata(self, name, file):
        """File name → columns, read line by line."""
        lines = self._lines(io.TextIOWrapper(file, "utf-8-sig", newline=""))
        tables = {}
        try:
            rows = (
                csv.DictReader(lines) if name.endswith(".csv") else (json.loads(line) for line in lines if line.strip())
            )
            for row in rows:
                if "file_name" not in row:
                    raise PhotoError("it has no column file_name.")
                file_name = str(PurePosixPath(str(row.pop("file_name")).replace("\\", "/")))
                # skip values beyond the last column
                tables[file_name] = _columns({k: v for k, v in row.items() if k is not None}, self.limits, "a column")
        except (ValueError, csv.Error, TypeError, AttributeError, RecursionError) as error:
            raise PhotoError(f"it can't be read as metadata ({first_line(error)[:200]}).") from error
        if not tables:
            raise PhotoError("it has no rows.")
        return tables

    def _lines(self, file):
        """The lines of a text file within the limits of one line and of an upload's whole metadata."""
        while line := file.readline(self.limits.line + 1):
            self.text += len(line)
            if len(line) > self.limits.line:
                raise PhotoError(f"it has a line longer than {self.limits.line // 1024} KB.")
            if self.text > self.limits.text:
                raise PhotoError(
                    f"it is too long: at most {self.limits.text // MB} MB of metadata are allowed at once."
                )
            yield line

    @contextmanager
    def _refusing(self, name):
        try:
            yield
        except WriteError:  # no space: the other files would fail too
            raise
        except MaskHubError as error:
            self.report.refused.append((_shown(name), str(error)))
        except Exception as error:  # decoders raise all kinds of errors: zlib.error, lzma.LZMAError, struct.error, ...
            self.report.refused.append((_shown(name), f"it is damaged ({first_line(error)[:200]})."))


def cut_face(pixels, face):
    """A detected face of a photo, upright and aligned as the networks need it: uint8 RGB :data:`CUT`×:data:`CUT`×3."""
    return align.crop(pixels, align.alignment(face, CUT), CUT)


def _decoded(data, limits, cut):
    """Decode a picture, whatever its name: RGB, at most ``limits.side`` a side; and how many faces it shows, None if
    that is not known. With ``cut`` the picture is the largest face."""
    file = io.BytesIO(data)
    file.name = "it"
    try:
        with open_image(file) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise PhotoError(f"it has more than {limits.pixels // 1_000_000} megapixels.") from error
    except PhotoError:  # its codec is not installed
        raise
    except Exception as error:  # decoders of broken files raise all kinds of errors
        raise PhotoError(f"it is not a picture, or a broken one ({KINDS}).") from error
    if width * height > limits.pixels:
        raise PhotoError(f"it is {width}×{height}: more than {limits.pixels // 1_000_000} megapixels.")
    image, faces = split_alpha(open_photo(file))[0], None
    if min(image.size) >= PHOTO:
        pixels = np.asarray(image)
        found = detect(pixels)
        faces = len(found)
        if cut and found:
            image = Image.fromarray(cut_face(pixels, found[0]))
    if max(image.size) > limits.side:
        image.thumbnail((limits.side, limits.side), Image.Resampling.LANCZOS)
    clean = Image.new("RGB", image.size)  # only the pixels
    clean.paste(image)
    return clean, faces


def _columns(row, limits, what):
    columns = {}
    if len(row) > limits.columns:
        raise ConfigError(f"the metadata has {len(row)} columns; at most {limits.columns} are allowed.")
    for key, value in row.items():
        key, value = str(key).strip(), "" if value is None else str(value).strip()
        if not re.fullmatch(r"[^\W\d][\w -]{0,39}", key) or key == "file_name":
            raise ConfigError(f"{what} can't be called {key[:40]!r}: use up to 40 letters, digits, '-' and '_'.")
        # printable text, nearly all there is, has no control characters and is known in a fraction of the time
        plain = value.isprintable() or all(unicodedata.category(letter) != "Cc" for letter in value)
        if len(value) > limits.cell or not plain:
            raise ConfigError(f"the value of {key} is longer than {limits.cell} characters, or not plain text.")
        if value:
            columns[key] = value
    return columns


def _shown(name):
    """A name to show: without control characters, and shortened."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in str(name))
    return clean if len(clean) <= 80 else f"{clean[:40]}…{clean[-38:]}"
