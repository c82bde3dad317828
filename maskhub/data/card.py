"""The card of a paired dataset: contents, origin, licence and limits."""

from pathlib import PurePosixPath

from maskhub.cards import THIS_REPOSITORY, DataCard, Section, markdown_table
from maskhub.masks.styles import STYLES
from maskhub.source_spec import hub_dataset

__all__ = ["dataset_card"]

SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
TITLE = "Pairs of unmasked and masked faces"
USAGE = f"""from datasets import load_dataset

pairs = load_dataset("{THIS_REPOSITORY}", split="train", streaming=True)
pair = next(iter(pairs))    # pair["unmasked"], pair["masked"], pair["region"]"""
LIMITS = """\
Faces that are not detected, or too covered or turned for landmarks, have no mask, so the data set is biased towards
clear, frontal faces. Rule-based masks are more regular than real ones; test models trained on them on photos of people
who wear masks."""
LICENCE = """\
These pairs are subject to the terms of the source of the photos: check them first. Faces are personal data, and you
need the right to share them."""
COLUMNS = {
    "file_name": "the photo's name in the source",
    "face": "number of the face in its photo, largest first",
    "unmasked": "the photo, upright",
    "masked": "the same with masks, PNG: equal to the unmasked photo where `region` is 0",
    "region": "8-bit PNG, 255 where mask or strap covers the photo, lower at soft edges and in shadows",
    "boxes": "left, top, width, height in pixels of each face, largest first",
    "landmarks": "478 × (x, y, depth) in pixels of each face, as in MediaPipe's face mesh; empty if not detected",
    "style": "style of each face's mask; empty for a face without one",
    "colour": "colour of each face's mask",
    "worn": "`correctly`, `nose-out`, `chin-out`, `nose-and-mouth-out`, `covered` (not by a mask) or `unmasked`",
    "pose": "yaw, pitch, roll of each face in degrees",
    "presence": "the landmark network's confidence in each face, 0 to 1",
    "agreement": "overlap (intersection over union) of each mask's region and the one that a mask detector finds",
    "sharpness": "sharpness of each face without its mask; below 0.6 it is blurred",
    "light": "median grey level of each face without its mask, 0 to 100",
    "quality": "quality of each masked face, 0 to 1: that of the worst of presence, agreement and sharpness",
}


def dataset_card(shards, options, features, notes):
    """The card as text of a ``README.md``, in which :data:`~maskhub.cards.THIS_REPOSITORY` stands for the dataset's id.
    ``shards`` are their paths → their bytes, ``features`` are ``datasets.Features``, ``notes`` have ``rows`` and
    ``failures`` of each shard; ``options`` are those of :func:`maskhub.data.shards.build_dataset`, with None as the
    ``source`` of a folder."""
    splits = _splits(shards, notes)
    count = sum(note["rows"] for note in notes)
    failed = sum(len(note["failures"]) for note in notes)
    source = options["source"]
    origin = source and hub_dataset(source)
    pictures = "whole photos"
    if options["crops"]:
        pictures = f"aligned crops of {options['crops']} pixels, one per masked face"
    style = f"a random one of {', '.join(STYLES)}" if options["style"] == "random" else options["style"]
    if options.get("mask_images"):
        style = "pictures of masks that the maker of this data set chose"
    link = f"[{source}](https://huggingface.co/datasets/{origin})" if source else "a folder of photos"
    columns = [(f"`{name}`", COLUMNS.get(name, "of the source")) for name in features]
    about = f"""\
{count:,} rows of {pictures}. The masks are drawn by rule with maskhub: fitted to 478 landmarks, turned with the
head, lit, blurred and grained like the photo. Nobody wore them.

{markdown_table(("column", "meaning"), columns)}"""
    made = f"""- source: {link}
- style: {style}; worn wrongly with probability {options["wrongly_worn"]:g}; {options["portion"]:.0%} of a photo's faces
- seed {options["seed"]}: the same source, options and version of maskhub give the same rows
- every masked picture says in its own metadata (XMP) that software put the mask on
- {failed:,} photos were left out (no face, or damaged): `failures.csv` names them"""
    sections = [Section("How it was made", made), Section("Limits", LIMITS), Section("Licence", LICENCE)]
    usage = USAGE if "train" in splits else USAGE.replace('"train"', f'"{next(iter(splits))}"')
    return DataCard(TITLE, _front(count, splits, origin, features), usage, about, sections).render()


def _splits(shards, notes):
    """The splits of the data set by name, each with the ``paths`` of its shards as patterns, their ``size`` in bytes
    and their number of ``rows``."""
    found = {}
    for (name, size), note in zip(shards.items(), notes, strict=True):
        path = PurePosixPath(name)
        split = path.name.split("-")[0]
        known = found.setdefault(split, {"paths": set(), "size": 0, "rows": 0})
        known["paths"].add(f"{path.parent}/{split}-*.parquet")
        known["size"] += size
        known["rows"] += note["rows"]
    return found


def _front(count, splits, origin, features):
    size = sum(known["size"] for known in splits.values())
    files = [{"split": name, "path": sorted(known["paths"])} for name, known in splits.items()]
    sizes = [
        {"name": name, "num_bytes": known["size"], "num_examples": known["rows"]} for name, known in splits.items()
    ]
    return {
        "pretty_name": TITLE,
        "license": "other",
        "license_name": "terms-of-the-source",
        "license_link": f"https://huggingface.co/datasets/{THIS_REPOSITORY}#licence",
        "task_categories": ["image-to-image", "image-segmentation", "object-detection"],
        "tags": ["maskhub", "face-mask", "synthetic-masks"],
        "size_categories": [next((name for limit, name in SIZES if count < limit), "n>1M")],
        "source_datasets": [origin] if origin else None,
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {
            "features": features._to_yaml_list(),
            "splits": sizes,
            "download_size": size,
            "dataset_size": size,
        },
    }
