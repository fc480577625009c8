"""The dry run: what it says before is what is paid afterwards, of a server that counts with a real tokenizer."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from stages import generate, translate
from stages.lib import paramfile, records
from stages.lib.contract import Refusal
from stages.lib.params import Fallback, Params, Price
from stages.lib.records import Message
from stages.lib.teachers import account, costs, prices
from stages.lib.teachers.bill import Bill
from stages.lib.teachers.journal import Journal, entries, home
from tools import estimate, foresee, price
from tools.inputs import inputs

DIALS = paramfile.check(Path("params.yaml"), Path("recipes"))[0]
SAMPLE = list(entries(Path("data/sample/teacher.jsonl")))
TRANSLATED = [entry for entry in SAMPLE if entry["prompt"] == "translate"]
INVENTED = [entry for entry in SAMPLE if entry["prompt"] == "generate"]
EVOLVED = [entry for entry in SAMPLE if entry["prompt"] == "evolve"]
CLOSE = 0.25


class Server(ThreadingHTTPServer):
    """Answers with what the project's authors wrote, and counts tokens with a byte-level BPE of its own."""

    daemon_threads = True
    request_queue_size = 128  # connections that wait; beyond them a request may be lost, and counts as billed

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.known = {entry["input"]: entry["answer"] for entry in SAMPLE}
        self.lock, self.asked = threading.Lock(), Counter[str]()
        self.tokenizer = Tokenizer(models.BPE())
        self.tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=8000, initial_alphabet=alphabet, show_progress=False)
        # half of the texts, so that the other half meets words that it doesn't know
        self.tokenizer.train_from_iterator([entry["input"] + entry["answer"] for entry in SAMPLE[::2]], trainer)

    def answer(self, text: str) -> str:
        """The one that was written for this text; to another one each of its kind in turn, and a translation again."""
        if text in self.known:
            return self.known[text]
        if '"role"' in text:
            return next((answer for source, answer in self.known.items() if source[:60] in text), "?")
        pool = EVOLVED if '"operation"' in text else INVENTED
        with self.lock:
            number = self.asked[pool[0]["prompt"]]
            self.asked[pool[0]["prompt"]] += 1
        return pool[number % len(pool)]["answer"]

    def count(self, text: str) -> int:
        return len(self.tokenizer.encode(text).ids)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        system, text = (message["content"] for message in body["messages"][:2])
        answer = self.server.answer(text)
        took, wrote = self.server.count(system) + self.server.count(text) + 11, self.server.count(answer)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}
        usage = {"prompt_tokens": took, "completion_tokens": wrote, "total_tokens": took + wrote}
        reply = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        data = json.dumps(reply | {"usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@dataclass
class Shop:
    """A project whose sources are the sample's own requests, and the server that it buys from."""

    dials: Params
    sources: dict[str, Any] = field(default_factory=dict)

    def put(self, name: str, part: slice) -> None:
        """A source of English records."""
        rows = []
        for number, entry in enumerate(TRANSLATED[part]):
            turns = json.loads(entry["input"])
            messages: list[Message] = [{"role": turn["role"], "content": turn["text"]} for turn in turns]
            about = {"source": name, "licence": "MIT", "lang": "en", "upstream": str(number)}
            rows.append(records.make("conversation", messages, **about))
        Path("data/records").mkdir(exist_ok=True)
        records.write(Path(f"data/records/{name}.parquet"), rows)
        self.sources = {name: DIALS.sources["alpaca"]}

    def foresee(self, seed: int = 1) -> dict[str, foresee.Stage]:
        """What the dry run says, by stage."""
        dials = self.at(seed)
        journal = Journal(foresee.SHIPPED, own=home())
        stages = [foresee.invented(dials, journal)]
        stages += [foresee.foreign(dials, journal, name, table(name), set()) for name in self.sources]
        return {stage.name: stage for stage in stages}

    def at(self, seed: int) -> Params:
        """The params with another seed for what is invented."""
        dial = self.dials.generate.model_copy(update={"seed": seed})
        return self.dials.model_copy(update={"sources": self.sources, "generate": dial})

    def buy(self, seed: int = 1) -> dict[str, dict[str, Any]]:
        """Run both stages; what each one's answers cost, by stage."""
        dials, bills = self.at(seed), [Path("data/generate.spend.parquet")]
        common: dict[str, Any] = {"teacher": dials.teacher, "spend": dials.spend, "licences": dials.licences}
        made = [Path("data/generate.parquet"), Path("data/generate.dropped.parquet"), *bills]
        words = [*inputs(), *made]
        generate.main(*words, generate=dials.generate, **common)
        for name in self.sources:
            Path("data/vi").mkdir(exist_ok=True)
            bills.append(Path(f"data/vi/{name}.spend.parquet"))
            kinds = ("parquet", "dropped.parquet", "quarantine.jsonl", "spend.parquet")
            prompts = [foresee.PROMPTS / f"{prompt}.yaml" for prompt in ("translate", "retranslate", "judge")]
            made = [Path(f"data/vi/{name}.{kind}") for kind in kinds]
            words = [table(name), *prompts, foresee.SHIPPED, *made]
            translate.main(name, *words, translate=dials.translate, **common)
        return {stage: found["m"] for stage, found in costs.gather(bills, dials.spend)["stages"].items()}


def table(name: str) -> Path:
    return Path(f"data/records/{name}.parquet")


@pytest.fixture
def shop(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    for part in ("stages", "data/sample", "params.yaml", "recipes", "dvc.yaml"):
        (tmp_path / part).parent.mkdir(exist_ok=True)
        (tmp_path / part).symlink_to(root / part)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        changes = {
            "engine": "openai",
            "model": "m",
            "base_url": f"http://127.0.0.1:{server.server_port}/v1",
            "json_schema": False,
            "fallback": None,
        }
        spend = DIALS.spend.model_copy(update={"cap": 9.0, "prices": {"m": Price(input=0.4, output=1.6)}})
        teacher = DIALS.teacher.model_copy(update=changes)
        # what the judges make of the answers is not what is tested
        lenient = DIALS.translate.model_copy(update={"max_refused": 1.0})
        yield Shop(DIALS.model_copy(update={"teacher": teacher, "spend": spend, "translate": lenient}))
        server.shutdown()


def dollars(stage: foresee.Stage) -> float:
    return prices.dollars(Price(input=0.4, output=1.6), round(stage.prompt), round(stage.completion))


def test_the_price_before_is_within_a_quarter_of_what_is_paid(shop: Shop) -> None:
    shop.put("first", slice(1, 240, 2))
    cold, paid = shop.foresee(), shop.buy()
    assert all(stage.answers == 0 for stage in cold.values())
    shop.put("second", slice(241, None, 2))
    warm, more = shop.foresee(seed=2), shop.buy(seed=2)
    assert all(stage.answers > estimate.ENOUGH for stage in warm.values())
    off = {}
    for before, after in ((cold, paid), (warm, more)):
        assert before.keys() == after.keys()
        for name, stage in before.items():
            assert stage.requests == stage.new > 0
            off[name, stage.answers] = dollars(stage) / after[name]["dollars"] - 1
    print(off)
    assert all(abs(error) < CLOSE for error in off.values())
    assert max(abs(error) for (_, known), error in off.items() if known) < 0.1
    # and all of it is known now, so that it costs nothing anew
    assert [stage.new for stage in shop.foresee(seed=2).values()] == [0, 0]
    page = price.page(shop.at(2), Journal(foresee.SHIPPED, own=home()))
    spent = account.total(home())["m", False]
    total = prices.dollars(Price(input=0.4, output=1.6), spent.prompt, spent.completion)
    assert f"Spent so far: {prices.money(total)}" in page and "translate@second: " in page
    assert max(map(len, page.splitlines())) <= 100


def test_a_cap_stops_a_run_with_64_in_flight_and_the_next_one_goes_on(shop: Shop) -> None:
    shop.put("mine", slice(1, 200, 2))
    # an answer may be as long as the longest that this server gives
    many = shop.dials.teacher.model_copy(update={"concurrency": 64, "max_tokens": 400})
    dear = shop.dials.spend.model_copy(update={"cap": 0.06})
    full, shop.dials = shop.dials, shop.dials.model_copy(update={"teacher": many, "spend": dear})
    with pytest.raises(Refusal, match=r"spend\.cap of \$0\.0600 .*raise spend\.cap"):
        for seed in range(1, 9):
            shop.buy(seed)
    stopped = account.total(home())["m", False]
    assert 0.05 < prices.dollars(Price(input=0.4, output=1.6), stopped.prompt, stopped.completion) <= 0.06
    shop.dials = full.model_copy(update={"teacher": many})
    shop.buy(seed)
    keys = [entry["key"] for entry in entries(home())]
    assert len(keys) == len(set(keys)) > stopped.answers  # none of them was paid twice


def test_what_it_says_of_the_cap_and_of_what_is_not_there(shop: Shop) -> None:
    shop.put("mine", slice(20))
    shop.sources["absent"] = DIALS.sources["dolly"]
    shop.sources["tiếng Việt"] = DIALS.sources["facts"]
    poor = shop.at(1)
    poor = poor.model_copy(update={"spend": poor.spend.model_copy(update={"cap": 0.001})})
    other = Fallback(engine="openai", model="m", base_url="http://127.0.0.1:9/v1", api_key="K")
    judged = poor.translate.model_copy(update={"meaning": "judge"})
    asking = poor.teacher.model_copy(update={"fallback": other})
    poor = poor.model_copy(update={"teacher": asking, "translate": judged})
    page = price.page(poor, Journal(foresee.SHIPPED, own=home()))
    for part in (
        "(teacher.fallback) is not counted",
        "judge asks once more",
        "would pass the cap",
        "teacher.engine: batch",
        "rule of thumb",
        "`dvc repro parse@absent`",
    ):
        assert part in page.replace("\n", " ")
    assert "tiếng Việt" not in page
    assert not home().parent.exists()  # it writes nothing
    only = shop.dials.model_copy(update={"sources": {}, "licences": "commercial"})
    assert "generate  " in price.page(only, Journal(foresee.SHIPPED, own=home()))


def test_a_model_without_a_price_stops_it_with_the_line_to_write(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = shop.dials.teacher.model_copy(update={"model": "strange"})
    monkeypatch.setattr(paramfile, "check", lambda *_: (shop.dials.model_copy(update={"teacher": strange}), None))
    assert price.main() == 2
    assert "`strange: {input: …, output: …}`" in capsys.readouterr().err


def test_how_many_are_asked_again_is_learned_from_the_bills(shop: Shop) -> None:
    shop.put("mine", slice(40))
    assert foresee.retried(shop.dials) == estimate.RETRIED
    Path("data/vi").mkdir()
    with Bill(Path("data/vi/mine.spend.parquet"), "translate@mine", shop.dials.spend) as bill:
        for entry in TRANSLATED[:46]:
            bill.use({**entry, "model": "m"})
    assert foresee.retried(shop.dials) == pytest.approx(0.15)
    other = shop.dials.teacher.model_copy(update={"model": "other"})
    assert foresee.retried(shop.dials.model_copy(update={"teacher": other})) == estimate.RETRIED


@pytest.mark.parametrize(("requests", "tokens", "least"), [(0, 0, 0), (60, 0, 100), (0, 6000, 100)])
def test_limits_make_it_last_longer(shop: Shop, requests: int, tokens: int, least: float) -> None:
    limits = {"requests_per_minute": requests, "tokens_per_minute": tokens, "concurrency": 1000}
    dials = shop.dials.model_copy(update={"teacher": shop.dials.teacher.model_copy(update=limits)})
    stage = foresee.Stage("x", requests=100, prompt=8000, completion=2000)
    assert price.duration(dials, stage) == pytest.approx(max(least, 1 + 20 / 60))


def test_time_goes_by_what_runs_of_this_clone_took(tmp_path: Path) -> None:
    own = tmp_path / "journal.jsonl"
    assert estimate.seconds(own, {"m"}, 60) == (2.0, False)
    for row in ({"models": ["m"], "bought": 40, "slot_seconds": 120.0}, {"models": ["n"], "bought": 1}):
        account.append(own.with_name(account.LEDGER), row)
    assert estimate.seconds(own, {"m"}, 60) == (3.0, True)


def test_a_large_journal_is_sampled_all_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "j"
    own.write_bytes(Path("data/sample/teacher.jsonl").read_bytes())
    assert len(list(estimate.sample(own))) == len(SAMPLE)
    monkeypatch.setattr(estimate, "SAMPLE", 50)
    found = list(estimate.sample(own))
    assert len(found) == 50 and found[0]["key"] == SAMPLE[0]["key"]
    assert len({entry["key"] for entry in found}) > 40


@pytest.mark.parametrize(("number", "said"), [(999, "999"), (1500, "1.5 k"), (2_340_000, "2.3 M"), (7.26e9, "7.3 G")])
def test_large_numbers_are_short(number: float, said: str) -> None:
    assert price.short(number) == said


@pytest.mark.parametrize(("seconds", "said"), [(9, "9 s"), (90, "1.5 min"), (5400, "1.5 h"), (129600, "1.5 d")])
def test_times_are_in_their_largest_unit(seconds: float, said: str) -> None:
    assert price.words(seconds) == said
