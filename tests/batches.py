"""A Batch API on loopback, whose texts say what becomes of them."""

import json
from collections import Counter
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """A Batch API: a text says how its line ends, and what was answered is billed."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.billed: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.looks = 2  # at a batch until it ends
        self.queue = 100  # requests in all batches that have not ended
        self.refuses = ""  # every batch, with this code

    def line(self, row: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
        """The file and the line that a request ends in; None where there is none."""
        text = row["body"]["messages"][-1]["content"]
        self.asked[text] += 1
        first = self.asked[text] == 1
        if text.startswith("expires") and (first or "always" in text):
            error = {"code": "batch_expired", "message": "too late"}
            return "error", {"custom_id": row["custom_id"], "response": None, "error": error}
        if text.startswith("vanishes") and first:
            return "error", None
        status = next((int(code) for code in ("500", "429", "400") if text.startswith(code) and first), 200)
        if text.startswith("reasoning") and "max_tokens" in row["body"]:
            status = 400
        if status != 200:
            told = "max_tokens is not supported, use max_completion_tokens" if status == 400 else "busy"
            body: Any = {"error": {"message": told}}
            return "error", {"custom_id": row["custom_id"], "response": {"status_code": status, "body": body}}
        self.billed[text] += 1
        finish = next((word for word in ("length", "content_filter") if text.startswith(word)), "stop")
        choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": f"to {text}"}}
        body = {"choices": [choice], "usage": {"prompt_tokens": 50, "completion_tokens": 100}}
        return "output", {"custom_id": row["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}

    def begin(self, asked: dict[str, Any]) -> dict[str, Any]:
        rows = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        waiting = sum(len(made["rows"]) for made in self.batches.values() if made["status"] == "in_progress")
        code = self.refuses or ("token_limit_exceeded" if waiting + len(rows) > self.queue else "")
        name = f"batch_{len(self.batches)}"
        self.batches[name] = {
            "id": name, "object": "batch", "endpoint": asked["endpoint"], "completion_window": "24h", "created_at": 1,
            "input_file_id": asked["input_file_id"], "metadata": asked["metadata"], "rows": rows, "looks": 0,
            "status": "failed" if code else "in_progress",
            "errors": {"data": [{"code": code, "message": "Enqueued token limit" if not self.refuses else "no"}]},
        }  # fmt: skip
        return self.batches[name]

    def look(self, made: dict[str, Any]) -> dict[str, Any]:
        made["looks"] += 1
        if made["status"] == "in_progress" and made["looks"] >= self.looks:
            lines: dict[str, list[str]] = {"output": [], "error": []}
            for kind, line in map(self.line, reversed(made["rows"])):  # in another order
                lines[kind] += [json.dumps(line)] if line else []
            for kind, found in lines.items():
                if found:
                    self.files[f"{made['id']}-{kind}"] = "\n".join(found).encode()
                    made[f"{kind}_file_id"] = f"{made['id']}-{kind}"
            made["status"] = "expired" if any("expires" in str(row) for row in made["rows"]) else "completed"
        return made


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/batches":
            self.reply(self.server.begin(json.loads(data)))
            return
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts: Any = BytesParser(policy=HTTP).parsebytes(head + data).get_payload()
        name = f"file_{len(self.server.files)}"
        found = {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parts}
        self.server.files[name] = found["file"]
        self.reply({"id": name, "object": "file", "bytes": 1, "created_at": 1, "filename": "f", "purpose": "batch"})

    def do_GET(self) -> None:
        *_, name = self.path.partition("?")[0].strip("/").split("/")
        if name == "batches":
            self.reply({"object": "list", "data": list(self.server.batches.values()), "has_more": False})
        elif name == "content":
            data = self.server.files.get(self.path.split("/")[-2])
            self.reply(data if data is not None else {"error": {"message": "no such file"}}, 200 if data else 404)
        elif name in self.server.batches:
            self.reply(self.server.look(self.server.batches[name]))
        else:
            self.reply({"error": {"message": "no such batch"}}, 404)

    def reply(self, body: Any, status: int = 200) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if isinstance(body, bytes) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""
