"""Which encoders a model was trained against: a figure by one of these would only repeat its training loss."""

import json
import re
from pathlib import Path

from maskhub.errors import ConfigError

__all__ = ["refuse_trained_against", "trained_against"]

_LOSS = re.compile(r"\bloss|lambda|λ|trained against|identity|perceptual", re.IGNORECASE)
_MEASURED = re.compile(r"^#+ [^\n]*(?:measured|figures|results|evaluation).*?(?=^#|\Z)", re.I | re.M | re.S)
_FIGURES = re.compile(r"<!-- figures of maskhub evaluate -->.*?<!-- end of figures -->", re.DOTALL)


def trained_against(folder, encoders):
    """The encoders that a pipeline's card or configurations name as part of its training.

    Looked for are a ``trained_against`` entry (a name or a list) of the card's front matter or of any JSON file, and
    each line of the card that names an encoder along with a loss or a weight λ; sections of figures
    and results don't count.

    Args:
        folder: of the pipeline, or the folder of a Hub snapshot.
        encoders: names to look for.

    Returns:
        set of names.
    """
    folder, named = Path(folder), set()
    for path in folder.rglob("*.json"):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(data, dict):
            named |= _names(data.get("trained_against"))
    card = folder / "README.md"
    if card.is_file():
        text = card.read_text(encoding="utf-8", errors="replace")
        named |= _names(_front_matter(text).get("trained_against"))
        body = _FIGURES.sub("", text.split("\n---", 1)[-1] if text.startswith("---") else text)
        body = _MEASURED.sub("", body)
        lines = [line.lower() for line in body.splitlines() if _LOSS.search(line)]
        named |= {name for name in encoders if any(re.search(rf"\b{re.escape(name)}\b", line) for line in lines)}
    return {name for name in encoders if name in named}


def refuse_trained_against(folder, encoders):
    """Raise :class:`ConfigError` where a model is to be judged by an encoder that it was trained against."""
    found = trained_against(folder, encoders)
    if found:
        names = " and ".join(sorted(found))
        left = ", ".join(name for name in encoders if name not in found)
        raise ConfigError(
            f"the model was trained against {names}, as its card says: a figure by it would only repeat the training "
            f"loss. Take other encoders{f', as in --encoders {left}' if left else ''}."
        )


def _names(value):
    values = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return {str(name).lower() for name in values}


def _front_matter(text):
    import yaml

    if not text.startswith("---"):
        return {}
    try:
        data = yaml.safe_load(text.split("\n---", 1)[0][3:])
    except yaml.YAMLError:
        return {}
    return data if isinstance(data, dict) else {}
