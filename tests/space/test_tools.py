"""The endpoints as tools of agents: listed, typed and called by the MCP client, and through gradio_client."""

import asyncio
import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from app_process import PATIENCE, ROOT
from PIL import Image

mcp = pytest.importorskip("mcp")
from mcp.client.streamable_http import streamablehttp_client  # noqa: E402

ASTRONAUT = ROOT / "space" / "examples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def agent(app):
    """A function that lists the tools, or calls one."""

    async def talk(name, arguments):
        address = f"{app.url}gradio_api/mcp/"
        async with (
            streamablehttp_client(address, timeout=PATIENCE) as streams,
            mcp.ClientSession(*streams[:2]) as session,
        ):
            await session.initialize()
            if name is None:
                return {tool.name: tool for tool in (await session.list_tools()).tools}
            return await session.call_tool(name, arguments)

    def call(name=None, **arguments):
        # a thread of its own: Playwright's loop runs in this one
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, talk(name, arguments)).result()

    return call


@pytest.fixture(scope="module")
def photo():
    return "data:image/jpeg;base64," + base64.b64encode(ASTRONAUT.read_bytes()).decode()


def text_of(answer):
    return "\n".join(part.text for part in answer.content if part.type == "text")


def test_the_tools_are_named_typed_and_documented(agent):
    tools = agent()
    assert {*tools} == {"mask", "unmask", "swap", "cycle", "wear", "compare", "detect"}
    for tool in tools.values():
        assert tool.description and all(value["description"] for value in tool.inputSchema["properties"].values())
        assert tool.inputSchema["properties"]["photo"]["type"] == "string" and "photo" in tool.inputSchema["required"]
    assert tools["cycle"].inputSchema["properties"]["start"]["enum"] == ["mask", "unmask"]
    kinds = {name: value["type"] for name, value in tools["wear"].inputSchema["properties"].items()}
    assert kinds["everyone"] == "boolean" and kinds["seed"] == "integer" and kinds["style"] == "string"


def test_an_agent_gets_the_pipelines_own_picture(agent, photo, pipe):
    answer = agent("mask", photo=photo)
    assert not answer.isError
    with Image.open(io.BytesIO(base64.b64decode(answer.content[0].data))) as made:
        assert np.array_equal(np.asarray(made.convert("RGB")), np.asarray(pipe(ASTRONAUT, "mask").convert("RGB")))


def test_every_tool_answers(agent, photo, masked_file):
    masked = "data:image/png;base64," + base64.b64encode(masked_file.read_bytes()).decode()
    (face,) = json.loads(text_of(agent("detect", photo=masked)).replace("'", '"').replace("True", "true"))
    assert face["masked"] and face["presence"] > 0.5 and len(face["box"]) == 4
    assert agent("unmask", photo=masked).content[0].type == "image"
    there, _, back, _, error = agent("cycle", photo=photo, start="mask").content
    assert there.type == back.type == "image" and 0 < float(error.text) < 255
    kinds = [part.type for part in agent("wear", photo=photo, style="surgical", seed=3).content]
    assert kinds.count("image") == 2 and kinds[-1] == "text"


def test_an_uploaded_file_by_its_address(app, agent):
    with open(ASTRONAUT, "rb") as file:
        (path,) = httpx.post(f"{app.url}gradio_api/upload", files={"files": file}, timeout=PATIENCE).json()
    assert "'masked': False" in text_of(agent("detect", photo=f"{app.url}gradio_api/file={path}"))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("detect", {}, "'photo' is a required property"),
        ("detect", {"photo": "http://127.0.0.1:9/x.jpg"}, "This file was not uploaded here."),
        ("detect", {"photo": "http://x/gradio_api/file=/etc/passwd"}, "This file was not uploaded here."),
        ("detect", {"photo": "/etc/passwd"}, "Invalid file data format"),
        ("detect", {"photo": "data:image/jpeg;base64,AAAA"}, ""),
        ("detect", {"photo": "data:image/jpeg;base64,bm8gcGhvdG8="}, "is not a picture that can be read"),
        ("cycle", {"photo": None, "start": "sideways"}, "'sideways' is not one of ['mask', 'unmask']"),
        ("wear", {"photo": None, "style": "paper"}, "style is 'paper'; it must be one of surgical"),
        ("mask", {"photo": None, "speed": 1}, "`speed` is not a valid key-word argument"),
        ("paint", {}, "Unknown tool"),
    ],
)
def test_a_wrong_argument_gets_a_sentence(agent, photo, name, arguments, words):
    answer = agent(name, **{key: photo if value is None else value for key, value in arguments.items()})
    text = text_of(answer)
    assert answer.isError and words in text
    assert "\n" not in text and "Traceback" not in text and "/tmp" not in text and not text.startswith("--")
