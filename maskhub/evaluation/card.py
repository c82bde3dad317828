"""Write the figures of reports into a model card."""

import re
from pathlib import Path

from maskhub.cards import ModelCard
from maskhub.files import write_file
from maskhub.source_spec import hub_dataset, public_name

__all__ = ["card_results", "write_card"]

HUB_METRICS = ("fid", "kid", "psnr", "ssim", "lpips")


def write_card(folder, reports):
    """Write the figures of reports into a pipeline folder's ``README.md``, replacing earlier ones; returns how many.
    ConfigError if there is no such folder or the card's front matter is not YAML, WriteError if the card can't be
    written."""
    card = ModelCard.load(folder)
    card.set_figures([result for report in reports for result in card_results(report)])
    write_file(Path(folder) / "README.md", card.render())
    return len(card.figures)


def card_results(report):
    """The model's own figures, without baselines and details, as a list of ``huggingface_hub.EvalResult``."""
    from huggingface_hub import EvalResult

    photos = ", ".join(map(public_name, report.photos.split(", ")))
    on_hub = hub_dataset(report.photos)
    results = []
    for row, name, figure in report.figures():
        if row in report.baselines or figure.detail or figure.value is None:
            continue
        details = {"maskhub": report.version}
        details |= {"n": figure.n} if figure.n is not None else {}
        details |= {"interval": [_rounded(end) for end in figure.interval]} if figure.interval else {}
        network = figure.network or report.settings.get("network")
        results.append(
            EvalResult(
                task_type="image-to-image",
                dataset_type=on_hub or "imagefolder",
                dataset_name=photos,
                # the Hub merges results of one type and config
                dataset_config=None if on_hub == photos else photos,
                dataset_split="held-out tenth" if report.settings.get("split") == "held-out" else None,
                metric_type=_metric_type(figure.title or name),
                metric_name=f"{report.title}: {f'{row}, ' if row else ''}{name}" + (f" ({network})" if network else ""),
                metric_value=_rounded(figure.value),
                metric_args=details,
            )
        )
    return results


def _metric_type(name):
    """The Hub's metric id if there is one."""
    first = name.lower().split()[0]
    return first if first in HUB_METRICS else re.sub(r"\W+", "_", name.lower()).strip("_")


def _rounded(value):
    return float(f"{value:.4g}")
