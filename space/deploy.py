"""Upload the app to a Hugging Face Space: ``python -m space.deploy USER/NAME [--zero | --static | --hardware NAME]``.

| | costs | runs |
|---|---|---|
| ``--zero`` | nothing: an account has two such Spaces | the app on ZeroGPU |
| ``--static`` | nothing | the site of ``web/dist`` in the visitor's browser (docs/web.md) |
| ``--hardware NAME`` | by the hour | the app on that hardware, such as ``cpu-upgrade`` |
| none of them | needs PRO, Team or Enterprise | the app on ``cpu-basic`` |

The Space gets ``app.py``, ``requirements.txt``, ``maskhub/`` with its weights, ``space/`` and, once built, the site
of ``web/dist``, in one commit. ``space/README.md`` becomes its card. Run it again to update a Space: files that are
gone here are deleted there.
"""

import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import tyro
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, SpaceHardware
from huggingface_hub.errors import HfHubHTTPError

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that `python space/deploy.py` finds maskhub too

from maskhub.errors import ConfigError, HubError, MaskHubError  # noqa: E402
from maskhub.hub import THIS_REPOSITORY, hub_errors  # noqa: E402
from space import browser_edition  # noqa: E402

__all__ = ["deploy", "files", "main", "static_files", "zero_files"]

FILES = ("app.py", "requirements.txt", "LICENSE", "docs/papers.md")
FOLDERS = ("maskhub", "space")
CARD = Path("space") / "README.md"
SITE = "web/dist"
"""Where the app looks for the site of the browser edition."""
ZERO = "zero-a10g"
"""The Hub's name of ZeroGPU."""
ZERO_PYTHON, ZERO_TORCH, ZERO_PACKAGE = "3.12.12", "torch==2.8.0", "spaces>=0.40,<1"
"""What ZeroGPU takes: https://huggingface.co/docs/hub/spaces-zerogpu#supported-versions."""
FREE = "--zero (ZeroGPU, two Spaces an account) and --static (in the visitor's browser) are free"


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
    """Path in the Space → local file, for the site that runs in a visitor's browser; ConfigError if it isn't built."""
    site = browser_edition.folder()
    if site is None:
        raise ConfigError("there is no site in web/dist: run `npm ci && npm run build` in web/ first.")
    return {path.relative_to(site).as_posix(): path for path in sorted(site.rglob("*")) if path.is_file()}


def zero_files():
    """As :func:`files`, with the versions of Python and torch that ZeroGPU takes and its package."""
    found = files()
    requirements = found["requirements.txt"].read_text(encoding="utf-8")
    found["requirements.txt"] = (
        re.sub(r"(?m)^torch==.*$", ZERO_TORCH, requirements).encode() + f"{ZERO_PACKAGE}\n".encode()
    )
    card = found["README.md"].read_text(encoding="utf-8")
    card = re.sub(r"(?m)^python_version: .*$", f'python_version: "{ZERO_PYTHON}"', card)
    found["README.md"] = re.sub(r"(?m)^suggested_hardware: .*$", f"suggested_hardware: {ZERO}", card).encode()
    return found


def deploy(
    repo_id: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="USER/NAME")],
    *,
    zero: bool = False,
    static: bool = False,
    hardware: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None,
    token: str | None = None,
    private: bool = False,
) -> str:
    """Upload the app to a Hugging Face Space in one commit; the Space is created if it is missing.

    Args:
        repo_id: The Space.
        zero: Run the app on ZeroGPU, which is free for two Spaces an account.
        static: The site of web/dist, which runs in the visitor's browser, instead of the app; free.
        hardware: Run the app on this hardware, by the hour, such as cpu-upgrade; default: cpu-basic, which needs PRO.
        token: Token with write access; default: that of `hf auth login` or HF_TOKEN.
        private: Make a new Space private.

    Returns:
        the address of the Space.

    Raises:
        ConfigError: the site has not been built; contradictory or unknown hardware.
        HubError: no right to write there, a wrong token, a bad name, a plan that does not include the hardware, or no
            connection after several tries.
    """
    hardware = _hardware(static, zero, hardware)
    wanted = static_files() if static else zero_files() if hardware == ZERO else files()
    folders = {name.split("/")[0] for name in wanted if "/" in name}
    api = HfApi(token=token)
    with hub_errors(f"the upload to {repo_id}"), _refusals(repo_id, hardware):
        there_already = api.repo_exists(repo_id, repo_type="space")
        url = api.create_repo(
            repo_id, repo_type="space", space_sdk="static" if static else "gradio", space_hardware=hardware,
            private=private or None, exist_ok=True,
        )  # fmt: skip
        card = wanted["README.md"]
        card = card if isinstance(card, bytes) else card.read_bytes()
        wanted["README.md"] = card.replace(THIS_REPOSITORY.encode(), url.repo_id.encode())
        there = api.list_repo_files(url.repo_id, repo_type="space")
        stale = [name for name in there if name.split("/")[0] in folders and name not in wanted]
        operations = [
            CommitOperationAdd(path_in_repo=name, path_or_fileobj=content) for name, content in wanted.items()
        ]
        operations += [CommitOperationDelete(name) for name in stale]
        api.create_commit(url.repo_id, operations, repo_type="space", commit_message="Deploy with maskhub")
        if there_already and hardware:
            api.request_space_hardware(url.repo_id, hardware)
    return str(url)


def _hardware(static, zero, hardware):
    """The Hub's name of the hardware; None for the free one of the Space's kind."""
    if static + zero + bool(hardware) > 1:
        raise ConfigError("--zero, --static and --hardware exclude each other: give one of them.")
    known = [name.value for name in SpaceHardware]
    if hardware and hardware not in known:
        raise ConfigError(f"--hardware is {hardware!r}; it must be one of {', '.join(known)}.")
    return ZERO if zero else hardware


@contextmanager
def _refusals(repo_id, hardware):
    """One line for what an account may not have."""
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status == 402:
            raise HubError(
                f"{repo_id} on {hardware or 'cpu-basic'} needs a paid plan (https://huggingface.co/pro) or a payment "
                f"method: {FREE}."
            ) from error
        if status == 403:
            raise HubError(
                f"this token may not create or change the Space {repo_id}: use one with write access to "
                f"{repo_id.partition('/')[0]}, or a name of your own. {FREE}."
            ) from error
        raise


def main(args=None):
    """Run the command; returns the exit code."""
    try:
        print(f"deployed to {tyro.cli(deploy, prog='python -m space.deploy', args=args)}")
    except MaskHubError as error:
        print(f"maskhub: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
