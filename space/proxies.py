"""Starting without the proxies that the environment names: gradio only talks to itself then."""

import os
from contextlib import contextmanager

__all__ = ["without_proxies"]


@contextmanager
def without_proxies():
    """Hide ``ALL_PROXY`` and the like within the block.

    httpx raises an error for a proxy that it can't use (SOCKS without an extra package, an address that is none), and
    gradio makes an httpx client when it is imported. When it starts it asks its own page, which no proxy would find.
    """
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.lower().endswith("_proxy")}
    try:
        yield
    finally:
        os.environ.update(hidden)
