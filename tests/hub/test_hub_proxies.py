"""Proxies that no client can be made with: one line, and only where the Hub is asked."""

import subprocess
import sys
from importlib import import_module

import pytest
from huggingface_hub.errors import HTTPError

from maskhub.errors import SourceError
from maskhub.hub_errors import hub_errors

CODE = """
from maskhub.errors import HubError
from maskhub.hub_errors import hub_errors
from huggingface_hub import HfApi
with hub_errors("nothing"):
    pass
try:
    with hub_errors("the look"):
        HfApi().model_info("user/name")
except HubError as error:
    print(error)
"""


@pytest.mark.parametrize("value", ["socks5://127.0.0.1:9", "ftp://x", "::"])
def test_a_proxy_that_can_not_be_used_is_one_line(value, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", value)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the look failed: ") and "a proxy that can't be used" in done.stdout, done.stdout
    assert done.stdout.count("\n") == 1


def test_an_error_without_a_proxy_makes_no_client(monkeypatch):
    client = import_module(HTTPError.__module__.partition(".")[0])  # httpx, or httpx2
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(client, "Client", None)
    with pytest.raises(SourceError, match="damaged"), hub_errors("the look"):
        raise SourceError("a file is damaged.")
