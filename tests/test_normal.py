"""Normalising, on literal texts and on any text."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.text import encodings, normal

SENTENCE = "Tiếng Việt là ngôn ngữ của người Việt Nam, được nói ở khắp thế giới."


def test_normalise_names_what_it_changed_and_leaves_code_alone() -> None:
    text = (
        unicodedata.normalize("NFD", "Hoà")
        + " &amp;amp; a\u200bb `hoà &amp;` http://x.vn/hoà?a&amp;b\r\n\n\n\nx   y \nz"
    )
    clean, changes = normal.normalise(text, "old")
    assert clean == "Hòa & ab `hoà &amp;` http://x.vn/hoà?a&amp;b\n\nx y\nz"
    assert +changes == {
        "entities": 1, "control characters": 1, "composition": 1, "tone placement": 1, "white space": 2
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected", "name"),
    [
        (SENTENCE.encode().decode("latin-1"), SENTENCE, "UTF-8 mojibake"),
        ("Tiáº¿ng Viá»‡t ráº¥t Ä‘áº¹p", "Tiếng Việt rất đẹp", "UTF-8 mojibake"),
        ("HÃ  Ná»™i lÃ  thá»§ Ä‘Ã´", "Hà Nội là thủ đô", "UTF-8 mojibake"),
        (SENTENCE.encode().decode("latin-1").encode().decode("latin-1"), SENTENCE, "UTF-8 mojibake"),
        ("tr\xadêng häc ViÖt Nam ®Ñp l¾m", "trường học Việt Nam đẹp lắm", "TCVN3"),
        ("Céng hßa x· héi chñ nghÜa, §éc lËp - Tù do", "Cộng hòa xã hội chủ nghĩa, Độc lập - Tự do", "TCVN3"),
        ("Toâi yeâu tieáng nöôùc toâi töø khi môùi ra ñôøi", "Tôi yêu tiếng nước tôi từ khi mới ra đời", "VNI"),
        ("ÑOÄC LAÄP - TÖÏ DO - HAÏNH PHUÙC", "ĐỘC LẬP - TỰ DO - HẠNH PHÚC", "VNI"),
        ("Tie^'ng Vie^.t la` ngo^n ngu+~ cu?a ngu+o+`i Vie^.t.", "Tiếng Việt là ngôn ngữ của người Việt.", "VIQR"),
        ("Ba.n co' kho?e kho^ng? To^i va^~n kho?e.", "Bạn có khỏe không? Tôi vẫn khỏe.", "VIQR"),
        ("\u0441ó h\u043ea", "có hoa", "look-alike letters"),
        ("Ðường ðến trường", "Đường đến trường", "look-alike letters"),
        ("𝐓𝐢𝐞̂́𝐧𝐠 𝐕𝐢𝐞̣̂𝐭", "Tiếng Việt", "look-alike letters"),
        ("a\x00b\ufeff c\xadd \u202ee\u2066", "ab cd e", "control characters"),
        ("một&nbsp;&lt;hai&gt;", "một <hai>", "entities"),
        ("a\u200cb", "ab", "control characters"),
        ("x\u200b = f(1);", "x = f(1);", "control characters"),
        ("print('cha\u0300o');", "print('chào');", "composition"),
    ],
)
def test_each_fault_is_put_right_under_its_name(text: str, expected: str, name: str) -> None:
    clean, changes = normal.normalise(text, "old")
    assert (clean, changes[name] > 0) == (expected, True)


@pytest.mark.parametrize(
    "text",
    [
        "Où est la bibliothèque? Ça va très bien, garçon.",
        "Größe der Äpfel über fünf Euro, schöne Grüße",
        "El niño comió piña en Bogotá. Jag tycker om böcker på kvällen.",
        "Giá «rẻ» 5€ – 10€, nhiệt độ 25°C ± 2, © 2024",
        "x = a^b + c^d, e^x + u+v",
        "4! là 1 × 2 × 3 × 4, còn 6 ÷ 2 ÷ 3 = 1",
        "The factorial is 1 × 2 × 3 × 4 × 5 × 6",
        "Đi chợ mua Ã trắng",
        "Что это? Это со мной",
        "góc α, Δt = 5 μm",
        "👨‍👩‍👧 gia đình",
        "```\nhoà  &amp; \u0441ó\n```",
        "`hoà &amp;`",
        "$\\alpha_{hoà} = 1$ và \\(x &lt; y\\) và \\[hoà\\]",
        "\\begin{align} hoà &= 1 \\end{align}",
        "https://x.vn/hoà?a=1&amp;b=2",
        "x.vn/trang?a=1&lt=2&amp=3&copy=2",
        "&notit; &khong;",
        "می\u200cخواهم",
        "Định luật: 𝐹 = 𝑚𝑎",
        "a = b &amp;&amp; c;\nif (hoà) {\n\treturn 1;  \n}",
        "ấm áp\n\n    thụt vào bốn dấu cách",
    ],
)
def test_what_is_right_stays(text: str) -> None:
    assert normal.normalise(text, "old")[0] == text


def test_a_sum_in_dollars_is_no_formula() -> None:
    assert normal.normalise("từ $5 hoà đến $10 hoà", "old")[0] == "từ $5 hòa đến $10 hòa"


@pytest.mark.parametrize(("name", "read"), [("TCVN3", encodings.tcvn3), ("VNI", encodings.vni)])
def test_the_tables_make_every_marked_letter(name: str, read: object) -> None:
    letters = {
        unicodedata.normalize("NFC", vowel + tone)
        for vowel in "aăâeêioôơuưy"
        for tone in "\u0300\u0309\u0303\u0301\u0323"
    } | set("ăâđêôơư")
    made = set(encodings.TCVN3.values()) if name == "TCVN3" else set(encodings.vni_table().values())
    assert letters - made == set()


ENTITIES = st.text(st.sampled_from("&amp;#x20B;#96;lt \u200bhòaoà\n\t`$\\~"))
SIGNS = [*"Ã¡ºáÂ\xa0»iÖôøùñ^'`?.+( aeuodDtng\n\xad®µ&;", "viÖt ", "tiáº¿ng ", "ngu+o+`i ", "ñoä "]
GARBLED = st.lists(st.sampled_from(SIGNS), max_size=40).map("".join)


@given(st.text(alphabet=st.characters(codec="utf-8")) | ENTITIES | GARBLED, st.sampled_from(["old", "new"]))
def test_normalise_is_idempotent_on_any_text(text: str, tone: str) -> None:
    once, _ = normal.normalise(text, tone)
    assert normal.normalise(once, tone)[0] == once


@given(st.text())
def test_a_surrogate_breaks_nothing(text: str) -> None:
    normal.normalise(text + "\ud83d", "new")


@pytest.mark.parametrize(
    "part", ["\\begin{a} ", "\\( ", "\\[ ", "$ ", "$$a ", " ", " \n", "amp;", "Ã", "a^'b ", "`", "~~~ "]
)
def test_no_text_takes_long(part: str) -> None:
    before = time.process_time()
    normal.normalise("&" + (part * 40_000)[:40_000] + "b", "old")
    assert time.process_time() - before < 5
