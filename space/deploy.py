"""Upload the app to a Hugging Face Space: ``python -m space.deploy USER/NAME [--private] [--token TOKEN]``.

The Space gets ``app.py``, ``requirements.txt``, ``maskhub/`` with its weights and ``space/``, as one commit, and
``space/README.md`` as its card. The same command again brings a Space up to date: what is gone here goes there too.
"""

import sys
from pathlib import Path
from typing import Annotated

import tyro
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that `python space/deploy.py` finds maskhub too

from maskhub.errors import HubError, MaskHubError  # noqa: E402

__all__ = ["deploy", "files", "main"]

FILES = ("app.py", "requirements.txt", "LICENSE")
FOLDERS = ("maskhub", "space")
CARD = Path("space") / "README.md"


def files():
    """Path in the Space → file here, of all that the Space needs."""
    found = {name: ROOT / name for name in FILES if (ROOT / name).is_file()}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyi" and path.name[0] != ".":
                found[path.relative_to(ROOT).as_posix()] = path
    found["README.md"] = found.pop(CARD.as_posix())
    return found


def deploy(repo_id, *, token=None, private=None):
    """Make the Space where there is none, and bring it up to date in one commit.

    Args:
        repo_id: the Space, ``user/name``.
        token: one with write access; the one of ``hf auth login`` or ``HF_TOKEN`` by default.
        private: make a new Space private.

    Returns:
        the address of the Space.

    Raises:
        HubError: no right to write there, a wrong token, a bad name, or no connection after several tries.
    """
    api, wanted = HfApi(token=token), files()
    try:
        url = api.create_repo(repo_id, repo_type="space", space_sdk="gradio", private=private, exist_ok=True)
        there = api.list_repo_files(repo_id, repo_type="space")
        stale = [name for name in there if name.startswith(tuple(f"{f}/" for f in FOLDERS)) and name not in wanted]
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in wanted.items()]
        operations += [CommitOperationDelete(path_in_repo=name) for name in stale]
        api.create_commit(repo_id, operations, repo_type="space", commit_message="Deploy with maskhub")
    except HFValidationError as error:
        raise HubError(f"{repo_id!r} is no Space's id: it must look like user/name.") from error
    except RepositoryNotFoundError as error:
        raise HubError(f"there is no Space {repo_id}, or this token has no right to it.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status == 401:
            raise HubError("the Hub does not know this token: log in with `hf auth login` or set HF_TOKEN.") from error
        if status == 403:
            raise HubError(f"this token has no right to write to {repo_id}: use one with write access.") from error
        raise HubError(f"the upload to {repo_id} failed ({_line(error)}): run the same command again.") from error
    except OSError as error:  # connection errors of every client are among these
        raise HubError(f"the upload to {repo_id} broke off ({_line(error)}): run the same command again.") from error
    return str(url)


def _line(error):
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _command(
    repo_id: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="USER/NAME")],
    /,
    token: str | None = None,
    private: bool = False,
):
    """Upload the app to a Hugging Face Space, making it where there is none.

    Args:
        repo_id: The Space.
        token: One with write access; that of `hf auth login` or HF_TOKEN if not given.
        private: Make a new Space private.
    """
    print(f"deployed to {deploy(repo_id, token=token, private=private or None)}")


def main(args=None):
    """Run the command; returns the exit code."""
    try:
        tyro.cli(_command, prog="python -m space.deploy", args=args)
    except MaskHubError as error:
        print(f"maskhub: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
