"""Standard output that can't be written to, as with ``maskhub … | head`` or on a full disk: no traceback.

with checked_stdout():
    print("wrote out.png")
"""

import errno
import os
import sys
from contextlib import contextmanager, redirect_stdout

__all__ = ["CLOSED", "OutputError", "checked_stdout", "report"]

CLOSED = 128 + 13
"""Exit code if the reader of the output has closed it: that of a process which a SIGPIPE has ended."""


class OutputError(Exception):
    """Standard output can't be written to. Not an ``OSError``, which would be taken for one of a result's file."""

    def __init__(self, error):
        super().__init__(f"standard output could not be written: {error.strerror or error}.")
        self.closed = error.errno == errno.EPIPE


class _Checked:
    """A text stream that raises :class:`OutputError` where ``stream`` raises ``OSError``."""

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text):
        try:
            return self._stream.write(text)
        except OSError as error:
            raise OutputError(error) from error

    def flush(self):
        try:
            self._stream.flush()
        except OSError as error:
            raise OutputError(error) from error


@contextmanager
def checked_stdout():
    """Whatever the block prints is written out at its end; :class:`OutputError` if it can't be, unless the block raises
    another error, which is worth more."""
    if sys.stdout is None:  # closed from the start, as by some daemons
        yield
        return
    with redirect_stdout(_Checked(sys.stdout)):
        try:
            yield
        except OutputError:
            raise
        except Exception:
            try:
                sys.stdout.flush()
            except OutputError:
                _drop()
            raise
        except BaseException:  # the end of the process, with an exit code
            sys.stdout.flush()
            raise
        sys.stdout.flush()


def report(error, prefix):
    """Print an :class:`OutputError` on standard error, unless only the reader has gone; returns the exit code."""
    _drop()
    if error.closed:
        return CLOSED
    print(f"{prefix}: {error}", file=sys.stderr)
    return 2


def _drop():
    """Lose what is not yet written: Python flushes standard output once more as it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
