"""The specs of sources: what a text names, without opening it.

faces/unmasked                                      a folder
pairs[:split][#column]                              a folder of parquet shards
user/dataset[/config][:split][@revision][#column]   a dataset on the Hub
builtin:...                                         faces in the package
"""

import re
from pathlib import Path

__all__ = ["HUB_SPEC", "hub_dataset", "public_name", "shard_folder"]

HUB_SPEC = re.compile(
    r"(?P<id>[\w-][\w.-]*/[\w-][\w.-]*)(?:/(?P<config>[\w.-]+))?(?::(?P<split>[\w.-]+))?(?:@(?P<revision>[^#\s]+))?(?:#(?P<column>.+))?"
)
"""A dataset on the Hub, or a folder of such a name."""
SPLITS = ("train", "test", "validation")
"""Folder names that belong to a dataset's structure and are shown with their parent folder's name."""


def hub_dataset(spec):
    """The id, user/name, of the dataset on the Hub that a spec names; None for folders and built-in faces."""
    match = HUB_SPEC.fullmatch(str(spec))
    return match["id"] if match and not Path(spec).exists() and not shard_folder(str(spec)) else None


def shard_folder(spec):
    """The existing folder that ``folder[:split][#column]`` names, the split and the column, each None if it is not
    named; None without such a folder, or if the whole spec is one."""
    if Path(spec).expanduser().is_dir():
        return None
    before, _, column = spec.rpartition("#") if "#" in spec else (spec, "", "")
    name, _, split = before.rpartition(":")
    for folder, part in ((before, ""), (name, split)):
        if folder and Path(folder).expanduser().is_dir():
            return folder, part or None, column or None
    return None


def public_name(spec):
    """A source as a card should name it: a Hub id as it is, a folder without its path, which is private. A split and a
    column that the spec names stay."""
    spec = str(spec)
    place, *_ = shard_folder(spec) or (spec,)
    folder = Path(place).expanduser()
    if not (folder.is_absolute() or spec.startswith((".", "~")) or folder.is_dir()):
        return spec
    folder = folder.resolve()
    name = f"{folder.parent.name}/{folder.name}" if folder.name in SPLITS else folder.name
    return name + spec[len(place) :]
