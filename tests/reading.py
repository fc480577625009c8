"""What tests of the upstream formats share: rows in, records and refusals out."""

import io
import json
from typing import Any

from stages.lib.sources import formats
from stages.lib.sources.containers import Member
from stages.lib.sources.fields import Parsed
from stages.lib.sources.rows import Refused


def read(format: str, *rows: Any, **columns: str) -> tuple[list[Parsed], list[Refused]]:
    data = json.dumps(list(rows), ensure_ascii=False).encode()
    return read_bytes(format, data, columns or None)


def read_bytes(format: str, data: bytes, columns: dict[str, str] | None = None) -> tuple[list[Parsed], list[Refused]]:
    member = Member("", io.BufferedReader(io.BytesIO(data)))
    found = list(formats.read(format, member, "", columns))
    return [row for row in found if isinstance(row, Parsed)], [row for row in found if isinstance(row, Refused)]


def texts(row: Parsed) -> list[str]:
    return [f"{message['role']}: {message['content']}" for message in row.messages]


def human(text: str = "Hi") -> dict[str, str]:
    return {"from": "human", "value": text}


def gpt(text: str = "Yo") -> dict[str, str]:
    return {"from": "gpt", "value": text}
