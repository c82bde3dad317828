"""The program ``maskhub``, also as ``python -m maskhub``."""

import sys

__all__ = ["main"]


def main():
    """Run the command line; Ctrl-C is no traceback even while it is being imported, which takes the first second."""
    try:
        from maskhub.cli import main as run
    except KeyboardInterrupt:
        print("maskhub: stopped.", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
