"""Two runs never write to one output folder."""

import os
import signal
import subprocess
import sys

import pytest

from maskhub.errors import WriteError
from maskhub.hold import hold

HOLDER = """
import sys, time
from maskhub.hold import hold
with hold(sys.argv[1], "maskhub mask"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_run_names_the_first(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        message = rf"out is in use by `maskhub mask`, process {other.pid} on .*\. Wait for it to end"
        with pytest.raises(WriteError, match=message), hold(tmp_path / "out", "maskhub mask"):
            pass
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
        other.stdout.close()
    with hold(tmp_path / "out", "maskhub mask"):  # a killed process holds nothing
        pass


def test_it_can_be_held_again_and_again(tmp_path):
    refused = pytest.raises(WriteError, match=f"`a`, process {os.getpid()}")
    for _ in range(2):
        with hold(tmp_path, "a"), refused, hold(tmp_path, "b"):
            pass


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteError, match="could not be written to"), hold(tmp_path / "file" / "out", "a"):
        pass
