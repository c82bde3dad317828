"""Upload the app to a Hugging Face Space: ``python -m space.deploy USER/NAME [--static] [--private] [--token TOKEN]``.

The Space gets ``app.py``, ``requirements.txt``, ``maskhub/`` with its weights, ``space/`` and, once built, the site
of ``web/dist``, in one commit. ``space/README.md`` becomes its card. Run it again to update a Space: files that are
gone here are deleted there.
With ``--static`` it gets the site of ``web/dist``, which runs in the visitor's browser (docs/web.md).
"""

import sys
from pathlib import Path
from typing import Annotated

import tyro
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that `python space/deploy.py` finds maskhub too

from maskhub.errors import ConfigError, MaskHubError  # noqa: E402
from maskhub.hub import THIS_REPOSITORY, hub_errors  # noqa: E402
from space import browser_edition  # noqa: E402

__all__ = ["deploy", "files", "main", "static_files"]

FILES = ("app.py", "requirements.txt", "LICENSE", "docs/papers.md")
FOLDERS = ("maskhub", "space")
CARD = Path("space") / "README.md"
SITE = "web/dist"
"""Where the app looks for the site of the browser edition."""


def files():
    """Path in the Space → local file, for all files of the app."""
    found = {name: ROOT / name for name in FILES if (ROOT / name).is_file()}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyi" and path.name[0] != ".":
                found[path.relative_to(ROOT).as_posix()] = path
    found["README.md"] = found.pop(CARD.as_posix())
    if browser_edition.folder():
        found |= {f"{SITE}/{name}": path for name, path in static_files().items()}
    return found


def static_files():
    """Path in the Space → local file, for the site that runs in the visitor's browser.

    Raises:
        ConfigError: it has not been built.
    """
    site = browser_edition.folder()
    if site is None:
        raise ConfigError("there is no site in web/dist: run `npm ci && npm run build` in web/ first.")
    return {path.relative_to(site).as_posix(): path for path in sorted(site.rglob("*")) if path.is_file()}


def deploy(repo_id, *, static=False, token=None, private=None):
    """Create the Space if it is missing, and update it in one commit.

    Args:
        repo_id: the Space, ``user/name``.
        static: upload the site of ``web/dist`` instead of the app.
        token: token with write access; by default that of ``hf auth login`` or ``HF_TOKEN``.
        private: make a new Space private.

    Returns:
        the address of the Space.

    Raises:
        ConfigError: the site has not been built.
        HubError: no right to write there, a wrong token, a bad name, or no connection after several tries.
    """
    wanted, sdk = (static_files(), "static") if static else (files(), "gradio")
    folders = {name.split("/")[0] for name in wanted if "/" in name}
    api = HfApi(token=token)
    with hub_errors(f"the upload to {repo_id}"):
        url = api.create_repo(repo_id, repo_type="space", space_sdk=sdk, private=private, exist_ok=True)
        card = wanted["README.md"].read_text(encoding="utf-8").replace(THIS_REPOSITORY, url.repo_id)
        wanted["README.md"] = card.encode()
        there = api.list_repo_files(url.repo_id, repo_type="space")
        stale = [name for name in there if name.split("/")[0] in folders and name not in wanted]
        operations = [
            CommitOperationAdd(path_in_repo=name, path_or_fileobj=content) for name, content in wanted.items()
        ]
        operations += [CommitOperationDelete(name) for name in stale]
        api.create_commit(url.repo_id, operations, repo_type="space", commit_message="Deploy with maskhub")
    return str(url)


def _command(
    repo_id: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="USER/NAME")],
    /,
    static: bool = False,
    token: str | None = None,
    private: bool = False,
):
    """Upload the app to a Hugging Face Space, which is created if it is missing.

    Args:
        repo_id: The Space.
        static: The site of web/dist, which runs in the visitor's browser, instead of the app.
        token: Token with write access; default: that of `hf auth login` or HF_TOKEN.
        private: Make a new Space private.
    """
    print(f"deployed to {deploy(repo_id, static=static, token=token, private=private or None)}")


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
