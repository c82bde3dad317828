"""Errors of the Hugging Face Hub, each turned into one line that says what to do."""

import os
import time
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from maskhub.errors import ConfigError, HubError, WriteError, first_line
from maskhub.extras import require
from maskhub.files import PARTIAL

__all__ = ["SafeSaving", "hub_errors", "patient", "persistent", "readable"]

BUSY = (429, 502, 503, 504)
"""Status codes with which the Hub asks clients to back off."""
PAUSES = (1, 2, 4, 8)
"""Seconds before each retry, unless the Hub says how long to wait."""
CONFLICTS = (409, 412)
"""Status codes of a commit that came at the same time as another one."""
LONG_PAUSES = (*PAUSES, 15, 30, *[60] * 120)
"""The same for the commits of a long run, of which the Hub takes a limited number an hour."""
LONGEST_PAUSE = 300
"""Longest wait in seconds: the Hub counts requests in windows of five minutes."""


@contextmanager
def hub_errors(what, error_class=HubError):
    """Convert errors of the Hub's clients within the block into a maskhub error with the reason and what to do about
    it.

    Within the block, read requests are retried while the Hub is busy (:data:`BUSY`). huggingface_hub only does so for
    files, and datasets treats a busy response for a README as a missing README.

    with hub_errors("the upload to alice/masks"):        # what is being attempted, as the subject of "... failed"
        HfApi().upload_folder(...)
    """
    require("hub", "huggingface_hub")
    # imported here: the clients take a second to import, and `import maskhub` must not
    from huggingface_hub.errors import HFValidationError, HTTPError

    _be_patient()
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error.__cause__, (HTTPError, OSError)):  # how huggingface_hub wraps a failed file upload
            raise
        raise error_class(f"{what} failed: {_reason(error.__cause__)}") from error
    except (HFValidationError, HTTPError, OSError) as error:  # HTTPError is every client's, OSError has ConnectionError
        raise error_class(f"{what} failed: {_reason(error)}") from error
    except Exception as error:
        reason = _unusable_proxy()
        if not reason:
            raise
        raise error_class(f"{what} failed: {reason}") from error


def patient(call, *arguments, **options):
    """Make a write request through the Hub's client, with retries while the Hub is busy; it must be repeatable."""
    return _repeated(PAUSES, BUSY, call, arguments, options)


def persistent(call, *arguments, **options):
    """As :func:`patient`, but for up to two hours, and also when requests of other machines get in its way."""
    return _repeated(LONG_PAUSES, (*BUSY, *CONFLICTS), call, arguments, options)


def _repeated(pauses, statuses, call, arguments, options):
    from huggingface_hub.errors import HfHubHTTPError

    for pause in (*pauses, None):
        try:
            return call(*arguments, **options)
        except HfHubHTTPError as error:
            if pause is None or error.response is None or error.response.status_code not in statuses:
                raise
            time.sleep(_pause(error.response, pause))


def _be_patient():
    """Make the Hub's client, which all Hugging Face libraries share, retry read requests."""
    from huggingface_hub import get_session

    try:
        client = get_session()
    except Exception:  # an invalid proxy: a request will report it, and local files need no proxy
        return
    if getattr(client.send, "patient", False):
        return
    send = client.send

    def patient_send(request, **options):
        for pause in PAUSES:
            response = send(request, **options)
            if request.method not in ("GET", "HEAD") or response.status_code not in BUSY:
                return response
            response.close()
            time.sleep(_pause(response, pause))
        return send(request, **options)

    patient_send.patient = True
    client.send = patient_send


def _pause(response, seconds):
    asked = response.headers.get("retry-after", "")
    return min(int(asked) + 1, LONGEST_PAUSE) if asked.isdecimal() else seconds


def readable(path):
    """Let everyone who can read a file's folder read it: safetensors are written for their owner only."""
    path = Path(path)
    with suppress(OSError):  # not every file system has permissions
        path.chmod(path.parent.stat().st_mode & 0o666)


class SafeSaving:
    """A mixin before diffusers' own that allows safetensors only and raises maskhub's errors."""

    def save_pretrained(self, save_directory, *, safe_serialization=True, variant=None, **kwargs):
        """Write to a folder; arguments as in diffusers, safetensors only.

        Raises:
            WriteError: disk full, no permission, or an invalid path.
            ConfigError: pickles are requested.
        """
        # pipelines inspect their networks' signatures for variant: the parameter must be named here
        _refuse_pickle(safe_serialization)
        where = self.config.get("_name_or_path")
        if where and Path(where).is_dir():  # a local path may contain a person's name
            self.register_to_config(_name_or_path=Path(where).name)
        with _write_errors(save_directory):
            if Path(save_directory).is_file():  # diffusers would only log it
                raise NotADirectoryError(None, "it is a file, not a folder")
            made = super().save_pretrained(save_directory, safe_serialization=True, variant=variant, **kwargs)
        for path in Path(save_directory).glob("*.safetensors"):
            readable(path)
        return made

    def push_to_hub(self, repo_id, *args, safe_serialization=True, **kwargs):
        """Upload to the Hub; arguments as in ``diffusers.utils.PushToHubMixin``, safetensors only.

        Raises:
            HubError: no write access, a wrong token, a bad name, or no connection after several tries.
        """
        _refuse_pickle(safe_serialization)
        with hub_errors(f"the upload to {repo_id}"):
            return super().push_to_hub(repo_id, *args, **kwargs)


@contextmanager
def _write_errors(folder):
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:  # SafetensorError wraps the system's error
        reason = getattr(error, "strerror", None) or first_line(error)
        if any(part.startswith(PARTIAL) for part in Path(folder).parts):  # its writer reports the final path
            raise OSError(None, reason) from error
        raise WriteError(f"{folder} could not be written: {reason}.") from error


def _refuse_pickle(safe_serialization):
    if not safe_serialization:
        raise ConfigError("maskhub writes safetensors only. Leave out safe_serialization=False.")


def _unusable_proxy():
    """Why no client can be created with the proxies in the environment, or None."""
    from huggingface_hub.errors import HTTPError

    names = [name for name in os.environ if name.lower() in ("all_proxy", "http_proxy", "https_proxy")]
    if not names:
        return None
    client = import_module(HTTPError.__module__.partition(".")[0])  # httpx, or httpx2
    try:
        client.Client(verify=False).close()  # it makes no request, and reading the certificates takes longest
    except (ImportError, ValueError, client.InvalidURL) as error:
        return f"{' or '.join(names)} names a proxy that can't be used ({first_line(error)}). Change or unset it."
    return None


def _reason(error):
    from huggingface_hub import errors, get_token

    log_in = "log in with `hf auth login` or set HF_TOKEN."
    if isinstance(error, errors.HFValidationError):
        return "a repository id looks like user/name, of letters, digits, '-', '_' and '.'."
    if isinstance(error, errors.GatedRepoError):
        return f"the repository is gated: ask for access on its page on the Hub, then {log_in}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no such repository, or this token has no access to it. Check the name, or {log_in}"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such branch, tag or commit."
    if isinstance(error, errors.EntryNotFoundError) and isinstance(error, errors.HfHubHTTPError):
        return f"the repository has no such file ({first_line(error)})."
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set: unset it to reach the Hub."
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code if error.response is not None else None
        if status == 401:
            sent = get_token() or "authorization" in error.response.request.headers  # or one that was passed
            return f"{'the Hub does not know this token' if sent else 'the Hub wants a token'}: {log_in}"
        if status == 403:
            return "this token has no access to it. Use one with write access to that user or organisation."
        return f"the Hub answered {first_line(error)}: run the same command again later."
    if isinstance(error, (errors.HTTPError, ConnectionError, TimeoutError, errors.LocalEntryNotFoundError)):
        reason = f"the Hub could not be reached ({first_line(error)})"
        return f"{reason}: check the connection and run the same command again."
    return f"{first_line(error)}."
