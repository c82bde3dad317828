"""Start the Space's app: ``python app.py``, then open http://127.0.0.1:7860. What it holds is in ``space/``."""

from space.zero import is_zero

if is_zero():
    import spaces  # noqa: F401 (must come before torch)

from space.demo import main

if __name__ == "__main__":
    raise SystemExit(main())
