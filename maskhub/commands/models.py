"""``maskhub models``: the pipelines that commands and the app load by a name."""

from typing import Annotated

import tyro

__all__ = ["fetch", "listed"]


def fetch(
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")],
    /,
    name: str | None = None,
    revision: str | None = None,
) -> int:
    """Copy a pipeline from the Hugging Face Hub or a folder into MASKHUB_HOME/models, where --model finds it by its
    name without a network, and the app's Compare tab too.

    Args:
        source: A Hub id, user/name, or a pipeline's folder, such as RUN/pipeline.
        name: The name to load it by; by default the source's.
        revision: Branch, tag or commit on the Hub.
    """
    from maskhub.pipelines.named import fetch

    made = fetch(source, name, revision)
    print(f"fetched {source} as {made.name}, {made.size / 1e6:.1f} MB: {made.does}, {made.resolution} pixels")
    print(f"load it with --model {made.name}; it is in {made.folder}")
    return 0


def listed() -> int:
    """List the pipelines that --model finds by a name: bundled, fetched, and trained in the app."""
    from maskhub.pipelines.named import named_pipelines

    models = named_pipelines()
    width = max((len(model.name) for model in models), default=0)
    for model in models:
        place = "bundled" if model.bundled else str(model.folder)
        print(f"{model.name:<{width}}  {model.size / 1e6:6.1f} MB  {model.does}, {model.resolution} pixels ({place})")
    return 0
