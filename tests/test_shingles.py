"""What two texts share: syllables whatever their case, composition and tone placement."""

import itertools
import random
import sys
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.dedup import shingles
from stages.lib.dedup.shingles import Shingles

MARKED = "hoà bình thuỷ chung khoẻ mạnh hoè quý giá đường nghiễng ước ỷ lại quà tặng giữ gìn ăn uống Đà Lạt".split()


VIETNAMESE = st.lists(st.sampled_from(MARKED), min_size=1, max_size=12).map(" ".join)


OLD = {"hoà": "hòa", "thuỷ": "thủy", "khoẻ": "khỏe", "hoè": "hòe"}


def cut(*texts: str, size: int = 3) -> Shingles:
    return shingles.shingle(shingles.of_strings(texts), size)


def sets(found: Shingles) -> list[frozenset[int]]:
    return [frozenset(found.values[one:end].tolist()) for one, end in itertools.pairwise(found.offsets)]


def alike(*texts: str) -> bool:
    return len(set(cut(*texts).exact.tolist())) == 1


def test_every_character_counts_as_its_canonical_decomposition() -> None:
    composed = [chr(code) for code in range(sys.maxunicode) if unicodedata.normalize("NFD", chr(code)) != chr(code)]
    composed = [letter for letter in composed if shingles.fold(ord(letter)).kind in (shingles.RUN, shingles.LONE)]
    split_up = [unicodedata.normalize("NFD", letter) for letter in composed]
    assert len(composed) > 12_000
    assert (cut(*composed).exact == cut(*split_up).exact).all()


@given(st.text())
def test_keys_are_blind_to_composition_in_any_text(text: str) -> None:
    whole = "x " + text.encode("utf-8", "replace").decode()
    assert alike(whole, *(unicodedata.normalize(form, whole) for form in ("NFC", "NFD")))


@given(VIETNAMESE, st.randoms(use_true_random=False))
def test_keys_are_blind_to_case_composition_and_tone_placement(text: str, rng: random.Random) -> None:
    old = " ".join(OLD.get(word, word) for word in text.split())
    mixed = "".join(
        unicodedata.normalize(rng.choice(["NFC", "NFD"]), rng.choice([str.upper, str.lower])(c)) for c in old
    )
    assert alike(text, old, text.upper(), unicodedata.normalize("NFD", old), mixed, f"«{text}»!")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("má", "mà", False),
        ("ma", "má", False),
        ("mo", "mơ", False),
        ("da", "đa", False),
        ("ano", "año", False),
        ("STRASSE ΣΟΦΟΣ ЁЛКА", "straße σοφος ёлка", True),
        ("漢字", "字漢", False),
        ("漢字 かな", "漢字かな", True),
        ("ガラス", "カ\u3099ラス", True),
        ("a_b", "a b", True),
        ("xin\u200b chào", "xin chào", True),
        ("", "!", False),
        ("😀", "😂", False),
        ("x[i] += 1", "x[j] += 1", False),
        ("một hai", "một", False),
        ("một hai", "hai một", False),
        ("1.000 đồng", "1 000 đồng", True),
    ],
)
def test_what_is_the_same_text(one: str, other: str, same: bool) -> None:
    assert alike(one, other) == same


def test_a_text_shorter_than_a_shingle_has_one() -> None:
    counts = [len(found) for found in sets(cut("", "!", "một", "một hai", "một hai ba", "một hai ba bốn", "漢字漢字"))]
    assert counts == [1, 1, 1, 1, 1, 2, 2]


def test_messages_end_a_token_and_batches_may_be_slices() -> None:
    column = pa.array([[{"content": part} for part in parts] for parts in (["z"], ["xin", "chào bạn"], ["", "x"])])
    found = shingles.shingle(shingles.texts(column.slice(1)), 3)
    assert found.exact[0] == cut("xin chào bạn").exact[0]
    assert found.lengths.tolist() == [1, 2, 0, 1]
