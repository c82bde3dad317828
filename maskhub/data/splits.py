"""Folders that are splits, by the rule of the ``datasets`` package: a keyword between delimiters in their name.

So ``train``, ``train2017`` and ``test_set`` are splits, but also ``val_kilmer``, the photos of an actor: of a folder
with ``val_kilmer`` and ``tom_cruise``, loaders read only the former. maskhub takes folders for splits only if all
photos are in such folders, and warns where labels may be taken for splits.
"""

import re
import warnings
from pathlib import PurePosixPath

__all__ = ["first_split", "splits_of", "warn_of_labels", "warn_of_loaders"]

DELIMITERS = "-._ 0123456789"
KEYWORDS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "dev": "validation",
    "val": "validation", "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
SHOWN = 3


def splits_of(folder):
    """The splits that a folder (its name, without a path) is taken for, a list; rarely more than one."""
    return [KEYWORDS[word] for word in re.split(f"[{DELIMITERS}]", folder) if word in KEYWORDS]


def first_split(name):
    """The first folder in a photo's name that is a split, as a path, or None."""
    return next(_split_folders(name), None)


def _split_folders(name):
    return (folder for folder in reversed(PurePosixPath(name).parents[:-1]) if splits_of(folder.name))


def warn_of_labels(names):
    """Warn of photos, by their names in a source, whose folders may be splits by accident: only some of them are in
    folders of splits, or the names of these have other words than the keywords."""
    if _warn_of_loose(names, "all go into the split train."):
        return
    folders = {folder for name in names if (folder := first_split(name))}
    if unclear := sorted(folder for folder in folders if folder.name.strip(DELIMITERS) not in KEYWORDS):
        shown = [f"{folder} ({splits_of(folder.name)[-1]})" for folder in unclear[:SHOWN]]
        shown += ["…"] if unclear[SHOWN:] else []
        said = f"taken for splits by their names: {', '.join(shown)}. Rename those that are labels."
        warnings.warn(said, stacklevel=3)


def warn_of_loaders(names):
    """Warn if loaders of an imagefolder with photos of these names don't read each of them once, with its columns."""
    names = list(names)
    if _warn_of_loose(names, "loaders read only photos in such folders. Rename {folder} if it is a label."):
        return
    if not any(map(first_split, names)):  # then the names of files decide
        named = [name for name in names if splits_of(PurePosixPath(name).name)]
        if named:
            lost = "no columns" if len(named) == len(names) else "no other photo and no columns"
            warnings.warn(f"loaders take {named[0]} for a split, and read {lost}: rename it.", stacklevel=3)
        return
    for name in names:
        folders = list(_split_folders(name))
        splits = list(dict.fromkeys(split for folder in folders for split in splits_of(folder.name)))
        if len(splits) > 1:
            where = f"the splits {' and '.join(splits)}. Rename {folders[-1].name} if it is a label."
            warnings.warn(f"loaders read the photos in {folders[-1]} in {where}", stacklevel=3)
            return


def _warn_of_loose(names, then):
    """Whether only some photos are in folders of splits, which is warned of: ``then`` is the consequence."""
    loose = next((name for name in names if not first_split(name)), None)
    inside = loose and next(filter(first_split, names), None)
    if inside:
        then = then.format(folder=first_split(inside).name)
        warnings.warn(f"{loose} is in no split's folder, but {inside} is: {then}", stacklevel=4)
    return bool(inside)
