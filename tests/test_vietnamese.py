"""Vietnamese on the surface, on literal texts and on any text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib import pii, vietnamese

NEW = "hoà thuỷ khoẻ HOÀ Hoà quý quỳ thuý hoàn thuyền toà xoè loá ngoại uỷ Uỷ"
OLD = "hòa thủy khỏe HÒA Hòa quý quỳ thúy hoàn thuyền tòa xòe lóa ngoại ủy Ủy"


@pytest.mark.parametrize(("text", "style", "expected"), [(NEW, "old", OLD), (OLD, "new", NEW), (OLD, "old", OLD)])
def test_tone_placement(text: str, style: str, expected: str) -> None:
    assert vietnamese.place_tones(text, style) == expected


def test_normalise_names_what_it_changed_and_leaves_code_alone() -> None:
    text = (
        unicodedata.normalize("NFD", "Hoà")
        + " &amp;amp; a\u200bb `hoà &amp;` http://x.vn/hoà?a&amp;b\r\n\n\n\nx   y \nz"
    )
    clean, changes = vietnamese.normalise(text, "old")
    assert clean == "Hòa & ab `hoà &amp;` http://x.vn/hoà?a&amp;b\n\nx y\nz"
    assert changes == {
        "entities": 1, "control characters": 1, "composition": 1, "tone placement": 1, "white space": 1
    }  # fmt: skip


ENTITIES = st.text(st.sampled_from("&amp;#x20B;lt \u200bhòaoà\n\t`"))


@given(st.text(alphabet=st.characters(codec="utf-8")) | ENTITIES, st.sampled_from(["old", "new"]))
def test_normalise_is_idempotent_on_any_text(text: str, tone: str) -> None:
    once, _ = vietnamese.normalise(text, tone)
    assert vietnamese.normalise(once, tone)[0] == once


@given(st.text())
def test_no_text_makes_the_signals_raise(text: str) -> None:
    vietnamese.has_diacritics(text)
    vietnamese.looks_english(text)
    vietnamese.loops(text)
    vietnamese.key(text)
    pii.mask(text)


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
        ("Chim kêu, vượn hót, nước chảy, mây trôi.", False),
    ],
)
def test_loops(text: str, looping: bool) -> None:
    assert vietnamese.loops(text) is looping


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Gọi 0912 345 678 hoặc +84 912.345.678 nhé", "Gọi [số điện thoại] hoặc [số điện thoại] nhé"),
        ("Viết cho lan.nguyen@example.com.vn nhé", "Viết cho [email] nhé"),
        ("CCCD: 012345678901", "CCCD: [số căn cước]"),
        ("Số tài khoản 1234 5678 90", "Số tài khoản [số tài khoản]"),
        ("Mã số thuế: 0101234567-001", "Mã số thuế: [mã số thuế]"),
        ("STK Vietcombank: 0071001234567", "STK Vietcombank: [số tài khoản]"),
        ("Gọi (024) 3825 1234 nhé", "Gọi [số điện thoại] nhé"),
        ("Số tài khoản của tôi còn 15 000 000 đồng", "Số tài khoản của tôi còn 15 000 000 đồng"),
        ("Năm 2024 giá 1.250.000 đồng, dân số 98765432 người", "Năm 2024 giá 1.250.000 đồng, dân số 98765432 người"),
        ("pi là 3,14159265358979", "pi là 3,14159265358979"),
    ],
)
def test_personal_data_is_masked_and_plain_numbers_stay(text: str, masked: str) -> None:
    assert pii.mask(text)[0] == masked
