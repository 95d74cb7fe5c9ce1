"""The guides' examples, for `/docs`, and requests in their manner for the endpoints that the guides forgot."""

import json
from pathlib import Path
from typing import Any


def example(name: str) -> dict[str, Any]:
    """Return one example."""
    found: dict[str, Any] = json.loads(Path(__file__).with_name(f"{name}.json").read_text())
    return found


def asked(name: str) -> dict[str, Any]:
    """Return the OpenAPI extra of an operation with an example of its request body."""
    media = {"application/json": {"example": example(name)}}
    return {"requestBody": {"content": media}}


def told(name: str, *, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of an answer that the guide shows."""
    return {
        status: {"description": "As the guide prints it", "content": {"application/json": {"example": example(name)}}}
    }


def streamed(name: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of a stream whose events the guide shows."""
    text = f"id: 1\ndata: {json.dumps(example(name), ensure_ascii=False)}\n\n"
    content = {"text/event-stream": {"schema": {"type": "string"}, "example": text}}
    return {200: {"description": "Events, as the guide prints them, without end", "content": content}}
