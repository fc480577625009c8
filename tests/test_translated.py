"""Code that was put into Vietnamese, and what only looks like it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.clean.translated import translated_code


@pytest.mark.parametrize(
    "text",
    [
        "Chọn Đếm (*) từ sách;",
        "Chọn tên, max (điểm) từ lớp nhóm theo tên;",
        "Chọn * Từ khách hàng đặt hàng theo tên",
        "Chọn tên\nTừ các nước\nNơi châu = 'Á'",
        "lớp công khai Tinh\n{\n  Công khai Cong (int a)\n  {\n    a += 1;\n  }\n}",
        "for (let i = 0; i < n; i++) {\n  Danh sách [i] = Danh sách [i] * 2;\n}",
        "LỰA CHỌN *\nTừ sản phẩm\nNơi giá > 100;",
        "Chọn a.ten, b.gia\nTừ hàng a\nTham gia giá b trên a.id = b.id;",
        "Chọn tên từ học sinh WHERE tuổi > 9",
        "Xóa khỏi khách hàng\nTrong đó mã = 119;",
        "Cập nhật nhân viên\nĐặt tên = 'An'\nTrong đó id = 1;",
        "if (x > 0) {\n  a();\n} khác {\n  b();\n}",
        "chức năng cong (a, b) {\n  return a + b;\n}",
        "đối với i trong phạm vi (10):\n    print(i)",
        "b = [2 * x cho x trong danh_sach]",
        "sum = x + y\nin (tổng)",
        "int lớn nhất = 0;\nfor (int i = 0; i < n; i++) {\n}",
        "const đảo = (a) => {\n  return a;\n};",
        "for (let i = 0; i < 9; i++) {\n  console.log (mảng [i]);\n}",
        "thân {\n    Màu nền: Trắng;\n}",
        "<div> Gửi </nút>",
        "nhập khẩu numpy dưới dạng np\nx = np.array ([1])",
    ],
)
def test_translated_code_is_found(text: str) -> None:
    assert translated_code(text)


@pytest.mark.parametrize(
    "text",
    [
        "1. Bộ sơ cứu;\n2. Bản đồ và la bàn;\n3. Kính râm (loại tốt);",
        "Đời sông trôi (êm đềm);\nMây trắng bay về;\nĐời như chiếc lá (vàng) rơi;",
        'for (let i = 0; i < 9; i++) {\n  console.log("xin chào: " + i); // in ra lời chào;\n}',
        "x = 1\n# cộng thêm một\nprint(x + 1)  # in ra hai",
        '{\n  "tên": "An",\n  "tuổi": 20\n}',
        "SELECT ten FROM sach WHERE the_loai = 'Truyện';",
        "<p>Đoạn văn này là ví dụ.</p>\n<button>Gửi đi</button>",
        "Chọn một quyển từ giá sách rồi đọc; nếu thích (hoặc không) thì trả về chỗ cũ.",
        "Ta có f(x) = 2x + 1;\nf(2) = 5;\nvậy giá trị là 5.",
        "/* đoạn này\n   tính tổng = a + b; */\nint tong = a + b;",
        "Đặt hàng theo mẫu mới, giao trong hai ngày.",
        "Cập nhật thông tin cá nhân ở nơi cư trú.",
        "Chọn đáp án đúng: tổng (a + b) là 5.",
        "Trong khi chờ (khoảng 5 phút), bạn hãy rửa rau.",
    ],
)
def test_prose_and_code_with_vietnamese_strings_stay(text: str) -> None:
    assert translated_code(text) == ""


@given(st.text() | st.text(st.sampled_from("chọn từ(){};=<>/*\"'`#\n nếu kháctrả vềđ")))
def test_no_text_makes_it_fail(text: str) -> None:
    assert isinstance(translated_code(text), str)


@pytest.mark.parametrize(
    "part", ["chọn a, ", "từ ", "<nút ", "đ = (", "{\nđỏ: a;\n", '"', "/*", "nếu (", "[a cho ", "tên tuổi ", "x.y (đ);"]
)
def test_no_text_takes_long(part: str) -> None:
    before = time.process_time()
    translated_code("{;=" + (part * 20_000)[:40_000])
    assert time.process_time() - before < 5
