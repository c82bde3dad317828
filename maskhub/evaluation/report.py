"""One JSON report a measure, which the page (:mod:`maskhub.evaluation.page`) and the model card are made from.

    {"measure": "quality", "maskhub": "0.1.0", "settings": {...}, "figures": {...}, "groups": {...}, "warnings": [...]}

A *figure* is a number, or ``{"value", "interval": [low, high], "n"}`` (the interval covers 95 % unless the settings say
otherwise). ``figures`` maps names to figures, or names of rows to such a mapping, which is shown as a table.
``groups`` maps a column to its values and each value to its figures, shaped as ``figures``. Optional: ``curves``,
``galleries`` and ``failures``, see :func:`write_report`.
"""

import io
import json
import math
import re
import shutil
from pathlib import Path

from maskhub.data.journal import write_text
from maskhub.errors import ConfigError, SourceError

__all__ = ["BestAndWorst", "card_with_results", "figure", "read_report", "results_block", "write_report"]

KEYS = ("measure", "maskhub", "settings", "figures", "groups", "warnings")
SECONDARY = re.compile(r"σ$|median$|percentile$|(same|different) mean$|FAR met|presence$|masked before$")
"""Figures that a report has and a card does without."""
HIGHER_IS_BETTER = ("psnr", "ssim", "identity", "detected", "found", "tar")


def figure(value, interval=None, n=None):
    """A figure as the contract has it: the bare number where nothing more is known."""
    value = None if value is None or not math.isfinite(value) else float(value)
    if interval is None and n is None:
        return value
    out = {"value": value}
    if interval is not None and all(map(math.isfinite, interval)):
        out["interval"] = [float(end) for end in interval]
    return out | ({"n": int(n)} if n is not None else {})


def write_report(
    path, measure, settings, figures, groups=None, warnings=(), *, curves=(), galleries=(), failures=(), pictures=None
):
    """Write a report, whole or not at all, its thumbnails beside it in ``<name>-pictures/``.

    Args:
        path: of the JSON file.
        measure: what was measured, such as ``"quality"``.
        settings: all that a repetition needs, JSON values.
        figures, groups: see the module.
        warnings: sentences.
        curves: dicts of ``title``, ``x``, ``y`` (names of the axes) and ``lines``: name → [[x, y], ...].
        galleries: :class:`BestAndWorst`, or dicts of ``title`` and ``items``: name, score, picture.
        failures: ``(name, reason)`` of each photo that could not be measured.
        pictures: name → ``PIL.Image`` of failures, for their gallery.

    Returns:
        the report as a dict.

    Raises:
        ConfigError: the folder can't be written to.
    """
    import maskhub

    path = Path(path)
    folder = path.with_name(f"{path.stem}-pictures")
    thumbnails = {}

    def kept(name, image):
        file = f"{len(thumbnails):04d}.jpg"
        thumbnails[file] = image
        return f"{folder.name}/{file}"

    shown = []
    for gallery in galleries:
        for part in gallery.parts() if isinstance(gallery, BestAndWorst) else [gallery]:
            items = [
                item | {"picture": kept(item["name"], item["picture"])} if item.get("picture") is not None else item
                for item in part["items"]
            ]
            if items:
                shown.append(part | {"items": items})
    listed = []
    for name, reason in failures:
        image = (pictures or {}).get(name)
        item = {"name": str(name), "reason": str(reason)}
        listed.append(item | ({"picture": kept(name, image)} if image is not None else {}))
    report = {
        "measure": measure,
        "maskhub": maskhub.__version__,
        "settings": settings,
        "figures": figures,
        "groups": groups or {},
        "warnings": list(dict.fromkeys(warnings)),
    }
    report |= {
        key: value for key, value in (("curves", list(curves)), ("galleries", shown), ("failures", listed)) if value
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        if thumbnails:
            folder.mkdir()
        for file, image in thumbnails.items():
            data = io.BytesIO()
            image.convert("RGB").save(data, "JPEG", quality=85)
            (folder / file).write_bytes(data.getvalue())
        write_text(path, json.dumps(_plain(report), indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise ConfigError(f"the report {path} could not be written: {error.strerror or error}.") from error
    return _plain(report)


def read_report(path):
    """A report as a dict.

    Raises:
        SourceError: no such file, or no report of maskhub.
    """
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} can't be read as a report ({getattr(error, 'strerror', None) or error}).") from error
    missing = [key for key in KEYS if key not in report] if isinstance(report, dict) else KEYS
    if missing:
        raise SourceError(f"{path} is no report of maskhub: it has no {', '.join(missing)}.")
    return report


class BestAndWorst:
    """The best and the worst pictures by a score, kept small while any number goes by.

    Args:
        title: such as ``"Made pictures by LPIPS"``.
        better: ``"high"`` or ``"low"``: which scores are good.
        keep: how many of each end.
        side: of the thumbnails in pixels; a list of pictures becomes a strip of them.
    """

    def __init__(self, title, better="low", keep=20, side=128):
        self.title, self.better, self.keep, self.side = title, better, keep, side
        self.count = 0
        self._ends = {"Best": [], "Worst": []}

    def add(self, name, score, pictures):
        """Take note of one; ``pictures`` is a ``PIL.Image`` or uint8 H×W×3 array, or a list of them, left to right."""
        if score is None or not math.isfinite(score):
            return
        self.count += 1
        goodness = score if self.better == "high" else -score
        strip = None
        for end, key in (("Best", -goodness), ("Worst", goodness)):
            kept = self._ends[end]
            if len(kept) == self.keep and key >= kept[-1][0]:
                continue
            strip = strip or _strip(pictures if isinstance(pictures, (list, tuple)) else [pictures], self.side)
            kept.append((key, self.count, {"name": str(name), "score": float(score), "picture": strip}))
            kept.sort(key=lambda entry: entry[:2])
            del kept[self.keep :]

    def parts(self):
        """Two galleries; of few pictures each half shows only its own."""
        most = max(1, min(self.keep, self.count // 2)) if self.count > 1 else self.count
        for end, kept in self._ends.items():
            if end == "Best" or self.count > 1:
                yield {"title": f"{end} {self.title}", "items": [item for _, _, item in kept[:most]]}


def results_block(reports):
    """The ``model-index`` results of a model card.

    Args:
        reports: dicts as :func:`read_report` gives them.

    Returns:
        list of ``huggingface_hub.EvalResult``. Rows of a table that stand for baselines (``settings["baselines"]``) are
        left out: a card has the model's own figures.
    """
    from huggingface_hub import EvalResult

    results = []
    for report in reports:
        settings = report["settings"]
        dataset = str(settings.get("dataset") or settings.get("real") or settings.get("photos") or "photos")
        name = ", ".join(_public(part) for part in dataset.split(", "))
        title = " ".join(filter(None, (report["measure"], settings.get("direction"))))
        network = settings.get("network")
        for metric, entry in _flat(report["figures"], set(settings.get("baselines", ()))):
            if SECONDARY.search(metric):
                continue
            args = {"maskhub": report["maskhub"]} | ({"n": entry["n"]} if "n" in entry else {})
            if entry.get("interval"):
                args["interval"] = [_rounded(end) for end in entry["interval"]]
            results.append(
                EvalResult(
                    task_type="image-to-image",
                    dataset_type=name if _is_hub_id(name) else "imagefolder",
                    dataset_name=name,
                    dataset_split="held-out tenth" if settings.get("split") == "held-out" else None,
                    metric_type=_metric_type(metric),
                    metric_name=f"{title}: {metric}" + (f" ({network})" if network else ""),
                    metric_value=_rounded(entry["value"]),
                    metric_args=args,
                )
            )
    return results


def card_with_results(folder, reports):
    """Write reports into the card of a pipeline folder: ``model-index`` in the front matter, a table in the text.

    Args:
        folder: with a ``README.md``, or one is begun.
        reports: dicts.

    Returns:
        the number of figures written; those of an earlier call are replaced.

    Raises:
        ConfigError: no such folder, or a card whose front matter is no YAML.
    """
    from huggingface_hub import ModelCard
    from yaml import YAMLError

    folder = Path(folder)
    path = folder / "README.md"
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}.")
    text = path.read_text(encoding="utf-8") if path.is_file() else f"---\n{{}}\n---\n# {folder.resolve().name}\n"
    try:
        card = ModelCard(text, ignore_metadata_errors=True)
    except (YAMLError, ValueError) as error:
        raise ConfigError(f"the front matter of {path} can't be read: {str(error).splitlines()[0]}") from error
    results = results_block(reports)
    name = card.data.model_name or next((line[2:] for line in card.text.splitlines() if line.startswith("# ")), "model")
    card.data.model_name, card.data.eval_results = name.split(":")[0], results
    begin, end = "<!-- figures of maskhub evaluate -->", "<!-- end of figures -->"
    rows = [f"| {r.metric_name} | {_row(r)} |" for r in results]
    block = [begin, "## Figures", "", "| figure | value | 95 % | n | photos |", "|---|---|---|---|---|", *rows, "", end]
    block = "\n".join(block)
    body = card.text.replace(" No\nfigures have been measured for this checkpoint yet.", "")
    if begin in body and end in body:
        body = body[: body.index(begin)] + block + body[body.index(end) + len(end) :]
    elif "\n## Limits" in body:
        body = body.replace("\n## Limits", f"\n{block}\n\n## Limits", 1)
    else:
        body = f"{body.rstrip()}\n\n{block}\n"
    card.text = body
    write_text(path, str(card))
    return len(results)


def _row(result):
    """Value, interval, n and photos of a table's row."""
    low, high = result.metric_args.get("interval") or (None, None)
    ends = "" if low is None else f"{low:.4g} to {high:.4g}"
    photos = result.dataset_name + (f", {result.dataset_split}" if result.dataset_split else "")
    return " | ".join([f"{result.metric_value:.4g}", ends, str(result.metric_args.get("n", "")), photos])


def _flat(figures, leave_out=(), prefix=""):
    """``(name, figure as a dict)`` of every figure that has a value."""
    for name, entry in figures.items():
        if name in leave_out:
            continue
        if isinstance(entry, dict) and "value" not in entry:
            yield from _flat(entry, leave_out, f"{prefix}{name}, ")
            continue
        entry = entry if isinstance(entry, dict) else {"value": entry}
        if isinstance(entry["value"], (int, float)) and not isinstance(entry["value"], bool):
            yield prefix + name, entry


def _rounded(value):
    return float(f"{value:.4g}")


def _public(dataset):
    """A Hub id as it is, a folder without the folder that it lies in, which is nobody else's business."""
    return Path(dataset).name if Path(dataset).is_absolute() or dataset.startswith((".", "~")) else dataset


def _metric_type(name):
    """A metric id of the Hub's own where there is one."""
    last = name.split(", ")[-1].lower()
    known = [kind for kind in ("fid", "kid", "psnr", "ssim", "lpips") if kind == last.split()[0]]
    return known[0] if known else re.sub(r"\W+", "_", last).strip("_")


def _is_hub_id(text):
    return text.count("/") == 1 and not text.startswith(("/", ".", "~")) and not Path(text).exists()


def _strip(pictures, side):
    """Pictures beside each other at one height of ``side`` pixels."""
    from PIL import Image

    images = [p if isinstance(p, Image.Image) else Image.fromarray(p) for p in pictures]
    images = [image.convert("RGB").resize((max(1, round(image.width * side / image.height)), side)) for image in images]
    strip = Image.new("RGB", (sum(image.width for image in images), side))
    left = 0
    for image in images:
        strip.paste(image, (left, 0))
        left += image.width
    return strip


def _plain(value):
    """JSON has neither infinity nor NaN, nor numpy's numbers."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
