"""The lexicons: what they find however it is spelt, and what only looks like it."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.text import lexicon

TOXIC = lexicon.phrases(Path("stages/lexicons/toxic.txt"))


@pytest.mark.parametrize(
    "text",
    [
        "Ôi đm, hỏng rồi.", "Hay vl!", "Phim này ngu vcl", "clgt?", "đmm", "v.c.l", "đ.m", "đ-ị-t mẹ", "đ ị t",
        "địtttt mẹ", "vllllll", "đmmmmmm", "đéooo hiểu", "l0n", "đ!t", "đ*o biết", "djt me", "dm mày", "như cc",
        "cái cl", "cái l*n", "vãi lồn", "clmm", "cmnr", "mày ngu quá", "Đồ ngu!", "nguuuu như bò", "Thằng óc chó này",
        "óc chó vl", "lũ mất dạy", "câm mồm", "Cút mẹ mày đi", "mày chết đi", "tổ sư mày", "con đĩ", "đĩ mẹ",
        "bọn khựa", "bắc kỳ chó", "lũ mọi", "bọn da đen", "thằng bê đê", "lũ ba que", "đồ khốn nạn", "não phẳng",
    ],
)  # fmt: skip
def test_abuse_is_found_however_it_is_spelt(text: str) -> None:
    assert TOXIC.find(text)


@pytest.mark.parametrize(
    "text",
    [
        "1 dm là một đề-xi-mét, 5 dm² là diện tích.", "Xe 50 cc, dung tích 110cc.", "Gửi thư cc cho sếp nhé.",
        "Rót 3 cl rượu.", "vl = v * l", "U đm = 220 V", "đm cảnh và đm vành", "dm cho mình nhé", "ĐM chủ", "VL 2 cực",
        "Hạt óc chó rất bổ, mua cả quả óc chó.", "Con chó này ngoan lắm.", "Con chó chết hôm qua.", "Nó ngu ngốc.",
        "Chó đẻ con vào mùa xuân.", "Cây chó đẻ răng cưa chữa bệnh gan.", "Cuộc đời khốn nạn của chị Dậu.",
        "Con khốn khổ của mẹ.", "Thằng bé khốn khổ.", "Con ngu ngơ lắm.", "Bọn mọi người cùng đi.", "Lũ lụt mọi nơi.",
        "Buồn đi chết đi được.", "Nói năng v.v. và v.v.", "Họp ở U.S.A hay a.b.c?", "Lon nước ngọt", "Các bạn",
        "Sự ngu dốt là kẻ thù.", "Haaaa, hay quá!", "Vãi thóc ra sân.", "Người câm mồm như hến.", "Dịch mẹ ơi",
        "Mẹ mày đi chợ chưa hả ông?", "Chim cút bay qua vườn.",
        "Mặt dày của tấm gỗ.", "Nuôi con thiểu năng trí tuệ.", "Lũ trẻ trâu ra đồng.", "Giống bò đỏ.", "Bọn trẻ con.",
    ],
)  # fmt: skip
def test_innocent_words_that_look_like_it_stay(text: str) -> None:
    assert TOXIC.find(text) == ""


@pytest.mark.parametrize(
    ("line", "text", "found"),
    [
        ("(đồ|thằng) (ngu|khốn)", "Thằng KHỐN kia", "thằng khốn"),
        ("(đồ|thằng) ngu", "đồ nguội", ""),
        ("=đm", "ĐM", ""),
        ("=(như|cái) cc", "như cc", "như cc"),
        ("=vl", "5 vl", ""),
        ("=vl", "vl: vận tốc", ""),
        ("óc chó\n! hạt óc chó", "hạt óc chó", ""),
        ("óc chó\n! hạt óc chó", "hạt óc chó cho đứa óc chó", "óc chó"),
        ("đồ tồi # một câu chửi", "đồ tồi", "đồ tồi"),
        ("# nothing", "đồ tồi", ""),
        ("thằng hoà", "thằng hòa", "thằng hòa"),
        ("địt", "Đ.Ị.T", "địt"),
        ("cút", "cúttttt", "cút"),
        ("v.c.l", "v.c.l", "v.c.l"),
    ],
)
def test_how_a_line_is_read(tmp_path: Path, line: str, text: str, found: str) -> None:
    path = tmp_path / "words.txt"
    path.write_text(line + "\n", encoding="utf-8")
    assert lexicon.phrases(path).find(text) == found


@given(st.text() | st.text(st.sampled_from("đmvlcóhngukẻ.*-_ \n=5")))
def test_no_text_makes_it_fail(text: str) -> None:
    assert TOXIC.find(text) is not None


@pytest.mark.parametrize("part", ["đ.", "a*", "đồ ", "ngu", "đ-ị-", "thằng con ", "aaa"])
def test_no_text_takes_long(part: str) -> None:
    before = time.process_time()
    TOXIC.find((part * 40_000)[:80_000])
    assert time.process_time() - before < 5
