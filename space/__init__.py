"""The Gradio app that runs on a Hugging Face Space and at home: ``python app.py``."""

import os

from space.proxies import without_proxies

# gradio asks the network for its newest version otherwise
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
with without_proxies():
    import gradio  # noqa: F401
