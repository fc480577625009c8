"""A fluent sentence that says something else is seen: by a lexicon, by an encoder, by the teacher as a judge."""

import json
import random
from pathlib import Path

import pytest

from stages.lib import paramfile
from stages.lib.contract import Refusal
from stages.lib.params import Encoder
from stages.lib.teachers.journal import Entry, Journal
from stages.lib.teachers.requests import Failure, Prompt, key
from stages.lib.text.embedding import Similarity
from stages.lib.translate import alignment, meaning
from stages.lib.translate.alignment import Lexicon, Lexicons, Sample
from tests.toy_encoders import COMPUTE

DIALS = paramfile.check(Path("params.yaml"), Path("recipes"))[0]
THINGS = {"cat": "mèo", "dog": "chó", "house": "nhà", "river": "sông", "book": "sách", "tree": "cây"}
DEEDS = {"sees": "thấy", "buys": "mua", "draws": "vẽ", "finds": "tìm", "loves": "yêu", "paints": "sơn", "sells": "bán"}
PAIRS = [
    (f"She {deed} the {one} and a {other}", f"Cô ấy {deed_vi} {one_vi} và {other_vi}")
    for deed, deed_vi in DEEDS.items()
    for one, one_vi in THINGS.items()
    for other, other_vi in THINGS.items()
    if one != other
]


def test_a_lexicon_learned_from_pairs_knows_a_translation_from_another_sentence() -> None:
    learned, held = Lexicon(PAIRS[::2]), PAIRS[1::2]
    others = held[7:] + held[:7]
    better = [
        learned.score(*pair) > learned.score(pair[0], other) for pair, (_, other) in zip(held, others, strict=True)
    ]
    assert sum(better) >= 0.9 * len(held)
    assert learned.score("", "") == learned.score("zzz", "qqq") == 0.0


@pytest.mark.parametrize("every", [0, 20, 10])
def test_lexicons_find_the_wrong_ones_among_the_pairs_that_taught_them(every: int) -> None:
    pairs = random.Random(1).sample(PAIRS, len(PAIRS))
    wrong = set(range(0, len(pairs), every)) if every else set()
    mixed = [(source, pairs[at - 9][1] if at in wrong else text) for at, (source, text) in enumerate(pairs)]
    groups = [[pair] for pair in mixed]
    learned = Lexicons(groups)
    found = {at for at, fault in enumerate(meaning.near(learned, learned.lowest)(groups)) if fault}
    assert len(found - wrong) <= 0.1 * len(pairs) and len(found & wrong) >= 0.7 * len(wrong)


def test_too_few_pairs_teach_nothing_and_refuse_nothing() -> None:
    learned = Lexicons([[pair] for pair in PAIRS[: alignment.FEW - 1]])
    assert meaning.near(learned, learned.lowest)([[("A cat", "Con sông")], []]) == [None, None]


def test_a_sample_is_the_same_in_any_order_and_has_no_text_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "MOST", 20)
    samples = Sample(), Sample()
    for sample, pairs in zip(samples, (PAIRS, PAIRS[::-1]), strict=True):
        for pair in pairs + pairs:
            sample.add([pair])
    groups = samples[0].groups()
    assert groups == samples[1].groups() and len({group[0] for group in groups}) == len(groups) == 20


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder whose only layer leaves words almost as they are; a text and a copy of it are alike."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = sorted({word for pair in PAIRS for text in pair for word in text.split()})
    table = {word: place for place, word in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(table, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("encoder")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=32
    ).save_pretrained(folder)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(table), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


def test_an_encoder_tells_likeness_and_padding_changes_nothing(encoder: Path) -> None:
    cosines = Similarity(Encoder(model=str(encoder), lowest=0.5, compute=COMPUTE))
    source, other = PAIRS[0][0], PAIRS[-1][1]
    groups = [[(source, source)], [(source, other)], [], [(source, source), (source, other)]]
    same, different, none, worst = cosines(groups)
    assert same == pytest.approx(1, abs=1e-5) and none == 1 and different < 0.99
    assert worst == pytest.approx(different, abs=1e-5)
    assert cosines([[(source + " " + other, source + " " + other)], groups[1]])[1] == pytest.approx(different, abs=1e-5)
    found = meaning.near(cosines, (different + 1) / 2)(groups)
    assert [fault and fault.reason for fault in found] == [None, meaning.ELSE, None, meaning.ELSE]
    assert cosines([]) == [] and cosines([[]]) == [1.0]


def test_an_encoder_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pytest.bin").write_bytes(b"")
    with pytest.raises(Refusal, match="no safetensors"):
        Similarity(Encoder(model=str(tmp_path), lowest=0.5, compute=COMPUTE))([[("a", "b")]])


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ('{"faithful": true, "reason": ""}', None),
        ('```json\n{"faithful": true}\n```', None),
        ('{"faithful": false, "reason": "it is about a dog"}', Failure(meaning.ELSE, "it is about a dog", True)),
        ("I think so.", Failure("no judgement", "malformed: I think so.")),
        ("[true]", Failure("no judgement", "malformed: [true]")),
        (None, Failure("no judgement", "not in the journal: teacher.engine: journal asks nobody")),
    ],
)
def test_a_judge_is_journalled_and_what_it_does_not_say_is_no_approval(
    tmp_path: Path, reply: str | None, found: Failure | None
) -> None:
    journal, prompt = Journal(own=tmp_path / "journal"), Prompt.load(Path("stages/prompts/judge.yaml"))
    text = meaning.shown([("A cat.", "Một con mèo.")])
    assert json.loads(text) == [{"text": "A cat.", "translation": "Một con mèo."}]
    if reply is not None:
        mark = key(DIALS.teacher, prompt, text)
        with journal.writing():
            journal.add(
                Entry(key=mark, model="m", prompt="judge", input=text, answer=reply, finish_reason="stop", usage={})
            )
    check = meaning.judge(DIALS.teacher, DIALS.spend, journal, prompt, "test")
    assert check([[("A cat.", "Một con mèo.")]]) == [found]


def test_without_a_check_anything_passes() -> None:
    assert meaning.anything([[("A cat.", "Con sông.")]]) == [None]
