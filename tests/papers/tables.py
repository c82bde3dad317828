"""The documents' tables, read from the YAML files next to this one."""

from pathlib import Path

import yaml

__all__ = ["document"]


def document(number):
    """What document 1 to 5 fixes, as a dict; ``"table 1"`` and the like are its tables, a list of rows."""
    return yaml.safe_load(Path(__file__).with_name(f"{number}.yaml").read_text(encoding="utf-8"))
