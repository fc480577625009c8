"""The filters on literal records: each finds what it is for, and leaves alone what only looks like it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import clean
from stages.lib.text.lexicon import phrases
from tests import cleaning
from tests.cleaning import DIALS, FILTERS, instruction


def reason(question: str, answer: str) -> str:
    return cleaning.reason(clean.normalise(instruction(question, answer), DIALS))


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("Hỏi gì đó?", " ", "empty"),
        ("Hỏi gì đó?", "|||TRANSLATION_FAILED||| The answer", "failure marker"),
        ("Ai thắng?", "Là một mô hình ngôn ngữ, tôi không thể đoán.", "refusal"),
        ("Ai thắng?", "Tôi chỉ là một AI nên không biết.", "refusal"),
        ("Mua gì?", "Khuyến mãi khủng, mua ngay kẻo hết!", "spam"),
        ("Sao thế?", "Im mồm, đồ ngu!", "toxic"),
        ("Hát đi!", "mưa rơi " * 9, "loops"),
        ("Trả lời đi!", "The answer is that they have gone to the market with their friends.", "not Vietnamese"),
        ("Trả lời đi!", "hom nay troi dep lam chung ta cung di choi nhe cac ban oi", "diacritics lost"),
        ("Vẽ gì?", "*** ### $$$ %%% ^^^ &&& *** ### a", "symbols"),
        ("Kể đi!", "một\nmột\nmột\nmột\nhai", "repeated lines"),
        ("Kể đi!", "dài lắm " + " ".join(f"từ{n}" for n in range(2500)), "too long"),
        ("Thủ đô của Lào là gì?", "thủ đô của  lào là gì?", "answer repeats the prompt"),
    ],
)
def test_each_filter_finds_what_it_is_for(question: str, answer: str, expected: str) -> None:
    assert reason(question, answer) == expected


@pytest.mark.parametrize(
    "answer",
    [
        "Hạt óc chó tốt cho tim, bạn nên ăn một nắm mỗi ngày.",
        "Siêu âm ĐM cảnh giúp phát hiện mảng xơ vữa.",
        "Nếu sốt cao, bạn hãy liên hệ ngay với bác sĩ.",
        "Trong nhà cái gì cũng đã cũ.",
        "Chim cút đi kiếm ăn vào sáng sớm.",
        "ChatGPT là một mô hình ngôn ngữ do một công ty ở Mỹ làm ra.",
        "Ước gì mình là một ai đó khác.",
        "2, 4, 6, 8, 10, 12, 14, 16, 18, 20",
        "a = b + c\nx = y * z",
    ],
)
def test_good_answers_that_only_look_bad_stay(answer: str) -> None:
    assert reason("Bạn cho mình hỏi một chút nhé?", answer) == ""


def test_a_foreign_answer_stays_where_it_was_asked_for() -> None:
    answer = "The weather is fine today and we should all go out to the park."
    assert reason("Hãy dịch câu này sang tiếng Anh.", answer) == ""
    assert reason("Dịch vụ của cửa hàng thế nào?", answer) == "not Vietnamese"


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("Trang của tôi?", "Màu nền: #8C7573;\nkích thước phông chữ: 20px;", "translated code"),
        ("Viết truy vấn.", "Chọn * từ khách hàng trong đó mã_số = 2;", "translated code"),
        ("Viết hàm.", "nếu (x > 0) {\n  trả về x;\n}", "translated code"),
        ("Viết vòng lặp.", "cho i trong phạm vi (5):\n    in (i)", "translated code"),
        ("Viết thẻ.", '<nút loại = "gửi"> Gửi </nút>', "translated code"),
        ("Trời sao?", "Hôm nay trời rất đẹp và mát mẻ. You should go out and enjoy the park.", "mixed languages"),
        ("Trời sao?", "Il fait très beau aujourd'hui et nous allons nous promener dans le parc.", "not Vietnamese"),
        ("Kể đi!", "Ngày xưa có một chàng trai. Chàng sống trong rừng, ngày ngày đi hái củi và", "truncated answer"),
        ("Kể đi!", "Xong.\n```python\nprint(1)", "truncated answer"),
        ("Kể đi!", "Trời mưa. Đường ngập. Sau đó chúng tôi cùng nhau đi bộ về phía ngôi nhà nhỏ ở cuối con đường l",
         "truncated answer"),
        ("Hát đi!", "con cò bay lả bay la, bay từ cửa phủ bay ra cánh đồng " * 3
         + "rồi nó lại bay lả bay la, bay từ cửa phủ bay ra cánh đồng xanh.", "repetition"),
        ("Vẽ gì?", "..", "too short"),
        ("Sao thế?", "Ôi đm, thật là đ*o chịu nổi.", "toxic"),
        ("Bạn là ai?", "Mình chỉ là một trợ lý ảo nên không biết.", "refusal"),
        ("In ra.", 'in ("Xin chào!")', "translated code"),
        ("Viết bảng.", "<Bảng>\n<tr>\n<td>1</td>\n</tr>\n</Bảng>", "translated code"),
        ("Bạn nghĩ gì?", "Chào bạn. Tôi là một trợ lý ảo, tôi không có khả năng đó.", "refusal"),
        ("Viết lớp.", "lớp Người:\n    tên = 'An'", "translated code"),
        ("Vay gì?", "Bên em hỗ trợ vay tín chấp, inbox ngay nhé!", "spam"),
        ("Sao thế?", "Lũ chó chúng mày!", "toxic"),
        ("Vẽ một ngôi nhà.", "Xin lỗi, nhiệm vụ này yêu cầu hình ảnh mà mô hình không thể tạo ra.", "refusal"),
        ("Giá vàng hôm nay?", "Tôi rất tiếc, nhưng tôi không có quyền truy cập vào dữ liệu mới.", "refusal"),
        ("Trời mưa không?", "Xin lỗi, với tư cách là trợ lý AI, tôi không thể biết điều đó.", "refusal"),
        ("Chia hai số.", "Câu hỏi không rõ ràng. Vui lòng cho thêm thông tin.", "refusal"),
        ("Đây là bản dịch từ tiếng Anh sang tiếng Việt, vui lòng dịch đoạn sau: trời mưa", "Trời mưa.",
         "failure marker"),
        ("Viết mã Java cộng hai số.", "You can add them with a plus sign, and then you print the sum of both.",
         "not Vietnamese"),
        ("Why does the sky look so blue on a clear day?", "Because the air scatters the blue light more than the red.",
         "not Vietnamese"),
        ("Làm sao?", "Có hai bước:\n1. Rửa rau thật sạch. Để ráo nước.\n2. Đun nồi nước cho sôi. Thả rau vào rồi đậ",
         "truncated answer"),
        ("Làm sao?", "Làm như sau:\n1. Rửa rau.\n2. Thái rau.\n3. Đun nước.\n4. Thả rau và", "truncated answer"),
    ],
)  # fmt: skip
def test_each_judge_of_answers_finds_what_it_is_for(question: str, answer: str, expected: str) -> None:
    assert reason(question, answer) == expected


@pytest.mark.parametrize(
    "answer",
    [
        "def lon_hon(a, b):\n    return a if a > b else b",
        "Hàm này so sánh a với b; nếu a lớn hơn, hàm trả về a ngay; nếu không, hàm trả về b.",
        "Nếu trời mưa (rất to), bạn hãy chọn một chiếc ô từ tủ; nhớ trả lại.",
        "| Tên | Tuổi |\n| --- | --- |\n| An | 20 |\n| Bình | 21 |",
        "John Lennon, Paul McCartney, George Harrison, Ringo Starr, Pete Best.",
        "^[a-z]+@[a-z]+\\.[a-z]{2,4}$",
        "x^2 + 2x + 1 = (x + 1)^2",
        "1. Rửa rau thật sạch dưới vòi nước. Để ráo.\n2. Đun một nồi nước cho sôi rồi thả rau vào luộc chừng ba phút",
        "Hãy đến với chúng tôi! Cửa hàng mở cửa cả tuần, từ sáng sớm cho đến tối khuya. #quansach #hanoi",
        '"Học, học nữa, học mãi. Không bao giờ dừng lại dù cho bạn đã lớn tuổi và bận rộn đến mấy" - Một người thầy',
        "Câu hỏi 1\n|\nV\nCâu hỏi 2\n|\nV\nKết thúc",
        "Tên bài hát là “The sound of the rain in the night”.",
        "👍",
    ],
)
def test_code_tables_names_and_lists_stay(answer: str) -> None:
    assert reason("Bạn cho mình hỏi một chút nhé?", answer) == ""


def test_an_english_question_may_have_an_english_answer() -> None:
    assert reason("What is the weather like today?", "The weather is fine today and we should all go out.") == ""


@given(st.text(), st.text())
def test_any_record_is_kept_or_dropped_for_a_reason(question: str, answer: str) -> None:
    record = clean.normalise(instruction(question, answer), DIALS)
    verdict = clean.judge(record, FILTERS)
    assert verdict is None or verdict[0]


def test_personal_data_is_masked_or_drops_the_record() -> None:
    record = instruction("Gọi cho ai?", "Bạn hãy gọi cho anh Mẫu theo số 0912 345 678 nhé.")
    assert "[số điện thoại]" in clean.normalise(record, DIALS)["messages"][1]["content"]
    dials = DIALS.model_copy(update={"pii": "drop"})
    filters = clean.build_filters(
        phrases(Path("stages/lexicons/toxic.txt")), phrases(Path("stages/lexicons/spam.txt")), dials
    )
    verdict = clean.judge(clean.normalise(record, dials), filters)
    assert verdict == ("personal data", "personal data: số điện thoại×1")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Ai ở sân?", "Lũ chó con chạy ra sân."),
        ("Ở đó bán gì?", "Anh ấy bán đồ chó mèo."),
        ("Luật nói gì?", "Súc vật nuôi phải được tiêm phòng."),
        ("Sáu cõi là gì?", "Súc sinh là một trong sáu cõi."),
        ("Viết công thức.", "vl = v * l"),
        ("Điện áp định mức?", "Ta có U đm = 220 V, vậy U đm là điện áp định mức."),
        ("Đó là gì?", "Vay tín chấp là hình thức vay không cần tài sản."),
        ("Làm sao?", "Để đăng ký kênh YouTube, bạn bấm vào nút đỏ."),
        ("Nên tránh gì?", "Hãy cảnh giác với lời mời việc nhẹ lương cao, đừng bấm vào link lạ."),
        ("Viết một liên kết.", "Đây:\n```html\n<a>Click here to buy</a>\n```\nvà `click here to buy`."),
        ("In ở đâu?", "In (ấn bản thứ hai) ở Hà Nội; v.v (xem trên)."),
        ("Giúp gì?", "Mình là một trợ lý ảo. Nếu bạn không biết hỏi gì, mình gợi ý nhé."),
        ("Tìm x.", "Nếu (m > 1):\nCho x trong phạm vi (0; 1)"),
        ("Ai học lớp nào?", "Lớp 5A:\n  - An\n  - Bình"),
        ("Viết tệp.", '<sách mã="1">\n  <tên>Số đỏ</tên>\n</sách>'),
        ("Bạn là ai?", "Tôi là một trợ lý ảo do nhóm Mẫu làm ra."),
        ("Bộ gõ là gì?", "Là một chương trình máy tính giúp gõ tiếng Việt. Bạn không thể gõ có dấu nếu thiếu nó."),
        ("Điền dấu: 3 ... 5", "<"),
        ("Ký hiệu của mặt cười?", ":-)"),
        ("Một phần ba là gì?", "Là 0," + "3 " * 30),
        ("In ra.", "Kết quả:\n```\n" + "một hai ba\n" * 30 + "```\nHết."),
        ("Vẽ gì?", "Hình đây:\n```\n" + "*** ### $$$ %%%\n" * 9 + "```\nXong."),
        ("Chào bạn nhé!", "Chào bạn nhé!"),
        ("Chấm câu: hôm nay trời đẹp lắm", "Chấm câu: hôm nay, trời đẹp lắm!"),
        ("Mã?", "\n".join(["print(0)"] * 20)),
        ("Trả lời khách.", "Tôi rất tiếc vì bạn không thể đăng nhập. Xin cho tôi biết tên tài khoản."),
        ("Xin lỗi bạn thế nào?", "Tôi xin lỗi vì đã đến muộn, tôi không thể gọi trước cho bạn."),
        ("Mô hình ngôn ngữ yếu ở đâu?", "Mô hình ngôn ngữ không thể biết điều gì là thật; nó chỉ đoán từ kế tiếp."),
        ("Sửa lỗi: the quik brown fox jump over the lazy dog", "The quick brown fox jumps over the lazy dog."),
        ("Câu này có chửi thề không: đồ ngu!", "Có, đó là một câu chửi."),
        ("Làm ở đâu?", "Khẩu trang này made in vietnam đó."),
        ("Món gì?", "Món 1:\n- Muối\n- Cà chua\nMón 2:\n- Muối\n- Cà chua\nMón 3:\n- Muối\n- Cà chua"),
        ("Viết nhạc.", "Câu một: " + "A a g g a " * 30 + "hết bài."),
        ("Viết mã giả cho phép so sánh.", "hàm so_sanh(a, b) {\n  nếu (a > b) {\n    trả về a;\n  }\n}"),
        ("Kể vài món.", "1. Phở 2. Bún chả 3. Bánh cuốn 4. Nem rán 5. Chả cá 6. Xôi gấc"),
        ("Gõ lệnh nào?", "Gõ ```ls -a\n``` rồi xem kết quả hiện ra trên màn hình."),
    ],
)
def test_what_only_looks_like_a_fault_stays(question: str, answer: str) -> None:
    assert reason(question, answer) == ""


def test_code_keeps_its_numbers_and_a_form_does_not() -> None:
    code = "def goi():\n    return quay_so(0912345678)"
    assert clean.normalise(instruction("Viết mã.", code), DIALS)["messages"][1]["content"] == code
    form = clean.normalise(instruction("Điền đi.", "sdt: 0912345678"), DIALS)["messages"][1]["content"]
    assert form == "sdt: [số điện thoại]"
