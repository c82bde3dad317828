"""Start gradio without the proxies from the environment, since it only talks to itself."""

import os
from contextlib import contextmanager

__all__ = ["without_proxies"]


@contextmanager
def without_proxies():
    """Hide ``ALL_PROXY`` and the like within the block.

    httpx raises an error for a proxy that it can't use (SOCKS without an extra package, a bad address), and gradio
    creates an httpx client when it is imported. At start it requests its own page, which a proxy can't reach.
    """
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.lower().endswith("_proxy")}
    try:
        yield
    finally:
        os.environ.update(hidden)
