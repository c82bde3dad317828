"""One file per tab. Each has a ``TITLE``, ``layout(pipe)``, which places its components and returns them by name, and
``wire(here, pipe)``, which connects them to the handlers; ``pipe`` is a :class:`maskhub.FaceMaskPipeline`."""

__all__ = ["build"]


def build(tab, pipe):
    """Build a tab within its ``gr.Tab``; returns its components by name."""
    here = tab.layout(pipe)
    tab.wire(here, pipe)
    return here
