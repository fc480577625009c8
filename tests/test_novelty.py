"""The novelty filter decides as rouge_score would, whatever the words are and however many."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from stages.lib.generate.novelty import ALPHABET, MARGIN, Novelty, Segment, letter, signature, words

SENTENCE = st.lists(st.sampled_from("a b c d e f g h".split()), min_size=0, max_size=14).map(" ".join)


def lcs(one: list[str], other: list[str]) -> int:
    row = [0] * (len(other) + 1)
    for word in one:
        before = row[:]
        for place, seen in enumerate(other, 1):
            row[place] = before[place - 1] + 1 if word == seen else max(before[place], row[place - 1])
    return row[-1]


def fmeasure(one: str, other: str) -> float:
    ours, theirs = words(one), words(other)
    common = lcs(ours, theirs)
    if not common:
        return 0.0
    precision, recall = common / len(ours), common / len(theirs)
    return 2 * precision * recall / (precision + recall)


@given(st.lists(SENTENCE, max_size=12), SENTENCE, st.sampled_from([0.0, 0.3, 0.5, 0.7, 0.9]))
def test_the_nearest_is_the_first_best_by_definition(pool: list[str], text: str, bound: float) -> None:
    scores = [fmeasure(text, other) for other in pool]
    best = max(scores, default=0.0)
    expected = (best, scores.index(best)) if best > bound else None
    assert Novelty(pool).nearest(text, above=bound) == expected


def test_it_decides_as_rouge_score_does_on_an_ascii_pool() -> None:
    rng = random.Random(3)
    vocabulary = [f"w{number}" for number in range(40)]
    pool = [" ".join(rng.choices(vocabulary, k=rng.randint(3, 12))) for _ in range(150)]
    candidates = []
    for _ in range(150):
        copy = rng.choice(pool).split()
        for place in rng.sample(range(len(copy)), rng.randint(0, len(copy) // 2)):
            copy[place] = rng.choice(vocabulary)
        candidates.append(" ".join(copy))
    scorer = rouge_scorer.RougeScorer(["rougeL"])
    theirs = [max(scorer.score(one, text)["rougeL"].fmeasure for one in pool) > 0.7 for text in candidates]
    filter = Novelty(pool)
    ours = [filter.nearest(text, above=0.7) is not None for text in candidates]
    assert ours == theirs and 20 < sum(ours) < 130


@pytest.mark.parametrize(("one", "other", "common"), [(7, 13, 7), (10, 10, 7), (13, 7, 7)])
def test_on_the_very_bound_it_rounds_as_rouge_score_does(one: int, other: int, common: int) -> None:
    shared = [f"s{number}" for number in range(common)]
    text = " ".join(shared + [f"a{number}" for number in range(one - common)])
    known = " ".join(shared + [f"b{number}" for number in range(other - common)])
    theirs = rouge_scorer.RougeScorer(["rougeL"]).score(known, text)["rougeL"].fmeasure
    assert abs(theirs - 0.7) < MARGIN
    assert (Novelty([known]).nearest(text, above=0.7) is not None) == (theirs > 0.7)


def test_vietnamese_words_are_words() -> None:
    filter = Novelty(["Hãy kể một câu chuyện về con mèo."])
    assert filter.nearest("hãy kể một câu chuyện về CON MÈO!") == (1.0, 0)
    found = filter.nearest("Hãy kể một câu chuyện về con mẹo.")
    assert found and found[0] == pytest.approx(7 / 8)
    assert Novelty(["Kể về bánh hoà tan"]).nearest("kể về bánh hòa tan") == (1.0, 0)


@given(st.lists(SENTENCE, max_size=12), SENTENCE)
def test_an_alphabet_that_is_full_changes_nothing(pool: list[str], text: str) -> None:
    small = Novelty(pool, alphabet=3)
    assert small.nearest(text) == Novelty(pool).nearest(text)
    assert len(small) == len(pool)


def test_a_pool_grows_text_by_text() -> None:
    filter = Novelty()
    assert filter.nearest("một hai ba") is None and len(filter) == 0
    filter.add("bốn năm")
    filter.add("một hai ba")
    assert filter.nearest("một hai ba", above=0.7) == (1.0, 1) and len(filter) == 2


def test_letters_skip_zero_and_the_surrogates() -> None:
    letters = [letter(number) for number in (0, 0xD7FE, 0xD7FF, ALPHABET - 1)]
    assert letters == ["\x01", "\ud7ff", "\ue000", "\U0010ffff"]
    "".join(letters).encode("utf-8")


def test_signatures_leave_out_what_cannot_reach_the_bound() -> None:
    segment = Segment(0)
    for text in ("a b c d", "a x y z", "p q r s"):
        segment.add(text.split())
    assert segment.candidates(segment.encode("a b c d".split()), 0.7) == [0]
    assert segment.candidates(segment.encode("a b c d".split()), 0.0) == [0, 1]
    assert segment.candidates(segment.encode("a b new words".split()), 0.7) == []


@given(st.lists(SENTENCE, max_size=12), SENTENCE, st.sampled_from([0.0, 0.5, 0.7]))
def test_signatures_that_collide_lose_nothing(pool: list[str], text: str, bound: float) -> None:
    crowded = Novelty(f"{' '.join(f'w{number}' for number in range(200))} {one}" for one in pool)
    found = crowded.nearest(text, above=bound)
    scores = [fmeasure(text, f"{' '.join(f'w{number}' for number in range(200))} {one}") for one in pool]
    assert (found[0] if found else 0.0) == (max(scores) if max(scores, default=0.0) > bound else 0.0)


def test_words_that_come_twice_count_twice() -> None:
    filter = Novelty(["a a a b", "a b"])
    assert filter.nearest("a a a b c", above=0.7) == (2 * 0.8 * 1.0 / (0.8 + 1.0), 0)
    assert signature("\x01\x01\x02") == signature("\x02") and signature("\x00") == 0
