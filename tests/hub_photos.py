"""Numbered pictures, and datasets of them on the loopback Hub."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from maskhub.cards import THIS_REPOSITORY

__all__ = ["data_set_files", "encoded", "photo", "push_parquet", "row"]


def photo(number):
    """A picture that tells its number: 24×24, red is ten times the number."""
    pixels = np.full((24, 24, 3), (number * 10, 255 - number * 10, 40), np.uint8)
    return Image.fromarray(pixels)


def encoded(number):
    file = io.BytesIO()
    photo(number).save(file, "PNG")
    return file.getvalue()


def row(number):
    return {"bytes": encoded(number), "path": f"photo_{number:03d}.png"}


def push_parquet(
    folder, repo_id, rows, shards=3, split="train", branch=None, columns=("image",), token=None, group=None, **repo
):
    """Push a dataset in ``shards`` parquet files with row groups of ``group`` rows, as ``datasets`` itself would."""
    from datasets import Dataset, Features, Image, Value
    from datasets.utils.logging import disable_progress_bar
    from huggingface_hub import CommitOperationAdd, HfApi

    disable_progress_bar()
    api, operations = HfApi(token=token), []
    for number, share in enumerate(np.array_split(np.arange(len(rows)), shards)):
        chosen = [rows[i] for i in share]
        features = Features({**{name: Image() for name in columns}, "label": Value("int64")})
        table = Dataset.from_dict({**dict.fromkeys(columns, chosen), "label": share.tolist()}, features=features)
        table.to_parquet(folder / f"{split}-{number}.parquet", batch_size=group)
        name = f"data/{split}-{number:05d}-of-{shards:05d}.parquet"
        operations.append(CommitOperationAdd(name, folder / f"{split}-{number}.parquet"))
    api.create_repo(repo_id, repo_type="dataset", exist_ok=True, **repo)
    if branch:
        api.create_branch(repo_id, branch=branch, repo_type="dataset")
    return api.create_commit(
        repo_id, operations, commit_message="photos", repo_type="dataset", revision=branch or "main"
    ).oid


def data_set_files(repo_id):
    """The files of a data set that are not hidden: name → bytes, with the card as it would be in a folder."""
    from huggingface_hub import HfApi, hf_hub_download

    names = [name for name in HfApi().list_repo_files(repo_id, repo_type="dataset") if name[0] != "."]
    files = {name: Path(hf_hub_download(repo_id, name, repo_type="dataset")).read_bytes() for name in names}
    if "README.md" in files:
        files["README.md"] = files["README.md"].replace(repo_id.encode(), THIS_REPOSITORY.encode())
    return files
