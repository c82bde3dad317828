"""One file per tab. Each has a ``TITLE`` and a ``build(pipe)``, which is called within its ``gr.Tab``."""
