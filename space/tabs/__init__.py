"""One tab a file. Each has a ``TITLE`` and a ``build(pipe)`` that is called inside its ``gr.Tab``."""
