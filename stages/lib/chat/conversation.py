"""A conversation with one of the models of this commit, apart from the page that shows it.

Which models there are, which part of a conversation fits into a model's context, how an answer is streamed
and what a rating is written down as. Not covered: batching of several askers (one answers after the other),
and base models without a chat template, which only continue text.
"""

import json
import threading
from bisect import bisect_left
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stages.lib import models, params, weights
from stages.lib.contract import Refusal

ORDER = ("rlhf", "sft", "int8", "nf4", "base")
CAUSAL = ("ForCausalLM", "LMHeadModel")
KEPT = 2  # models in memory: the one in use and the one that it is compared with
SHORTEST = 8  # tokens; with less room than this for an answer the question counts as too long
INTERVAL = 0.05  # seconds between two views of a growing answer: a browser gains nothing from more than 20 a second

Message = dict[str, str]


class Trouble(Exception):
    """Why there is no answer: the key of a text that the page has in each language, and what fills its blanks."""

    def __init__(self, key: str, **blanks: object) -> None:
        super().__init__(f"{key} {blanks}")
        self.key, self.blanks = key, blanks


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn; a temperature of 0 takes the likeliest, a ``top_k`` of 0 sets no limit."""

    temperature: float
    top_p: float
    top_k: int
    max_new_tokens: int
    repetition_penalty: float
    seed: int


@dataclass(frozen=True)
class Turn:
    """A question, its answer as far as it has come, and what made it."""

    question: str
    answer: str
    model: str
    system: str
    sampling: Sampling
    attempt: int = 0


@dataclass(frozen=True)
class Loaded:
    """A model ready to answer."""

    name: str
    model: Any
    tokenizer: Any
    context: int


class Models:
    """The sub-folders of a folder of models; each is loaded when it is first asked for, and the last two are kept."""

    def __init__(self, folder: Path, compute: params.Compute) -> None:
        self.folder, self.compute = folder, compute
        self.lock = threading.Lock()
        self.loaded: dict[tuple[str, int], Loaded] = {}

    def get(self, name: str) -> Loaded:
        """The model of that name as its folder holds it now: one made anew since is loaded anew."""
        if name not in discover(self.folder):  # also keeps a forged name from leaving the folder
            raise Trouble("gone", model=name)
        key = (name, (self.folder / name / "config.json").stat().st_mtime_ns)
        with self.lock:
            self.loaded = {old: model for old, model in self.loaded.items() if old[0] != name or old == key}
            model = self.loaded.pop(key, None)
            while model is None and len(self.loaded) >= KEPT:
                del self.loaded[next(iter(self.loaded))]
            self.loaded[key] = model or load(self.folder / name, self.compute)
            return self.loaded[key]


def discover(folder: Path) -> list[str]:
    """The names of the sub-folders that hold a causal language model, the most finished first."""
    names = [config.parent.name for config in folder.glob("*/config.json") if is_causal(config)]
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def is_causal(config: Path) -> bool:
    """Whether a config.json is that of a model that writes text; a reward model only scores it."""
    try:
        architectures = json.loads(config.read_text(encoding="utf-8")).get("architectures") or []
    except (OSError, ValueError, AttributeError):  # a folder that a stage is writing at this moment
        return False
    return any(str(name).endswith(CAUSAL) for name in architectures)


def load(folder: Path, compute: params.Compute) -> Loaded:
    """Read weights and tokenizer from disk; of a model that the GPU has no room for, a part stays beside it."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        model = models.load(folder, compute, device_map=weights.room(folder, compute), local_files_only=True)
    except (Refusal, OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise Trouble("unreadable", model=folder.name, detail=brief(error)) from error
    return Loaded(folder.name, model.eval(), tokenizer, context_length(model.config, tokenizer))


def context_length(config: Any, tokenizer: Any) -> int:
    """Tokens that a model can see at once, by whichever name its family gives that number."""
    text = config.get_text_config()
    found = [getattr(text, name, None) for name in ("max_position_embeddings", "n_positions", "seq_length")]
    found.append(tokenizer.model_max_length)  # "no limit" is written as 10**30
    return min((int(length) for length in found if length and 0 < length < 10**9), default=2048)


def messages(turns: Sequence[Turn], question: str, system: str) -> list[Message]:
    """The conversation so far and the next question, as a chat template reads it."""
    told = [{"role": "system", "content": system.strip()}] if system.strip() else []
    for turn in turns:
        told += [{"role": "user", "content": turn.question}, {"role": "assistant", "content": turn.answer}]
    return [*told, {"role": "user", "content": question}]


def fit(
    told: Sequence[Message], length: Callable[[Sequence[Message]], int], context: int, wanted: int
) -> tuple[list[Message], int, int]:
    """Leave out the oldest exchanges until an answer fits in.

    ``length`` gives the tokens of some messages. Returns the messages kept, how many exchanges were left out,
    and the most tokens that the answer may have. The system prompt and the last question are always kept;
    :class:`Trouble` if these alone are too long.
    """
    start = 1 if told[0]["role"] == "system" else 0
    exchanges = (len(told) - start) // 2
    reserved = min(wanted, context // 2)

    def kept(dropped: int) -> list[Message]:
        return [*told[:start], *told[start + 2 * dropped :]]

    # The length falls with every exchange left out, so halving finds the first that fits.
    dropped = bisect_left(range(exchanges), True, key=lambda count: length(kept(count)) + reserved <= context)
    room = context - length(kept(dropped))
    if room < SHORTEST:
        raise Trouble("too_long", tokens=context - room, context=context)
    return kept(dropped), dropped, min(wanted, room)


def prompt(model: Loaded, told: Sequence[Message]) -> list[int]:
    """The token ids of a conversation in the model's own chat template, up to where its answer begins."""
    from jinja2 import TemplateError

    if not model.tokenizer.chat_template:
        raise Trouble("no_template", model=model.name)
    try:
        text = model.tokenizer.apply_chat_template(list(told), add_generation_prompt=True, tokenize=False)
    except TemplateError as error:  # a template may refuse roles that its model was not trained on
        raise Trouble("refused", model=model.name, detail=brief(error)) from error
    ids: list[int] = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def stream(
    model: Loaded, ids: list[int], sampling: Sampling, stop: threading.Event
) -> Generator[tuple[str, int], None, None]:
    """The answer as it grows: (text so far, tokens so far), at most 20 times a second.

    Setting ``stop`` makes the next token the last one. So does closing the generator, which is what happens when
    the visitor has gone; the model is free for the next asker when ``close`` returns.
    """
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList

    written: list[int] = []
    gone = threading.Event()

    class Watch(StoppingCriteria):
        """Sees every token, so it serves as streamer and as brake."""

        def __call__(self, input_ids: Any, scores: Any, **rest: Any) -> Any:
            nonlocal written
            written = input_ids[0, len(ids) :].tolist()
            halt = stop.is_set() or gone.is_set()
            return torch.full((len(input_ids),), halt, dtype=torch.bool, device=input_ids.device)

    given = torch.tensor([ids], device=model.model.device)
    settings = generation_settings(model, sampling)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            torch.manual_seed(sampling.seed)
            model.model.generate(
                given,
                attention_mask=torch.ones_like(given),
                stopping_criteria=StoppingCriteriaList([Watch()]),
                **settings,
            )
        except Exception as error:  # noqa: BLE001  # raised again by the thread that shows the answer
            failed.append(error)

    def text() -> str:
        # A letter of several bytes may be half written; it is shown once it is whole.
        return str(model.tokenizer.decode(written, skip_special_tokens=True)).rstrip("\ufffd")

    thread = threading.Thread(target=work, name="answer", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(INTERVAL)
            yield text(), len(written)
        if failed:
            raise Trouble("failed", model=model.name, detail=brief(failed[0])) from failed[0]
        yield text(), len(written)
    finally:
        gone.set()
        thread.join()


def generation_settings(model: Loaded, sampling: Sampling) -> dict[str, Any]:
    """Sampling as the keywords of ``generate``."""
    ends = models.ends(model.model, model.tokenizer)
    pads = [model.tokenizer.pad_token_id, *ends, 0]
    drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    return {
        "max_new_tokens": sampling.max_new_tokens,
        "repetition_penalty": sampling.repetition_penalty,
        "do_sample": sampling.temperature > 0,
        **(drawn if sampling.temperature > 0 else dict.fromkeys(drawn)),
        "eos_token_id": ends or None,
        "pad_token_id": next(pad for pad in pads if pad is not None),
    }


def feedback_row(turns: Sequence[Turn], index: int, liked: bool, commit: str) -> dict[str, Any]:
    """The rating of one answer: what made it and the conversation up to it, and nothing about who rated it."""
    rated = turns[index]
    told = messages(turns[:index], rated.question, rated.system)
    return {
        "rating": "up" if liked else "down",
        "commit": commit,
        "model": rated.model,
        "sampling": asdict(rated.sampling),
        "messages": [*told, {"role": "assistant", "content": rated.answer}],
    }


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a row to a file of JSON lines. One write call, so that rows of two servers don't mix."""
    path.parent.mkdir(exist_ok=True)
    with path.open("ab", buffering=0) as file:
        file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())


def brief(error: BaseException) -> str:
    """The first line of an error, short enough for a page."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
