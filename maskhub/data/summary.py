"""A page about what a run made: counts by style, pose, light and quality, and the failures with thumbnails.

write(output / "summary.html", summary_page("photos", counts_of(faces), failures, samples))
"""

import re
from collections import Counter
from contextlib import suppress
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from maskhub.errors import PhotoError
from maskhub.faces.photo import open_photo
from maskhub.image_file import data_url, encoded

__all__ = ["SHOWN", "SUMMARY", "counts_of", "merged", "sample", "summary_page"]

SUMMARY = "summary.html"
SHOWN = 12
"""Samples, failures and reasons on the page."""
HIGH = 112
"""Height of a thumbnail in pixels."""
TITLES = {
    "style": "Style", "worn": "Worn", "turned": "Turned aside", "light": "Light on the face", "quality": "Quality",
}  # fmt: skip
TURNED = ((15, "below 15°"), (30, "15 to 30°"), (45, "30 to 45°"), (None, "45° or more"))
LIGHT = ((30, "dark, below 30"), (50, "30 to 50"), (70, "50 to 70"), (None, "bright, 70 or more"))
QUALITY = ((0.5, "below 0.5"), (0.7, "0.5 to 0.7"), (0.9, "0.7 to 0.9"), (None, "0.9 or more"))


def sample(name, about, photo):
    """A picture on the page as a dict, for ``json``: its ``name``, a line ``about`` it, and ``url``, a small picture as
    a data URL, or None if it can't be read. ``photo`` is what :func:`~maskhub.faces.photo.open_photo` takes, or None.
    """
    url = None
    with suppress(PhotoError, OSError):
        url = photo and _data_url(open_photo(photo))
    return {"name": name, "about": about, "url": url}


def counts_of(faces):
    """Count faces, dicts as in :class:`~maskhub.data.masked.Masked`: title → words → number, for ``json``."""
    counts = {name: Counter() for name in TITLES}
    for face in faces:
        counts["worn"][face["worn"]] += 1
        if face["style"]:
            counts["style"][face["style"]] += 1
            measures = ("turned", abs(face["pose"][0]) if face["pose"] else None, TURNED)
            for name, value, steps in (
                measures,
                ("light", face["light"], LIGHT),
                ("quality", face["quality"], QUALITY),
            ):
                if value is not None:
                    counts[name][next(words for end, words in steps if end is None or value < end)] += 1
    return {name: dict(count) for name, count in counts.items() if count}


def merged(several):
    """The sum of several :func:`counts_of`."""
    total = {}
    for counts in several:
        for name, count in counts.items():
            total.setdefault(name, Counter()).update(count)
    return total


@cache
def _template():
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("summary.html.j2")


def summary_page(what, photos, counts, failures, samples, failed=()):
    """The page as HTML text, on ``photos`` photos or rows.

    Args:
        what: what was masked, in words.
        counts: of :func:`counts_of`.
        failures: list of (name, reason).
        samples, failed: several :func:`sample`: of results, and of photos that failed. The first :data:`SHOWN` show.
    """
    reasons = Counter(_general(*failure) for failure in failures)
    order = {words: place for place, (_, words) in enumerate((*TURNED, *LIGHT, *QUALITY))}
    groups = [
        (title, sorted(counts[name].items(), key=lambda item: (order.get(item[0], -1), -item[1], item[0])))
        for name, title in TITLES.items()
        if counts.get(name)
    ]
    return _template().render(
        what=what,
        totals={"made": photos, "faces": sum(counts.get("worn", {}).values()),
                "covered": sum(counts.get("style", {}).values()), "failed": len(failures)},
        groups=groups,
        reasons=reasons.most_common(SHOWN),
        more=max(0, len(reasons) - SHOWN),
        samples=[one for one in samples if one["url"]][:SHOWN],
        failed=failed[:SHOWN],
    )  # fmt: skip


def _general(name, reason):
    """A reason without what differs from photo to photo: its name, and numbers."""
    reason = re.sub(rf"\S*{re.escape(name.rpartition('/')[2])}", "the photo", reason)
    return re.sub(r"\d+(\.\d+)?", "…", reason)


def _data_url(photo):
    photo = photo.convert("RGB")
    photo.thumbnail((4 * HIGH, HIGH))
    return data_url(encoded(photo, "JPEG", quality=82))
