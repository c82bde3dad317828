"""The browser edition's sentence about the faces of a photo is Python's."""

import json
import subprocess
from collections import Counter
from itertools import product

from node_packages import WEB, install

from maskhub.direction import Direction
from maskhub.pipelines.outcomes import DONE, Outcome, described

BUNDLE = ["npx", "esbuild", "src/outcomes.ts", "--bundle", "--format=esm", "--log-level=error"]
ASK = """
import { described } from "./outcomes.mjs";
let given = "";
for await (const part of process.stdin) given += part;
const said = JSON.parse(given).map(([faces, leave]) => described(faces, new Set(leave)));
console.log(JSON.stringify(said));
"""


def test_the_faces_are_counted_in_the_order_of_python(tmp_path):
    install()
    subprocess.run([*BUNDLE, f"--outfile={tmp_path / 'outcomes.mjs'}"], cwd=WEB, check=True)
    (tmp_path / "ask.mjs").write_text(ASK)
    kinds = [*Direction, *(outcome for outcome in Outcome if outcome is not Outcome.CHANGED)]
    photos = [faces for count in range(1, 5) for faces in product(kinds, repeat=count)]
    asked = [
        (
            [
                {"direction": str(kind), "outcome": "changed"}
                if kind in DONE
                # a face that is left out has the outcome that it would have
                else {"direction": "mask", "outcome": "changed" if kind is Outcome.NOT_CHOSEN else str(kind)}
                for kind in faces
            ],
            [number for number, kind in enumerate(faces) if kind is Outcome.NOT_CHOSEN],
        )
        for faces in photos
    ]
    done = subprocess.run(["node", tmp_path / "ask.mjs"], input=json.dumps(asked), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for faces, said in zip(photos, json.loads(done.stdout), strict=True):
        wanted = described(Counter(DONE.get(kind, kind) for kind in faces)).replace(" (not chosen)", "")
        assert said == wanted, faces
