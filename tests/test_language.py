"""The language of each labelled text, and of any text at all."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib import paramfile
from stages.lib.text import language

LABELLED = [json.loads(line) for line in Path("tests/labelled/language.jsonl").read_text(encoding="utf-8").splitlines()]
MAX_ENGLISH = paramfile.check(Path("params.yaml"), Path("recipes"))[0].clean.max_english


@pytest.mark.parametrize("half", ["development", "held-out"])
def test_at_least_97_of_100_labelled_texts_are_told_right(half: str) -> None:
    rows = [row for row in LABELLED if row["half"] == half]
    wrong = [row for row in rows if language.classify(row["text"], MAX_ENGLISH) != row["label"]]
    assert len(rows) >= 200 and len(wrong) <= 0.03 * len(rows), wrong


@pytest.mark.parametrize("label", sorted({row["label"] for row in LABELLED}))
def test_no_kind_of_text_is_left_out(label: str) -> None:
    rows = [row for row in LABELLED if row["label"] == label]
    right = sum(language.classify(row["text"], MAX_ENGLISH) == label for row in rows)
    assert len(rows) >= 30 and right >= 0.9 * len(rows)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Arizona, New Mexico và Utah.", "vi"),
        ("John Lennon, Paul McCartney, George Harrison, Ringo Starr, Pete Best.", "unclear"),
        ("1. New York Yankees\n2. Dallas Cowboys\n3. Los Angeles Lakers", "unclear"),
        ("Escherichia coli, Staphylococcus aureus, Salmonella enterica, Klebsiella pneumoniae", "unclear"),
        ('Bộ phim năm 2019 là "Weathering with you".', "vi"),
        ("Hãng nằm ở số 1, trang www.where-to-buy-the-best.example.com", "vi"),
        ("20 inch * 2,54 cm/inch = 50,8 cm", "unclear"),
        ("", "unclear"),
    ],
)
def test_names_titles_and_terms_are_no_other_language(text: str, expected: str) -> None:
    assert language.classify(text, MAX_ENGLISH) == expected


def test_the_share_of_english_decides_what_is_mixed() -> None:
    text = "Hôm qua trời mưa rất to nên chúng tôi ở nhà cả ngày. We stayed at home all day."
    assert [language.classify(text, share) for share in (0.2, 0.9)] == ["mixed", "vi"]


def test_nested_quotes_take_no_longer_than_their_length() -> None:
    mixed = "trời mưa rất to and we stayed at home "
    text = "Hôm qua trời mưa rất to nên chúng tôi ở nhà. " + ("“" + mixed) * 3000 + "”" * 3000
    before = time.process_time()
    assert language.classify(text + "“" * 50_000 + "a" + "”" * 50_000, MAX_ENGLISH) == "mixed"
    assert time.process_time() - before < 2


def test_every_tone_of_a_syllable_is_known_and_no_other() -> None:
    known = language.kinds()
    assert {known[word] for word in "hòa hoà thủy thuỷ nghiêng quyển gì giếng khuỷu đường".split()} == {"V"}
    assert {known[word] for word in ("hoa", "mai", "voi")} == {"v"} and {known[word] for word in ("duoc", "mot")} == {
        "d"
    }
    assert not {"cãt", "hoàc", "nghàp", "êô"} & set(known)


@given(st.text() | st.text(st.sampled_from('aàeé {}();=#<>`\n"“”,.19đ你ж')))
def test_no_text_is_without_a_language(text: str) -> None:
    labels = {"vi", "en", "mixed", "vi-no-diacritics", "code", "other", "unclear"}
    assert language.classify(text, MAX_ENGLISH) in labels
