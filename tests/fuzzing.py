"""Broken inputs by the hundred, in a process of their own with limits on time and memory.

    if __name__ == "__main__":
        fuzz("photos", {"a.jpg": data, ...}, read)          # in a target file
    run_target("fuzz_photos.py", count=300, seed=0)         # in a test

A case is one mutated input. It may be read, or refused with a MaskHubError; anything else, a case that takes longer
than its limit, and memory beyond the allowance fail the run, and the input is kept for a look. Cases follow from the
seed and their number alone, so that a failing one can be made again.
"""

import argparse
import faulthandler
import json
import random
import resource
import sys
import tempfile
from copy import deepcopy
from pathlib import Path

from forked import Forked

__all__ = ["fuzz", "mutated_bytes", "mutated_json", "run_target"]

TESTS = Path(__file__).parent
EXTREMES = [0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
VALUES = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**9, 10**30, -(10**30), 0.5, 1e308, -1e-308, "", "big", "../x",
    "a" * 5000, "\0", "\ud800", [], [0], [[]], [None, None], ["maskhub", "read_provenance"], ["os", "system"],
    {}, {"a": {}}, [1] * 2000,
]  # fmt: skip


def run_target(file, count, seed, timeout=600):
    """Run a target file in a process of its own.

    Returns:
        dict: ``cases``, ``refused``, ``slowest`` in seconds and ``memory`` in MB, the rise of the peak.
    """
    words = ("--count", count, "--seed", seed)
    with tempfile.TemporaryDirectory() as folder:
        process = Forked(TESTS / "fuzz" / file, *words, output=Path(folder) / "output.txt")
        code, text = process.wait(timeout), process.text()
    assert code == 0, f"{file} {words}\n{text[-8000:]}"
    return json.loads(next(line for line in text.splitlines() if line.startswith('{"cases"')))


def fuzz(inputs, read, mutate=None, seconds=60, allowance=2048):
    """Try mutations of some inputs; the main function of a target file.

    Args:
        inputs: name → whole input: bytes, or what ``mutate`` takes.
        read: function of a name and a mutated input.
        mutate: function of an input and a ``random.Random``; :func:`mutated_bytes` if not given.
        seconds: that one case may take before the process is ended with a traceback.
        allowance: MB that may be taken beyond what the process has at the start.
    """
    from maskhub.errors import MaskHubError

    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    faulthandler.enable()
    for name, data in inputs.items():  # whole inputs are read, and what is loaded late is there
        read(name, data)
    _limit_memory(allowance)
    start, refused, slowest = _peak(), 0, 0.0
    for number in range(options.count):
        rng = random.Random(f"{options.seed}:{number}")
        name = rng.choice(sorted(inputs))
        case = (mutate or mutated_bytes)(inputs[name], rng)
        faulthandler.dump_traceback_later(seconds, exit=True)
        begun = _seconds()
        try:
            read(name, case)
        except MaskHubError as error:
            refused += 1
            assert "\n" not in str(error), f"{name}: more than one line: {error}"
        except BaseException:
            print(f"case {number} of {name}, kept in {_kept(name, case)}", file=sys.stderr)
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()
        slowest = max(slowest, _seconds() - begun)
    print(json.dumps({"cases": options.count, "refused": refused, "slowest": slowest, "memory": _peak() - start}))


def mutated_bytes(data, rng):
    """A copy of some bytes with a few changes: bits, bytes, numbers, pieces left out, repeated or put elsewhere."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        place = rng.randrange(len(data)) if data else 0
        length = min(rng.choice((1, 2, 4, 8, 64, 1024)), len(data) - place)
        kind = rng.randrange(8)
        if not data:
            data += rng.randbytes(8)
        elif kind == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[place : place + length] = rng.randbytes(length)
        elif kind == 2:
            size = rng.choice((1, 2, 4, 8))
            number = (rng.choice(EXTREMES) % 256**size).to_bytes(size, rng.choice(("little", "big")))
            data[place : place + size] = number
        elif kind == 3:
            del data[place : place + length]
        elif kind == 4:
            data[place:place] = data[place : place + length] * rng.choice((1, 2, 50))
        elif kind == 5 and rng.random() < 0.4:
            del data[place:]
        elif kind == 6:
            data[place:place] = rng.randbytes(length)
        else:
            other = rng.randrange(len(data))
            data[place : place + length] = data[other : other + length]
    return bytes(data)


def mutated_json(value, rng):
    """A copy of what JSON can hold with a few changes: values of other kinds and sizes, keys more and fewer."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = _changed(value, rng)
    return value


def _changed(value, rng):
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.05:
        return deepcopy(rng.choice(VALUES))  # what is put in may be changed later, but not for the next case
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key, kind = rng.choice(keys), rng.randrange(6)
    if kind == 0:
        del value[key]
    elif kind == 1 and isinstance(value, dict):
        value[rng.choice(("extra", "_class_name", "", "../x", "x" * 300))] = deepcopy(rng.choice(VALUES))
    elif kind == 2 and isinstance(value[key], (int, float)) and not isinstance(value[key], bool):
        value[key] = rng.choice((-value[key], value[key] + 1, value[key] * 2, value[key] * 10**6, value[key] + 0.5))
    else:
        value[key] = _changed(value[key], rng)
    return value


def _limit_memory(allowance):
    status = Path("/proc/self/status")
    if status.exists():
        data = next(line for line in status.read_text().splitlines() if line.startswith("VmData"))
        limit = int(data.split()[1]) * 1024 + allowance * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _seconds():
    times = resource.getrusage(resource.RUSAGE_SELF)
    return times.ru_utime + times.ru_stime


def _kept(name, case):
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    path = folder / Path(name).name
    path.write_bytes(case if isinstance(case, bytes) else json.dumps(case).encode())
    return path
