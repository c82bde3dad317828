"""The Gradio app that runs on a Hugging Face Space and at home: ``python app.py``."""

import os

from maskhub.extras import require
from space.proxies import without_proxies

require("app", "gradio")

# otherwise gradio checks for a new version on the network
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
with without_proxies():
    import gradio  # noqa: F401
