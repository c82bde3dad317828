"""Encoders that a model was trained against; figures measured with them would only repeat its training loss."""

import json
import re
from contextlib import suppress
from pathlib import Path

from maskhub.cards import ModelCard
from maskhub.errors import ConfigError
from maskhub.evaluation.encoders import ENCODERS
from maskhub.pipelines.face_mask import BUNDLED
from maskhub.pipelines.fetch import fetch_pipeline

__all__ = ["card_folder", "refuse_trained_against", "trained_against"]

_LOSS = re.compile(r"\bloss|lambda|λ|trained against|identity|perceptual", re.IGNORECASE)
_MEASURED = re.compile(r"^#+ [^\n]*(?:measured|figures|results|evaluation).*?(?=^#|\Z)", re.I | re.M | re.S)


def trained_against(folder, encoders):
    """The set of those encoders that a pipeline's card or configuration names as part of its training.

    That is a ``trained_against`` entry (a name or a list) of the card's front matter or of any JSON file in the folder,
    and each line of the card that names an encoder along with a loss or a weight λ, outside of sections of figures and
    results.
    """
    folder, named = Path(folder), set()
    for path in folder.rglob("*.json"):
        with suppress(OSError, ValueError):
            data = json.loads(path.read_text(encoding="utf-8"))
            named |= _names(data.get("trained_against")) if isinstance(data, dict) else set()
    card = ModelCard.load(folder)
    named |= _names(card.front.get("trained_against"))
    text = "\n".join([card.about, *(f"## {section.title}\n{section.text}" for section in card.sections)])
    lines = [line.lower() for line in _MEASURED.sub("", text).splitlines() if _LOSS.search(line)]
    named |= {name for name in encoders if any(re.search(rf"\b{re.escape(name)}\b", line) for line in lines)}
    return {name for name in encoders if name in named}


def refuse_trained_against(model, encoders, option="--encoders"):
    """Raise a ConfigError if a model (folder or Hub id; None: the bundled one) was trained against one of the encoders,
    as its card or configuration says. CheckpointError if the card can't be fetched. ``option`` sets the encoders: the
    message says which ones are left, or are face encoders that the model was not trained against."""
    folder = card_folder(model)
    found = trained_against(folder, encoders)
    if found:
        faces = [kind.name for kind in ENCODERS.values() if kind.face_network]
        others = [name for name in faces if name not in trained_against(folder, faces)]
        left = ",".join([name for name in encoders if name not in found] or others)
        raise ConfigError(
            f"the model was trained against {' and '.join(sorted(found))}, as its card says: the figures would only "
            f"repeat the training loss. Use other encoders{f', as in {option} {left}' if left else ''}."
        )


def card_folder(model):
    """The folder with the card of a model (a pipeline's folder, name or Hub id; None: the bundled one). CheckpointError
    if there is no such model, or no connection."""
    if model is None:
        return BUNDLED
    folder = Path(model).expanduser()
    return folder if folder.is_dir() else fetch_pipeline(model)


def _names(value):
    values = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return {str(name).lower() for name in values}
