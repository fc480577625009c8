"""What the chat page says, in Vietnamese and in English, and which of the two a visitor reads.

Gradio 6.31 has no Vietnamese: a page asked for in ``vi`` looks its texts up under ``en``, and so does every text
of ours in any other language. So the server decides: it hands each visitor one table under the name ``en``,
with Gradio's own labels (the dotted keys) in Vietnamese too.
"""

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Literal

Language = Literal["vi", "en"]

EXAMPLES = (
    "Viết số 47 bằng chữ.",
    "Thủ đô của Nhật Bản là gì?",
    "Trái nghĩa với cao là gì?",
    "Hãy gợi ý ba cách để ngủ ngon hơn.",
    "Viết một lời chúc sinh nhật ngắn gửi mẹ.",
)

TEXTS: dict[str, tuple[str, str]] = {
    "welcome": ("Xin chào! Bạn muốn hỏi gì?", "Hello! What would you like to ask?"),
    "ask": ("Nhập câu hỏi…", "Ask in Vietnamese…"),
    "model": ("Mô hình", "Model"),
    "new": ("Hội thoại mới", "New chat"),
    "system": ("Lời dặn mô hình", "System prompt"),
    "system_hint": ("Ví dụ: Hãy trả lời ngắn gọn.", "For example: Hãy trả lời ngắn gọn."),
    "sampling": ("Cách chọn từ", "Sampling"),
    "temperature": ("Nhiệt độ", "Temperature"),
    "temperature_info": ("0 = luôn chọn từ chắc nhất", "0 = always the likeliest token"),
    "max_new_tokens": ("Độ dài tối đa (token)", "Longest answer (tokens)"),
    "repetition_penalty": ("Phạt lặp từ", "Repetition penalty"),
    "seed": ("Số khởi tạo ngẫu nhiên", "Seed"),
    "seed_info": ("Mỗi lần thử lại cộng thêm 1", "Each retry adds 1"),
    "private": (
        "Mô hình chạy trên máy này. Bấm 👍 hoặc 👎 sẽ lưu hội thoại vào thư mục feedback/ của máy.",
        "The model runs on this machine. A 👍 or 👎 keeps the conversation in its folder feedback/.",
    ),
    "ready": (
        "Câu trả lời có thể sai. Hãy kiểm tra lại những điều quan trọng.",
        "Answers may be wrong. Check what matters.",
    ),
    "loading": ("Đang nạp mô hình {model}…", "Loading the model {model}…"),
    "writing": ("{model} đang trả lời…", "{model} is answering…"),
    "done": ("{model} · {tokens} token · {seconds} giây", "{model} · {tokens} tokens · {seconds} s"),
    "stopped": ("Đã dừng.", "Stopped."),
    "thanks": ("Cảm ơn bạn, đánh giá đã được lưu.", "Thank you, the rating is saved."),
    "forgotten": (
        "Hội thoại dài hơn {context} token mà mô hình đọc được: {count} lượt đầu bị bỏ qua.",
        "The conversation is longer than the {context} tokens that the model can read: "
        "it does not see the first {count} exchange(s).",
    ),
    "empty": ("(Mô hình không viết gì.)", "(The model wrote nothing.)"),
    "no_models": (
        "Chưa có mô hình nào. Hãy chạy `make repro` (hoặc `dvc repro`) để tạo, hoặc `dvc pull` để tải về, "
        "rồi mở lại trang này.",
        "There is no model yet. Run `make repro` (or `dvc repro`) to make one, or `dvc pull` to fetch one, "
        "then reload this page.",
    ),
    "gone": (
        "Không tìm thấy mô hình {model}. Hãy mở lại trang, hoặc chạy `dvc repro` hay `dvc pull`.",
        "The model {model} is not there. Reload the page, or run `dvc repro` or `dvc pull`.",
    ),
    "unreadable": ("Không nạp được mô hình {model}: {detail}", "The model {model} can't be loaded: {detail}"),
    "no_template": (
        "Mô hình {model} chưa học trò chuyện (không có mẫu hội thoại). Hãy chọn mô hình khác, chẳng hạn sft.",
        "The model {model} has not learnt to chat (it has no chat template). Choose another one, such as sft.",
    ),
    "refused": (
        "Mẫu hội thoại của {model} từ chối hội thoại này: {detail} Hãy thử bỏ lời dặn mô hình.",
        "The chat template of {model} refuses this conversation: {detail} Try it without a system prompt.",
    ),
    "too_long": (
        "Câu hỏi quá dài: {tokens} token, trong khi mô hình chỉ đọc được {context}. Hãy rút ngắn câu hỏi hoặc lời dặn.",
        "The question is too long: {tokens} tokens, and the model can read {context}. Shorten it or the system prompt.",
    ),
    "failed": ("Mô hình {model} gặp lỗi khi trả lời: {detail}", "The model {model} failed while answering: {detail}"),
    "chatbot.retry": ("Thử lại", "Try again"),
    "chatbot.undo": ("Hoàn tác", "Undo"),
    "chatbot.clear": ("Xóa hội thoại", "Clear the conversation"),
    "chatbot.like": ("Hay", "Good answer"),
    "chatbot.dislike": ("Chưa hay", "Bad answer"),
    "chatbot.copy_message": ("Sao chép", "Copy"),
    "chatbot.copied_message": ("Đã chép", "Copied"),
    "common.error": ("Lỗi", "Error"),
    "common.loading": ("Đang tải", "Loading"),
    "common.processing": ("Đang xử lý", "Processing"),
    "common.submit": ("Gửi", "Send"),
    "common.stop": ("Dừng", "Stop"),
    "common.clear": ("Xóa", "Clear"),
    "common.undo": ("Hoàn tác", "Undo"),
    "blocks.lost_connection": ("Mất kết nối. Đang nối lại…", "Connection lost. Reconnecting…"),
    "status.queue_position": ("Đang chờ: {position}/{size}", "In queue: {position} of {size}"),
}


def say(language: Language, key: str, **blanks: object) -> str:
    """A text in one language, its blanks filled."""
    return TEXTS[key][("vi", "en").index(language)].format(**blanks)


def table(language: Language) -> dict[str, str]:
    """All texts in one language."""
    return {key: pair[("vi", "en").index(language)] for key, pair in TEXTS.items()}


def language_of(headers: Mapping[str, str], asked: str = "") -> Language:
    """What the visitor picked on the page (in the address or, later, in a cookie), else what the browser prefers."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get("lang")
    except CookieError:  # another program on this host may have set anything
        cookie = None
    accepted = [part.partition(";")[0].strip()[:2].lower() for part in headers.get("accept-language", "").split(",")]
    for wish in (asked, cookie.value if cookie else "", *accepted):  # browsers list the preferred one first
        if wish in ("vi", "en"):
            return "en" if wish == "en" else "vi"
    return "vi"
