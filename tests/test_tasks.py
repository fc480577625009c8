"""A teacher's reply is read with or without a schema, and what is wrong with a task has a name."""

import pytest

from stages.lib.generate import tasks
from stages.lib.generate.tasks import Task
from tests.inventor import ANSWER, task

NO_ORDERS = [  # to draw, to play or to look at something
    "Hướng dẫn tải ảnh từ điện thoại sang máy tính",
    "Hướng dẫn cách xem bản đồ trên điện thoại",
    "Nêu các bước chèn biểu đồ vào trang tính Excel",
    "Làm thế nào để tải video lên YouTube?",
    "Trẻ dưới hai tuổi xem video nhiều có hại gì?",
    "Hát ru có ích gì với trẻ nhỏ?",
    "Vẽ tranh có giúp giảm căng thẳng không?",
    "Quay lại trường sau nhiều năm, tôi nên chuẩn bị gì?",
    "Quay đầu xe ở đâu thì bị phạt?",
    "Chụp X-quang có hại không?",
]


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ('{"tasks": [{"instruction": "Kể.", "input": "", "output": "Rồi."}]}', ["Kể."]),
        ('```json\n{"tasks": [{"instruction": "Kể.", "output": 7}]}\n```', ["Kể."]),
        ('Đây là [các] nhiệm vụ:\n[{"instruction": "Kể.", "input": null, "output": "Rồi."}] Chúc vui!', ["Kể."]),
        ('{"instruction": "Kể.", "input": "", "output": "Rồi."}', ["Kể."]),
        ('{"tasks": [{"instruction": "Kể."}, {"instruction": "Tả.", "output": "Rồi."}, "?"]}', [None, "Tả.", None]),
        ('{"tasks": [{"instruction": "Kể.", "output": "Rồi."}, {"instruction": "Tả.", "outp', ["Kể.", None]),
        ('{"tasks": {"instruction": "Kể.", "output": "Rồi."}}', ["Kể.", None]),
        ('{"tasks": []}', [None]),
        (
            '<think>Thử {"instruction": "Nháp.", "output": "…"}.</think>\n{"instruction": "Kể.", "output": "Rồi."}',
            ["Kể."],
        ),
        ('{"note": "ba nhiệm vụ"} [{"instruction": "Kể.", "output": "Rồi."}]', ["Kể."]),
        ('[{"instruction": "Kể."}, {"instruction": "Tả."}] Hết.', [None, None]),
        ('{"tasks": [{"instruction": ["Kể."], "output": "Rồi."}]}', [None]),
        ("Tôi không hiểu.", [None]),
        ("", [None]),
        ("{" * 5000, [None]),
        ('{"instruction": ' * 3000, [None]),
    ],
)
def test_a_reply_is_read_with_or_without_a_schema(reply: str, found: list[str | None]) -> None:
    assert [task and task["instruction"] for task in tasks.parse(reply)] == found


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (task(""), "empty"),
        (task("Kể một câu chuyện vui.", ""), "empty"),
        (task("Kể đi."), "too short"),
        (task("Kể chuyện " + "rất dài " * 101), "too long"),
        (task("Kể một câu chuyện vui.", "dài " * 1600), "too long"),
        (task("Hãy vẽ một con mèo đang ngủ."), "needs another medium"),
        (task("Xem bức ảnh rồi cho biết có mấy người."), "needs another medium"),
        (task("Vẽ sơ đồ mạng của công ty."), "needs another medium"),
        (task("Hát một bài về mẹ cho em nghe."), "needs another medium"),
        (task("Dựa vào biểu đồ, cho biết quý nào bán được nhiều nhất."), "needs another medium"),
        (task("Dịch câu sau."), "input missing"),
        (task("Sửa lỗi chính tả trong đoạn văn dưới đây:"), "input missing"),
        (task("Write a short story about the sea and the people in it."), "not Vietnamese"),
        (task("Hay viet mot cau chuyen ngan ve bien va nguoi dan chai."), "not Vietnamese"),
        (task("Tả con đường làng.", "Con duong lang em rat dep va co nhieu cay xanh."), "not Vietnamese"),
        (task("Tả con đường làng.", "..."), "no answer"),
        (task("Tả con đường làng.", "[câu trả lời]"), "no answer"),
        (task("Tả con đường làng.", "<câu trả lời>"), "no answer"),
        (task("Tả con đường làng.", "Rất tiếc, tôi không thể giúp bạn việc này."), "refusal"),
        (task("Tả con đường làng.", "Tôi là một mô hình ngôn ngữ nên không thể đi bộ."), "refusal"),
        (task("Tả con đường làng.", "Tả con đường làng!"), "repeats the instruction"),
        (task("Tả con đường làng.", "Đường làng quanh co. Hai bên là tre. Mỗi chiều em cùng bạn bè đi học về trên con"
              " đường ấy và cùng nhau hát"), "truncated"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_task_has_a_name(given: Task, reason: str) -> None:
    found = tasks.fault(given)
    assert found and found[0] == reason


@pytest.mark.parametrize(
    "given",
    [
        task("Đố vui: con gì đi bằng bốn chân buổi sáng?"),
        task("“Uống nước nhớ nguồn” dạy ta điều gì?"),
        task("Ẩn dụ khác hoán dụ ở đâu?"),
        task("Điền dấu >, < hoặc = vào chỗ trống.", ">", "5 ... 3"),
        task("Dịch câu sau.", "It is raining.", "Trời đang mưa."),
        task("Trong ví dụ này, chương trình in ra gì?", "None", "print(print())"),
        task("Dịch sang tiếng Việt: “The weather is nice today, so we will go out.”"),
        task("Bỏ dấu câu tiếng Việt: Trời hôm nay rất đẹp.", "Troi hom nay rat dep va nang vang."),
        task("Bạn làm việc nhà trước hay sau?"),
        task("Viết thư từ chối lời mời dự tiệc.", "Em rất tiếc không thể đến dự bữa tiệc của chị."),
        task("Giải thích hình ảnh “thuyền” trong câu ca dao."),
        task(
            "Đọc hai câu rồi xem chúng có hình thành một so sánh không.",
            ANSWER,
            "Trăng như đĩa bạc. Đĩa bạc như trăng.",
        ),
        *[task(instruction) for instruction in NO_ORDERS],
        *[task("Cho biết giá trị hoặc thẻ được hỏi.", output) for output in ("[4]", "[]", "<br>")],
        task("Đặt tên cho tệp tin chứa hướng dẫn nấu ăn.", "huong_dan_nau_an.txt"),
    ],
)
def test_no_english_assumption_drops_a_good_task(given: Task) -> None:
    assert tasks.fault(given) is None
