"""Forms of address that change between turns are seen, and what only looks like a change isn't."""

import pytest

from stages.lib.clean import register

ASK, MORE = "Làm sao để ngủ ngon?", "Còn gì nữa không?"


@pytest.mark.parametrize(
    ("turns", "detail"),
    [
        (
            [ASK, "Bạn hãy đi ngủ đúng giờ.", MORE, "Quý khách vui lòng tắt đèn."],
            "the assistant says 'bạn' in one turn and 'quý khách' in another",
        ),
        (
            [ASK, "Nếu anh muốn ngủ ngon, hãy tắt đèn.", MORE, "Cảm ơn bạn. Tắt đèn là đủ."],
            "the assistant says 'anh' in one turn and 'bạn' in another",
        ),
        (
            ["Em muốn hỏi về bài này.", "Được.", "Tôi cần thêm ví dụ.", "Đây là ví dụ."],
            "the user is 'em' in one turn and 'tôi' in another",
        ),
        (
            ["Chào!", "Tôi có thể giúp gì?", "Giúp với.", "Em là trợ lý. Xin mời."],
            "the assistant is 'tôi' in one turn and 'em' in another",
        ),
        ([ASK, "Bạn hãy đi ngủ đúng giờ.", MORE, "Bạn nên tắt đèn."], None),
        ([ASK, "Anh/chị hãy tắt đèn.", MORE, "Anh chị hãy đóng cửa."], None),
        ([ASK, "Bạn hãy ngủ sớm.", MORE, "Có người viết: “Quý khách vui lòng tắt đèn.”"], None),
        ([ASK, "Bạn hãy ngủ sớm.", MORE, "Các câu mẫu:\n- Em hãy tắt đèn.\n- Quý khách vui lòng chờ."], None),
        ([ASK, "Bạn hãy ngủ sớm.", MORE, "Anh ấy bảo: bạn hãy tắt đèn, còn em hãy đóng cửa."], None),
        ([ASK, "Bạn hãy ngủ sớm.", MORE, "Anh trai tôi và bạn bè của em thường ngủ sớm."], None),
        (["Tôi muốn ngủ ngon.", "Em hãy tắt đèn.", "Tôi cần gì nữa?", "Em hãy đóng cửa."], None),
    ],
)
def test_only_clear_changes_count(turns: list[str], detail: str | None) -> None:
    roles = ["user", "assistant"] * 2
    found = register.mixed(list(zip(roles, turns, strict=True)))
    assert found == (("register mixed", detail) if detail else None)


def test_only_the_two_who_talk_are_asked() -> None:
    turns = [("system", "Bạn hãy giúp đỡ."), ("tool", "Quý khách vui lòng chờ."), ("assistant", "Em hãy chờ.")]
    assert register.mixed(turns) is None
