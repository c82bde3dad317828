"""Put a model into a folder of models, next to other processes that do so."""

import time
from contextlib import contextmanager

from maskhub.errors import ConfigError
from maskhub.files import sweep, written_folder
from maskhub.hold import in_turn
from maskhub.json_file import FACTS, read_json, write_json
from maskhub.pipelines.fetch import check_name

__all__ = ["new_model"]


@contextmanager
def new_model(root, name, facts, taken):
    """A temporary folder that becomes the model ``root/name`` when the block ends without an error. Its notes are
    ``facts`` and the time.

    A model of this name is only replaced by another copy of what it was ``fetched_from``, if the facts say so; else
    ConfigError with the text ``taken``, as for an invalid name. WriteError if it can't be written.
    """
    target, origin = root / check_name(name), facts.get("fetched_from")
    with in_turn(root / ".lock"):
        sweep(root)
        if target.exists() and (origin is None or (read_json(target / FACTS) or {}).get("fetched_from") != origin):
            raise ConfigError(taken)
        with written_folder(target) as temporary:
            yield temporary
            write_json(temporary / FACTS, {"created": round(time.time()), **facts})
