"""Vietnamese on the surface, on literal texts and on any text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.text import vietnamese

NEW = "hoà thuỷ khoẻ HOÀ Hoà quý quỳ thuý hoàn thuyền toà xoè loá ngoại uỷ Uỷ"
OLD = "hòa thủy khỏe HÒA Hòa quý quỳ thúy hoàn thuyền tòa xòe lóa ngoại ủy Ủy"


@pytest.mark.parametrize(("text", "style", "expected"), [(NEW, "old", OLD), (OLD, "new", NEW), (OLD, "old", OLD)])
def test_tone_placement(text: str, style: str, expected: str) -> None:
    assert vietnamese.place_tones(text, style) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tóan hòan lọai hòang", "toán hoàn loại hoàng"),
        ("qúa qủa Qùa QÚY gìa gía gịêng", "quá quả Quà QUÝ già giá giệng"),
        ("quý giá, già, gìn giữ, của, mùa, chìa, nghĩa, thủa", "quý giá, già, gìn giữ, của, mùa, chìa, nghĩa, thủa"),
        ("elegía oùa", "elegía oùa"),
    ],
)
def test_a_tone_on_the_wrong_vowel_is_moved_in_either_style(text: str, expected: str) -> None:
    assert [vietnamese.place_tones(text, style) for style in ("old", "new")] == [expected] * 2


@given(st.text())
def test_no_text_makes_the_signals_raise(text: str) -> None:
    vietnamese.loops(text)
    vietnamese.key(text)


def test_key_is_blind_to_case_composition_and_tone_placement_but_not_to_tones() -> None:
    assert (
        vietnamese.key(unicodedata.normalize("NFD", "HOÀ bình!"))
        == vietnamese.key("hòa bình")
        != vietnamese.key("hoa bình")
    )


def test_key_takes_words_apart_at_marks_and_keeps_numbers_whole() -> None:
    assert vietnamese.key("Xếp 7,2,5 ở Hà Nội,Huế: 1.000 xăng-ti-mét") == "xếp 7 2 5 ở hà nội huế 1.000 xăng-ti-mét"


@pytest.mark.parametrize(
    ("text", "looping"),
    [
        ("mưa rơi, " * 8, True),
        ("Câu đầu bình thường. " + "và rồi nó lại lặp " * 5, True),
        ("một hai ba, một hai ba", False),
        ("La la la", False),
        ("Một phần ba là 0," + "3 " * 30, False),
        ("a 3 " * 30, True),
        ("Chim kêu, vượn hót, nước chảy, mây trôi.", False),
    ],
)
def test_loops(text: str, looping: bool) -> None:
    assert vietnamese.loops(text) is looping
