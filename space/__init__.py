"""The Gradio app that runs on a Hugging Face Space and at home: ``python app.py``."""

import os

# before anything imports gradio, which asks the network for its newest version otherwise
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
