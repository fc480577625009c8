"""Rewards, drift and every way to learn from them, on models of a few thousand weights."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.lib import determinism

determinism.pin(1, "cpu", 1)  # before anything imports torch

import torch  # noqa: E402

from stages import base, reward, rlhf  # noqa: E402
from stages.lib import drift, models, offline, online, ppo, recipes, records, rewards, rollouts, training  # noqa: E402
from stages.lib.contract import Refusal  # noqa: E402
from stages.lib.records import Message  # noqa: E402
from tests import families  # noqa: E402

# transformers gives up these names in its next version, and trl's trainers still ask for them
pytestmark = pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning")

COMPUTE = recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single")
LORA = recipes.Lora(r=4, alpha=8, dropout=0.0)
DROPPING = recipes.Lora(r=4, alpha=8, dropout=0.9)
TUNING: dict[str, Any] = {
    "method": "lora",
    "lr": 0.01,
    "batch": 4,
    "optimizer": "adamw",
    "gradient_checkpointing": False,
    "accumulate": 1,
}
ONLINE = recipes.Online(
    kind="online", algorithm="rloo", rewards="model", steps=2, generations=2, context=96, max_new_tokens=6,
    temperature=1.0, beta=0.05, max_kl=100.0, lora=LORA, **TUNING,
)  # fmt: skip
OFFLINE = recipes.Offline(
    kind="offline", algorithm="dpo", epochs=1.0, context=96, max_new_tokens=6, beta=0.1, max_kl=100.0,
    lora=LORA, **TUNING,
)  # fmt: skip
REWARD = recipes.Reward(epochs=1.0, context=96, save=0, lora=LORA, **TUNING | {"accumulate": 2})


@pytest.mark.parametrize(
    ("question", "answer", "found"),
    [
        ("Số 354 đọc là gì?", "Số 354 đọc là ba trăm năm mươi tư.", "ba trăm năm mươi tư"),
        ("69 ki-lô-gam bằng bao nhiêu gam?", "Dạ, 69 ki-lô-gam bằng 69.000 gam.", "69000"),
        ("69 ki-lô-gam bằng bao nhiêu gam?", "69000", "69000"),
        ("Sắp xếp tăng dần: 8, 9, 5.", "Dạ, xếp tăng dần ta được 5, 8, 9.", "5, 8, 9"),
        ("Thủ đô nước Áo là gì?", "Thủ đô nước Áo là Vienna.", "vienna"),
        ("Từ trái nghĩa với khỏe là gì?", "Trái nghĩa với khoẻ là yếu", "yếu"),
        ("Lan có 5 kẹo, cho 2.", "Lan còn 5 - 2 = 3.\nRồi ăn 1.\n#### 2", "2"),
        ("Chọn đáp án.", "Vì thế, ta chọn.\nĐáp án: B", "b"),
        ("Solve.", "It is \\boxed{1.234}.", "1234"),
        ("?", "#### 1,234", "1234"),
        ("?", "#### 1234", "1234"),
        ("?", "#### 5,000,000", "5000000"),
        ("?", "#### 5.000.000,50", "5000000.5"),
        ("?", "#### 5,000,000.5", "5000000.5"),
        ("?", "#### 3.14", "3.14"),
        ("?", "#### 2.14", "2.14"),
        ("?", "#### 3,14", "3.14"),
        ("?", "\\boxed{0.5}", "0.5"),
        ("?", "\\boxed{0,50}", "0.5"),
        ("?", "\\boxed{5}", "5"),
        ("?", "\\boxed{0.125}", "0.125"),
        ("?", "\\boxed{-3}", "-3"),
        ("?", "\\boxed{1/2}", None),
        ("?", "\\boxed{\\frac{1}{2}}", None),
        ("?", "\\boxed{\\frac{1}{3}}", None),
        ("?", "\\boxed{2x+1}", None),
        ("?", "\\boxed{x - 1}", None),
        ("?", "\\boxed{2x}", "2x"),
        ("?", "#### 12:30", None),
        ("?", "#### 30", "30"),
        ("?", "#### 1.5 triệu", "1.5 triệu"),
        ("?", "#### 2,5 triệu đồng", "2.5 triệu"),
        ("?", "#### 42 quả táo.", "42"),
        ("?", "#### 50%", "50"),
        ("?", "#### 5.000đ", "5000"),
        ("?", "#### 20/11/2024", None),
        ("?", "Đáp số: 12 km. Vì đi 3 giờ.", "12"),
        ("?", "Đáp án: B. Vì nước sôi ở 100 độ", "b"),
        ("?", "Đáp án: (B) vì thế", "b"),
        ("?", "Đáp án: Hà Nội. Vì đó là thủ đô", "hà nội"),
        ("?", "#### 5, 8, 9", "5, 8, 9"),
        ("?", "#### 5,8,9", "5, 8, 9"),
        ("Pi?", "Pi là 3,14.", "3.14"),
        ("Nửa?", "Là 1/2.", None),
        ("Mấy giờ?", "Là 12:30.", None),
        ("5 + 3?", "Dạ, 5 + 3 = 8.", "8"),
        ("5 + 3?", "5 + 3", None),
        ("Giá?", "Giá là 1,5 triệu.", "1.5 triệu"),
        ("Vì sao thủy triều lên xuống?", "Do lực hút của Mặt Trăng. Trái Đất tự quay nên có hai lần mỗi ngày.", None),
        ("Nên làm gì?", "Bạn tập đều, ngủ đủ.", None),
        ("Hôm nay là thứ mấy?", "", None),
    ],
)
def test_the_value_of_an_answer(question: str, answer: str, found: str | None) -> None:
    assert rewards.value(question, answer) == found


def test_the_values_of_the_benchmarks_are_found_and_told_from_wrong_ones(root: Path) -> None:
    told, items = 0, 0
    for path in sorted((root / "data/sample/benchmark").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            item = json.loads(line)
            found = [rewards.value(item["question"], choice) for choice in item["choices"]]
            items += 1
            told += found[item["answer"]] is not None and found.count(found[item["answer"]]) == 1
    assert items > 300 and told / items > 0.97


def test_a_right_value_is_rewarded_and_an_answer_cut_off_pays() -> None:
    turns = [Message(role="user", content="Sau 3 là gì?")]
    row = records.make(
        "instruction", [*turns, Message(role="assistant", content="Sau 3 là 4.")], source="s", licence="l", lang="vi",
        upstream="1",
    )  # fmt: skip
    known = rewards.references([row])
    assert known == {(("user", "Sau 3 là gì?"),): "4"}
    said = ["Dạ, là 4.", "Là 5.", "Là 4"]
    found = rewards.of_trl(known)(
        prompts=[turns, turns, turns, [Message(role="user", content="Sao?")]],
        completions=[[Message(role="assistant", content=text)] for text in [*said, "?"]],
        completion_ids=[[1, 9], [1, 7], [1, 2], [9]],
        trainer_state=None,
    )
    assert found == [rewards.RIGHT, 0, rewards.RIGHT, None]
    lost = rewards.ending([8, 9])(completion_ids=[[1, 9], [8], [1, 2]], trainer_state=None)
    assert lost == [0, 0, -rewards.UNENDED]


def test_distinct_2_counts_different_pairs() -> None:
    assert rollouts.distinct(["một hai một hai", "ba"]) == pytest.approx(2 / 3)
    assert rollouts.distinct(["một", ""]) == 0


def test_advantages_are_the_sums_that_define_them() -> None:
    chance = torch.Generator().manual_seed(1)
    earned, values = torch.randn(2, 6, generator=chance), torch.randn(2, 6, generator=chance)
    spoken = torch.tensor([[0, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1]])
    found = ppo.estimate(earned * spoken, values, spoken)
    for row in range(2):
        places = spoken[row].nonzero()[:, 0].tolist()
        for start in places:
            expected = 0.0
            for place in range(start, places[-1] + 1):
                following = values[row, place + 1] if place < places[-1] else 0.0
                surprise = earned[row, place] + ppo.DECAY * following - values[row, place]
                expected += (ppo.DECAY * ppo.LAMBDA) ** (place - start) * float(surprise)
            assert float(found[row, start]) == pytest.approx(expected, abs=1e-5)
    assert found[spoken == 0].abs().max() == 0
    white = ppo.whitened(found, spoken)[spoken == 1]
    assert float(white.mean()) == pytest.approx(0, abs=1e-6) and float(white.var(correction=0)) == pytest.approx(1)


def test_the_surrogate_gains_nothing_beyond_the_clip() -> None:
    now = torch.tensor([[0.0, math.log(2.0), math.log(0.5)]], requires_grad=True)
    batch = ppo.Batch(
        ids=torch.zeros(1, 3), mask=torch.ones(1, 3), spoken=torch.ones(1, 3), old=torch.zeros(1, 3),
        values=torch.zeros(1, 3), advantages=torch.tensor([[1.0, 1.0, -1.0]]), returns=torch.tensor([[0.0, 1.0, 3.0]]),
    )  # fmt: skip
    surrogate, missed, clipped = ppo.losses(now, torch.tensor([[0.0, 1.0, 1.0]]), batch, batch.spoken.sum())
    assert surrogate.item() == pytest.approx(-(1 + 1.2 - 0.8) / 3)
    assert clipped.item() == pytest.approx(2 / 3)
    assert missed.item() == pytest.approx((0 + 0.8**2 + 2.8**2) / 2 / 3)  # values may move by 0.2 only
    surrogate.backward()
    assert now.grad is not None and now.grad[0].tolist() == pytest.approx([-1 / 3, 0, 0])


def test_orpo_is_cross_entropy_and_the_odds_of_both_answers() -> None:
    sums, lengths = torch.tensor([-2.0, -6.0, -4.0, -4.0]), torch.tensor([2.0, 3.0, 2.0, 4.0])
    p = [math.exp(-1), math.exp(-2), math.exp(-2), math.exp(-1)]
    odds = [x / (1 - x) for x in p]
    expected = 8 / 5 - 0.5 * sum(
        math.log(1 / (1 + math.exp(-math.log(odds[row] / odds[row + 2])))) for row in range(2)
    ) / 2  # fmt: skip
    assert float(offline.odds_ratio_loss(sums, lengths, 0.5)) == pytest.approx(expected)
    assert torch.isfinite(offline.odds_ratio_loss(torch.zeros(2), torch.ones(2), 0.5))


@pytest.mark.parametrize("kl", [3.1, float("nan"), float("inf")])
def test_a_policy_that_drifts_away_is_refused(kl: float) -> None:
    drift.check(3.0, 7, most=3.0)
    with pytest.raises(Refusal, match=r"at step 7 .*rlhf\.max_kl is 3.*lower rlhf\.lr.*raise rlhf\.beta"):
        drift.check(kl, 7, most=3.0)


class Home:
    """A folder with a policy, its reward model and tables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        asked = [f"Sau {n} là gì?" for n in range(8)]
        self.chat = self.table("chat", [("instruction", [("user", q), ("assistant", f"Là {n + 1}.")])
                                        for n, q in enumerate(asked)])  # fmt: skip
        self.prompts = self.table("prompts", [("prompt", [("user", q)]) for q in asked])
        self.ranked = self.table("ranked", [("preference", [("user", q), ("chosen", f"Là {n + 1}."), ("rejected", "?")])
                                            for n, q in enumerate(asked)])  # fmt: skip
        self.verdicts = self.table("verdicts", [
            ("verdict", [("user", q), ("chosen", f"Là {n + 1}.") if n % 3 else ("rejected", "Không.")])
            for n, q in enumerate(asked)
        ])  # fmt: skip
        self.tokenizer = models.train_tokenizer(["Sau 3 là gì? Là 4.\nuser assistant"] * 9, 300, 128)
        self.policy, self.judge = folder / "policy", folder / "judge"
        shape = recipes.Scratch(
            source="scratch", vocabulary=300, hidden=64, layers=1, heads=2, context=128, block=16, batch=2, steps=1,
            lr=0.1, warmup=0.1,
        )  # fmt: skip
        torch.manual_seed(1)
        models.save(models.new_llama(shape, self.tokenizer), self.tokenizer, self.policy)
        scorer = models.load_judge(self.policy, COMPUTE)
        scorer.config.pad_token_id = self.tokenizer.pad_token_id
        models.save(scorer, self.tokenizer, self.judge)

    def table(self, name: str, rows: list[tuple[str, list[tuple[str, str]]]]) -> Path:
        path = self.folder / f"{name}.parquet"
        records.write(path, [
            records.make(kind, [Message(role=role, content=text) for role, text in messages], source="s", licence="l",
                         lang="vi", upstream=str(place))
            for place, (kind, messages) in enumerate(rows)
        ])  # fmt: skip
        return path

    def run(
        self, section: recipes.Rlhf, out: Path, other: dict[str, Path] | None = None, seed: int = 1
    ) -> list[dict[str, float]]:
        """The history of the stage."""
        words = {
            "policy": self.policy, "judge": self.judge, "prompts": self.prompts, "validation": self.prompts,
            "sft_train": self.chat, "sft_validation": self.chat, "preferences_train": self.ranked,
            "preferences_validation": self.ranked,
        } | (other or {})  # fmt: skip
        rlhf.main(**words, model=out / "model", history=out / "h.json", seed=seed, compute=COMPUTE, rlhf=section)
        return list(json.loads((out / "h.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("rlhf"))


EVERYWHERE = {
    "reward", "reward_stderr", "length", "ended", "distinct_2", "perplexity", "right", "preference_accuracy",
    "preference_margin", "ranking_accuracy",
}  # fmt: skip
WAYS: dict[str, recipes.Rlhf] = {
    "rloo": ONLINE,
    "grpo, all weights, both rewards": ONLINE.model_copy(
        update={"algorithm": "grpo", "method": "full", "rewards": "both"}
    ),
    "rloo, verifiable, no beta": ONLINE.model_copy(update={"rewards": "verifiable", "beta": 0.0}),
    "rloo, dropout": ONLINE.model_copy(update={"lora": DROPPING, "lr": 0.1}),
    "ppo, dropout": ONLINE.model_copy(update={"algorithm": "ppo", "lora": DROPPING, "lr": 0.1}),
    "ppo": ONLINE.model_copy(update={"algorithm": "ppo", "rewards": "both", "gradient_checkpointing": True}),
    "ppo, all weights": ONLINE.model_copy(update={"algorithm": "ppo", "method": "full", "generations": 1}),
    "dpo": OFFLINE,
    "dpo, all weights": OFFLINE.model_copy(update={"method": "full", "accumulate": 2}),
    "dpo, qlora": OFFLINE.model_copy(update={"method": "qlora"}),
    "kto": OFFLINE.model_copy(update={"algorithm": "kto"}),
    "orpo": OFFLINE.model_copy(update={"algorithm": "orpo"}),
    "orpo, all weights": OFFLINE.model_copy(update={"algorithm": "orpo", "method": "full"}),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_moves_the_policy_and_is_measured_the_same(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if "dropout" in way:  # what is learned from an answer once is as likely as when it was drawn
        monkeypatch.setattr(ppo, "EPOCHS", 1)
    points = home.run(WAYS[way], tmp_path)
    last = points[-1]
    assert {f"{name}_{side}" for name in EVERYWHERE for side in ("before", "after")} <= last.keys()
    assert {"kl_after", "reward_gain", "reward_gain_stderr"} <= last.keys()
    assert last["preference_accuracy_before"] == 0.5
    assert last["kl_after"] > 0
    assert all(math.isfinite(value) for point in points for value in point.values())
    looked = "eval_" if isinstance(WAYS[way], recipes.Online) else ""
    seen = {looked + name for name in ("reward", "kl_answer", "length", "ended", "preference_accuracy")}
    assert seen <= points[0].keys() and seen <= points[-2].keys()
    assert points[0]["step"] == 0 and points[0][f"{looked}kl_answer"] == 0
    assert {"reward", "length", "ended", "distinct_2", "kl_answer"} <= points[-2].keys()
    if "dropout" in way:
        clipped = {key: value for key, value in points[-2].items() if "clip_ratio" in key}
        assert clipped and not any(clipped.values())
    start, now = (models.load(path, COMPUTE).state_dict() for path in (home.policy, tmp_path / "model"))
    assert start.keys() == now.keys()
    assert any(not torch.equal(start[name], now[name]) for name in start)


def test_single_verdicts_teach_kto_and_nothing_else(home: Home, tmp_path: Path) -> None:
    kto = OFFLINE.model_copy(update={"algorithm": "kto"})
    assert home.run(kto, tmp_path, {"preferences_train": home.verdicts})[0]["ranked"] == 8
    for name in ("dpo", "orpo"):
        with pytest.raises(Refusal, match=rf"verdicts\.parquet holds nothing that {name} learns from"):
            home.run(OFFLINE.model_copy(update={"algorithm": name}), tmp_path, {"preferences_train": home.verdicts})


def test_the_same_seed_gives_the_same_policy(home: Home, tmp_path: Path) -> None:
    section = ONLINE.model_copy(update={"algorithm": "ppo"})
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        home.run(section, tmp_path / name, seed=seed)
        weights.append((tmp_path / name / "model/model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_ppo_learns_to_say_what_is_rewarded(home: Home) -> None:
    policy = models.load(home.policy, COMPUTE)
    frozen = models.load(home.policy, COMPUTE).eval()
    wanted = home.tokenizer.encode("4")[0]
    section = ONLINE.model_copy(
        update={"algorithm": "ppo", "method": "full", "steps": 25, "batch": 32, "generations": 1, "beta": 0.0}
    )
    prompts = [models.encode_prompt(home.tokenizer, [Message(role="user", content="Sau 3 là gì?")])] * 4
    points: list[training.Point] = []

    def judge(places: Any, answers: Any) -> list[float]:
        return [answer.said.count(wanted) / len(answer.said) for answer in answers]

    torch.manual_seed(1)
    arguments = training.arguments(COMPUTE, 1, "unused", section.model_copy(update={"lr": 0.01}))
    ppo.train(
        policy, frozen, home.tokenizer, prompts, judge, lambda *_: {"kl_answer": 1.0}, arguments, section, 1, points
    )
    assert points[-1]["reward"] > 0.5 > 10 * points[0]["reward"]
    assert points[0]["kl_answer"] == pytest.approx(0, abs=1e-4) and points[-1]["kl_answer"] > 1


def test_a_model_has_not_moved_from_itself(home: Home) -> None:
    policy = models.load(home.policy, COMPUTE).eval()
    prompts = [models.encode_prompt(home.tokenizer, [Message(role="user", content=text)]) for text in ("3", "Sau 3?")]
    before = torch.get_rng_state()
    settings: dict[str, Any] = {"new_tokens": 5, "batch": 2, "seed": 1}
    answers = drift.probe(policy, home.tokenizer, prompts, **settings)
    assert [answer.prompt for answer in answers] == prompts
    assert drift.divergence(policy, policy, answers, home.tokenizer.pad_token_id, 2) == 0
    assert torch.equal(before, torch.get_rng_state())
    pairs, longer = drift.pairs(records.read(home.ranked), home.tokenizer, 128)
    assert len(pairs) == 8 and longer == 0
    assert home.tokenizer.decode(pairs[0].chosen.said) == "Là 1.<|im_end|>"
    found = drift.told_apart(home.tokenizer, pairs, 3, policy)(policy)
    assert found["preference_accuracy"] == 0.5 and found["preference_margin"] == 0
    assert drift.pairs(records.read(home.ranked), home.tokenizer, 4) == ([], 8)


def test_what_is_read_of_an_answer_is_its_likelihood(home: Home) -> None:
    policy = models.load(home.policy, COMPUTE).eval()
    answers = [rollouts.Answer([5, 6, 7], [8, 9], True), rollouts.Answer([5], [6, 7, 8, 9], False)]
    found = rollouts.read(policy, answers, home.tokenizer.pad_token_id, batch=2)
    for answer, value in zip(answers, found, strict=True):
        ids = torch.tensor([answer.prompt + answer.said])
        with torch.no_grad():
            each = policy(input_ids=ids).logits[0].log_softmax(-1)
        first = len(answer.prompt)
        expected = sum(float(each[first - 1 + place, token]) for place, token in enumerate(answer.said))
        assert value == pytest.approx(expected, abs=1e-4)


def test_a_models_own_settings_bend_nothing_that_is_drawn(home: Home) -> None:
    policy = models.load(home.policy, COMPUTE).eval()
    prompts = [models.encode_prompt(home.tokenizer, [Message(role="user", content="Sau 3 là gì?")])] * 4
    settings: dict[str, Any] = {"new_tokens": 24, "batch": 4, "seed": 1}
    plain = drift.probe(policy, home.tokenizer, prompts, **settings)
    policy.generation_config.update(repetition_penalty=9.0, min_p=0.9, no_repeat_ngram_size=1, top_k=1, typical_p=0.1)
    assert drift.probe(policy, home.tokenizer, prompts, **settings) == plain


@pytest.mark.parametrize("section", [ONLINE, OFFLINE], ids=["rloo", "dpo"])
def test_a_tracker_hears_what_the_history_holds(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: recipes.Rlhf
) -> None:
    from transformers import TrainerCallback, trainer

    heard: list[set[str]] = []

    class Tracker(TrainerCallback):
        def on_log(self, *_: Any, logs: Any = None, **__: Any) -> None:
            heard.append(set(logs))

    monkeypatch.setattr(trainer, "DEFAULT_CALLBACKS", [*trainer.DEFAULT_CALLBACKS, Tracker])
    points = home.run(section, tmp_path)
    kept = set().union(*points[1:-1]) - {"step"}
    assert kept - {"train_loss"} <= set().union(*heard)
    assert {"kl_answer", "reward"} <= kept and not any("distinct_2/" in name for logs in heard for name in logs)


def test_what_is_too_long_is_counted_and_said(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = home.table("mixed", [("prompt", [("user", f"Sau {n} là gì?" * (1 + 40 * (n > 5)))]) for n in range(8)])
    first = home.run(ONLINE, tmp_path, {"prompts": asked, "validation": asked})[0]
    names = ("prompts", "prompts_too_long", "held_out", "held_out_too_long", "pairs_too_long")
    assert [first[name] for name in names] == [6, 2, 6, 2, 0]
    assert "left out: prompts 2 beside 6, held_out 2 beside 6\n" in capsys.readouterr().err


@pytest.mark.parametrize("algorithm", ["grpo", "ppo"])
def test_a_look_has_the_last_word_on_a_kl_that_scatters(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    section = ONLINE.model_copy(update={"algorithm": algorithm, "max_kl": 5.0})
    true_namer, true_taken = online.namer, ppo.taken

    def wild(*words: Any) -> Any:
        namer = true_namer(*words)
        named = namer.on_log

        def on_log(*words: Any, logs: Any = None, **more: Any) -> None:
            if logs and "kl" in logs:
                logs["kl"] = 99.0
            named(*words, logs=logs, **more)

        setattr(namer, "on_log", on_log)  # noqa: B010
        return namer

    monkeypatch.setattr(online, "namer", wild)
    monkeypatch.setattr(ppo, "taken", lambda *words: (true_taken(*words)[0], 99.0))
    points = home.run(section, tmp_path)
    assert points[-2]["kl_answer"] >= 99 and points[-2]["eval_kl_answer"] < 5


@pytest.mark.parametrize("family", ["bloom", "gemma3"])
def test_other_families_learn_from_rewards_too(home: Home, tmp_path: Path, family: str) -> None:
    families.build(family, tmp_path / "hub")
    words = home.table("words", [("text", [("text", text)]) for text in families.TEXTS[:4]])
    source = recipes.Hub(source="hub", repo=str(tmp_path / "hub"), revision="main", grow=0)
    base.main(words, words, tmp_path / "base", tmp_path / "b.json", seed=1, compute=COMPUTE, base=source)
    tokenizer = models.load_tokenizer(tmp_path / "base")
    scorer = models.load_judge(tmp_path / "base", COMPUTE)
    scorer.config.get_text_config().pad_token_id = scorer.config.pad_token_id = tokenizer.pad_token_id
    models.save(scorer, tokenizer, tmp_path / "judge")
    for algorithm in ("rloo", "ppo"):
        section = ONLINE.model_copy(update={"algorithm": algorithm, "steps": 1})
        last = home.run(section, tmp_path, {"policy": tmp_path / "base", "judge": tmp_path / "judge"})[-1]
        assert last["kl_after"] > 0 and math.isfinite(last["perplexity_after"])


def test_ppo_reads_in_16_bits_where_it_is_told_to(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[Any] = []
    true = rollouts.log_likelihoods

    def spy(logits: Any, *rest: Any) -> Any:
        kinds.append(logits.dtype)
        return true(logits, *rest)

    monkeypatch.setattr(rollouts, "log_likelihoods", spy)
    policy, frozen = (models.load(home.policy, COMPUTE).eval() for _ in range(2))
    section = ONLINE.model_copy(update={"algorithm": "ppo", "method": "full", "steps": 1})
    arguments = training.arguments(COMPUTE.model_copy(update={"precision": "bf16"}), 1, "unused", section)
    points: list[training.Point] = []
    ppo.train(
        policy, frozen, home.tokenizer, [[5, 6]] * 4, lambda places, _: [1.0] * len(places),
        lambda *_: {"kl_answer": 0.0}, arguments, section, 1, points,
    )  # fmt: skip
    assert set(kinds) == {torch.bfloat16} and len(kinds) == 2 + ppo.EPOCHS
    assert all(weight.dtype == torch.float32 for weight in policy.parameters())


def other_tokenizer(home: Home, tmp_path: Path) -> dict[str, Path]:
    tokenizer = models.train_tokenizer(["Hà Nội, Đà Nẵng, Cần Thơ"] * 9, 300, 128)
    models.save(models.load_judge(home.judge, COMPUTE), tokenizer, tmp_path / "other")
    return {"judge": tmp_path / "other"}


def long_prompts(home: Home, tmp_path: Path) -> dict[str, Path]:
    return {"prompts": home.table("long", [("prompt", [("user", "Sau 3 là gì? " * 60)])])}


def no_values(home: Home, tmp_path: Path) -> dict[str, Path]:
    said = "Tùy bạn, nhưng nên nghĩ kỹ. Rồi hãy hỏi lại."
    return {"sft_train": home.table("said", [("instruction", [("user", "Sao?"), ("assistant", said)])])}


def long_pairs(home: Home, tmp_path: Path) -> dict[str, Path]:
    said = [("preference", [("user", "Sao?"), ("chosen", "Là 4. " * 60), ("rejected", "?")])]
    return {"preferences_train": home.table("pairs", said)}


def long_measures(home: Home, tmp_path: Path) -> dict[str, Path]:
    return {"preferences_validation": long_pairs(home, tmp_path)["preferences_train"]}


def nothing(home: Home, tmp_path: Path) -> dict[str, Path]:
    return {}


WRONG: dict[str, tuple[recipes.Rlhf, dict[str, Any], Callable[[Home, Path], dict[str, Path]], str]] = {
    "batch": (ONLINE, {"batch": 5}, nothing, r"rlhf\.batch: found 5 answers, 1 times in a step, which"),
    "generations": (ONLINE, {"generations": 1}, nothing, r"rlhf\.generations: found 1; rloo compares"),
    "another tokenizer": (ONLINE, {}, other_tokenizer, "other reads other tokens.*dvc repro reward"),
    "long prompts": (ONLINE, {}, long_prompts, r"long\.parquet holds no prompt that leaves room"),
    "no room at all": (ONLINE, {"max_new_tokens": 95}, nothing, "leaves room for rlhf.max_new_tokens"),
    "no values": (ONLINE, {"rewards": "verifiable"}, no_values, "no answer to a training prompt that ends in a value"),
    "no pair that fits": (OFFLINE, {}, long_pairs, r"pairs\.parquet holds nothing that dpo learns from"),
    "no pair to measure by": (
        OFFLINE, {}, long_measures, r"pairs\.parquet holds no ranked pair of at most 96 tokens"
    ),
    "too few prompts": (ONLINE, {"batch": 32}, nothing, r"prompts\.parquet: found 8 prompts .* a step of rloo asks 16"),
    "a context beyond the model": (OFFLINE, {"context": 999}, nothing, r"rlhf\.context: found 999"),
    "an online one, too": (ONLINE, {"context": 999}, nothing, r"rlhf\.context: found 999"),
    "one answer at a time": (OFFLINE, {"algorithm": "kto", "batch": 1}, nothing, "kto compares answers"),
    "no number in rloo": (ONLINE, {"lr": 1e38}, nothing, "weights are no numbers"),
    "no number in ppo": (ONLINE, {"lr": 1e38, "algorithm": "ppo"}, nothing, "weights are no numbers"),
    "drift of rloo": (ONLINE, {"max_kl": 1e-9, "lr": 0.1}, nothing, r"at step \d .*rlhf\.max_kl is 1e-09"),
    "drift of ppo": (ONLINE, {"algorithm": "ppo", "max_kl": 1e-9, "lr": 0.1}, nothing, r"rlhf\.max_kl is 1e-09"),
    "drift of dpo": (OFFLINE, {"max_kl": 1e-9}, nothing, r"at step \d .*rlhf\.max_kl is 1e-09"),
    "no number": (OFFLINE, {"algorithm": "orpo", "lr": 1e38}, nothing, r"no numbers after step \d.*lower rlhf\.lr"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_and_no_model_is_written(home: Home, tmp_path: Path, name: str) -> None:
    section, changes, prepare, told = WRONG[name]
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(Refusal, match=told):
        home.run(section.model_copy(update=changes), out, prepare(home, tmp_path))
    if name.startswith("drift"):  # how it came to that is kept
        points = json.loads((out / "h.json").read_text(encoding="utf-8"))
        assert points[0]["step"] == 0 and "prompts" in points[0] and points[-1]["step"] > 0
        (out / "h.json").unlink()
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_a_reward_model_is_whole_and_tells_accuracy_and_margin(home: Home, tmp_path: Path, method: str) -> None:
    section = REWARD.model_copy(update={"method": method, "gradient_checkpointing": method == "lora"})
    reward.main(
        home.policy, home.ranked, home.ranked, tmp_path / "judge", tmp_path / "h.json", seed=1, compute=COMPUTE,
        reward=section,
    )  # fmt: skip
    points = json.loads((tmp_path / "h.json").read_text(encoding="utf-8"))
    assert {"eval_accuracy", "eval_margin"} <= points[0].keys() & points[-1].keys()
    assert points[-1]["step"] == 1  # 8 pairs, 4 at a time, gathered twice
    judge = models.load_judge(tmp_path / "judge", COMPUTE)
    start = models.load_judge(home.policy, COMPUTE)
    assert judge.config.pad_token_id == home.tokenizer.pad_token_id
    found, was = judge.state_dict(), start.state_dict()
    assert found.keys() == was.keys()
    assert any(not torch.equal(found[name], was[name]) for name in was if "proj" in name)
    home.run(ONLINE, tmp_path, {"judge": tmp_path / "judge"})


def test_every_held_out_pair_counts_the_same(home: Home, tmp_path: Path) -> None:
    section = REWARD.model_copy(update={"method": "full", "batch": 3})  # of 8 pairs two are left for the last batch
    words = [home.policy, home.ranked, home.ranked, tmp_path / "judge", tmp_path / "h.json"]
    reward.main(*words, seed=1, compute=COMPUTE, reward=section)
    told = json.loads((tmp_path / "h.json").read_text(encoding="utf-8"))[-1]
    judge = models.load_judge(tmp_path / "judge", COMPUTE)
    margins = []
    with torch.inference_mode():
        for row in reward.pairs(records.read(home.ranked), home.tokenizer, section.context)[0]:
            given = [
                float(judge(input_ids=torch.tensor([row[f"{name}_ids"]])).logits) for name in ("chosen", "rejected")
            ]
            margins.append(given[0] - given[1])
    assert told["eval_margin"] == pytest.approx(sum(margins) / 8, abs=1e-5)
    assert told["eval_accuracy"] == pytest.approx(sum(margin > 0 for margin in margins) / 8, abs=1e-6)


def test_memory_that_ends_while_a_model_is_loaded_is_told(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(models, "load_judge", full)
    words = [home.policy, home.ranked, home.ranked, tmp_path / "judge", tmp_path / "h.json"]
    with pytest.raises(Refusal, match=r"the memory is full .*20\.00 GiB.*lower batch .*`make plan` tells what fits"):
        reward.main(*words, seed=1, compute=COMPUTE, reward=REWARD)
