"""One chat completion: the form of the request, and what each kind of reply means for another try and for the money.

Replies are read by their bytes, since a 200 may hold anything: a page of HTML, half an object, no choices. Models that
refuse ``max_tokens`` or ``temperature`` (OpenAI's o series and gpt-5) teach the form once, for all later requests.
Nothing that leaves here holds the API key, not even when a server echoes it. Not covered: how many requests at a time
(``endpoint.py``).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.lib.contract import Refusal
from stages.lib.params import Teacher
from stages.lib.teachers.limits import retry_after
from stages.lib.teachers.requests import Prompt
from stages.lib.text.vietnamese import whole

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

UNSUPPORTED = re.compile(
    r"support|unrecogni|unknown|unexpected|not (permitted|allowed)|extra|deprecated", re.IGNORECASE
)
SECRET = 12  # characters of a key that is one: local servers take any word, which may stand in a text
# Azure refuses what its filter finds in a request, and says so in the words of its error
FILTERED = re.compile(r"content_filter|content management policy|ResponsibleAIPolicyViolation", re.IGNORECASE)
GATEWAY = (504, 524)  # somebody on the way stopped waiting: the model went on, at a price


@dataclass(frozen=True)
class Answer:
    """What the model said and what it cost."""

    text: str
    finish_reason: str
    usage: dict[str, int]


@dataclass(frozen=True)
class Fault:
    """Why a request brought no answer."""

    reason: str
    detail: str
    billed: bool = False  # it may have been
    again: bool = True  # it is worth another try
    status: int = 0
    wait: float | None = None  # seconds, if the server asks for them


class Form:
    """All of a request but its text."""

    def __init__(self, teacher: Teacher, prompt: Prompt, secret: str) -> None:
        self.teacher = teacher
        self.secret = secret if len(secret) >= SECRET else ""
        self.address = re.sub(r"//[^/@]*@", "//", teacher.base_url).partition("?")[0]
        self.answered = False  # any request, so far
        self._system = {"role": "system", "content": prompt.text}
        self.body: dict[str, Any] = {
            "model": teacher.model,
            "temperature": teacher.temperature,
            "max_tokens": teacher.max_tokens,
        }
        if prompt.schema and teacher.json_schema:
            name = re.sub(r"[^A-Za-z0-9_-]", "_", prompt.name)[:64]
            schema = {"name": name, "schema": prompt.schema, "strict": True}
            self.body["response_format"] = {"type": "json_schema", "json_schema": schema}
        self._size = len(json.dumps(self.request(""), ensure_ascii=False).encode("utf-8"))

    def size(self, text: str) -> int:
        """The most tokens that a request may have: each is a byte at least, of prompt, schema, roles and text."""
        return self._size + len(text.encode("utf-8"))

    def request(self, text: str) -> dict[str, Any]:
        """The arguments of one request."""
        return {**self.body, "messages": [self._system, {"role": "user", "content": text}]}

    def learned(self, sent: Mapping[str, Any], said: str) -> bool:
        """Whether a request that was refused in these words is worth sending again in another form."""
        if "max_tokens" in sent and "max_tokens" in said and ("max_completion" in said or UNSUPPORTED.search(said)):
            if self.body.pop("max_tokens", None):
                self.body["max_completion_tokens"] = self.teacher.max_tokens
            return True
        if "temperature" in sent and "temperature" in said and UNSUPPORTED.search(said):
            self.body.pop("temperature", None)
            return True
        return False

    def shown(self, said: object, most: int = 200) -> str:
        """Words of a server as they may be written down: without the key, and not all of them."""
        return (str(said).replace(self.secret, "…") if self.secret else str(said))[:most]


async def complete(
    client: "AsyncOpenAI", form: Form, text: str
) -> tuple[Answer | Fault | None, Mapping[str, str] | None]:
    """One try: its outcome, or None when the same is to be sent in the form that was just learned; and the headers."""
    import asyncio

    import httpx2
    import openai

    sent = form.request(text)
    try:
        async with asyncio.timeout(form.teacher.timeout):  # the library's own starts anew with every byte
            # as it is: the library's check of the form would cost a fifth of the whole request
            reply = await client.post("/chat/completions", body=sent, cast_to=httpx2.Response)
    except (openai.APITimeoutError, TimeoutError) as error:
        if type(error.__cause__).__name__ in ("ConnectTimeout", "PoolTimeout"):
            return Fault("no answer", "the server takes no connections"), None
        return slow(form), None
    except openai.APIConnectionError as error:
        return broken(form, error), None
    except openai.APIStatusError as error:
        return refused(form, sent, error), error.response.headers
    outcome = read(form, reply.content)
    form.answered |= isinstance(outcome, Answer)
    return outcome, reply.headers


def slow(form: Form) -> Fault:
    """A slow answer is billed like any other: to ask again would pay again."""
    return Fault(
        "timed out", f"no answer in {form.teacher.timeout:g} s; raise teacher.timeout", billed=True, again=False
    )


def broken(form: Form, error: Exception) -> Fault:
    """The connection failed: nobody knows whether an answer was made, unless there was no connection."""
    cause = error.__cause__ or error
    detail = form.shown(f"{type(cause).__name__} {cause}".strip())
    if type(cause).__name__ == "ConnectError":
        return Fault("no answer", detail)
    return Fault("no answer", detail, billed=True)


def filtered(status: int | None, said: str) -> Answer | None:
    """The answer that a content filter leaves of a request that it refused for good; its tokens are unknown."""
    return Answer("", "content_filter", {}) if status == 400 and FILTERED.search(said) else None


def refused(form: Form, sent: Mapping[str, Any], error: "APIStatusError") -> Answer | Fault | None:
    """What a status other than 200 means; a refusal that will meet every request is raised."""
    status, said = error.status_code, form.shown(error, 1000)
    headers = error.response.headers
    if status == 403 and form.answered:  # some gateways say so of a text that they do not like
        return Fault("request refused", said[:200], again=False)
    if status in (401, 403, 404):
        raise Refusal(f"the teacher at {form.address} refuses every request: {said[:200]}")
    if status == 402 or error.code == "insufficient_quota":
        raise Refusal("the teacher's account has no credit left; what was bought is in the journal")
    if answer := filtered(status, said):
        return answer
    if status == 400 and form.learned(sent, said):
        return None
    if status == 400 and "response_format" in sent and re.search(r"response_format|json_schema", said):
        raise Refusal(
            f"the teacher at {form.address} takes no JSON schema: set teacher.json_schema: false. It says: {said[:200]}"
        )
    if status in GATEWAY:
        return slow(form)
    if status in (408, 409, 429) or status >= 500:
        return Fault("no answer", said[:200], status=status, wait=retry_after(headers))
    return Fault("request refused", said[:200], again=False)


def read(form: Form, data: bytes) -> Answer | Fault:
    """The answer in the body of a 200, whatever else it may be."""
    start = form.shown(data[:200].decode("utf-8", "replace"), 80)
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):  # half an answer may have been billed; a page for people is none
        cut = data.lstrip().startswith(b"{")
        return Fault("no answer", f"no completion but {start!r}", billed=cut)
    choices = body.get("choices") if isinstance(body, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if first is None or not isinstance(message, dict):
        return Fault("no answer", f"no completion but {start!r}")
    content, finish, usage = message.get("content"), first.get("finish_reason"), body.get("usage")
    text = whole(content) if isinstance(content, str) else ""
    return Answer(
        text.replace(form.secret, "…") if form.secret else text,
        finish if isinstance(finish, str) else "unknown",
        {
            name: count
            for name in ("prompt_tokens", "completion_tokens")
            if isinstance(usage, dict) and isinstance(count := usage.get(name), int)
        },
    )
