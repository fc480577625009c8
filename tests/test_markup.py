"""HTML that leaked into data: which texts are taken for it, and what becomes of each of its parts."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.sources.markup import looks_like_html, paragraphs, to_markdown, unescape

CODE = (
    '<pre><div class="bg-black rounded-md mb-4"><div class="flex items-center"><span>python</span>'
    '<button class="flex ml-auto"><svg><path d="M1"></path></svg>Copy code</button></div><div class="p-4">'
    '<code class="!whitespace-pre hljs language-python"><span class="hljs-keyword">def</span> f(x):\n\n\n'
    "    <span>return</span> x &lt; 2\n</code></div></div></pre>"
)
PAGE = f'<div class="markdown prose w-full dark:prose-invert"><p>Đây là <strong>ví dụ</strong>:</p>{CODE}</div>'
KATEX = (
    '<span class="katex"><span class="katex-mathml"><math><semantics><mrow><mi>x</mi></mrow>'
    '<annotation encoding="application/x-tex">x^2</annotation></semantics></math></span>'
    '<span class="katex-html" aria-hidden="true">x2</span></span>'
)


@pytest.mark.parametrize(
    "text",
    [
        PAGE,
        "<p>Xin chào!</p>",
        "\n <p>Xin chào!</p>\n",
        "<p>Một</p>\n<p>Hai</p>",
        "<p>Một</p><p>Hai<br>ba</p><hr>",
        '<ol start="3"><li><p>Một</p><ul><li>hai</li></ul></li></ol>',
        "<p>Dùng <code>&lt;form&gt;</code> như sau:</p><pre><code>```\n  <form>\n</code></pre>",
        f"<p>Công thức {KATEX}.</p>",
        "<table><thead><tr><th>A</th></tr></thead><tbody><tr><td>1</td></tr></tbody></table>",
        '<p><img src="a.png" alt="Ảnh"/></p>',
        '<div class="markdown prose">\n  <p>Một</p>\n  <p>Hai</p>\n</div>',
    ],
)
def test_a_saved_page_is_html(text: str) -> None:
    assert looks_like_html(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Xin chào!",
        "a < b và c > d",
        "<noinput>",
        "List<int> a = new List<int>();",
        "<T> là kiểu tổng quát",
        "Thẻ <p> mở một đoạn văn.</p>",
        "<p> và </p> bao một đoạn văn trong HTML.",
        "<div> là thẻ khối.",
        "<div>",
        "</p>",
        "<p>chưa đóng",
        "<p><b>đóng sai</p></b>",
        "```html\n<p>Xin chào</p>\n```",
        "<p>Xin chào</p>\n\n```html\n<p>Xin chào</p>\n```",
        "<p>Xin chào</p>\n\nĐoạn mã trên hiện một lời chào.",
        "<div>\n  <p>Xin chào</p>\n</div>",
        "<ul>\n\t<li>Một</li>\n</ul>",
        "<!DOCTYPE html>\n<html><body><p>Xin chào</p></body></html>",
        "<html><p>Xin chào</p></html>",
        "<?xml version='1.0'?><p>x</p>",
        "<note><to>An</to></note>",
        "```xml\n<note><to>An</to></note>\n```",
        "<p>Xin chào</p><script>alert(1)</script>",
        '<div><form action="/">x</form></div>',
        '<p>Tên: <input name="ten"></p>',
        "<div><button>Gửi</button></div>",
        "<p style='color: red'>Xin chào</p>",
        '<p style="color: red">Xin chào</p>',
        '<p>Xin <b onclick="f()">chào</b></p>',
        '<div><p class = "x">Xin chào</p></div>',
        "<p> Xin chào </p>",
        "<p>Xin chào</p><!-- lời chào -->",
        "<p>Dùng vector<int> nhé</p>",
        "<center>Xin chào</center>",
        "<pre>" * 3,
        "# Tiêu đề\n\n<p>Xin chào</p>",
        "| a | b |\n|---|---|\n| <p>x</p> | y |",
    ],
)
def test_markdown_that_speaks_of_html_is_not(text: str) -> None:
    assert not looks_like_html(text)


@pytest.mark.parametrize(
    ("html", "markdown"),
    [
        (PAGE, "Đây là **ví dụ**:\n\n```python\ndef f(x):\n\n\n    return x < 2\n```"),
        ("<p>Một</p><p>Hai</p>", "Một\n\nHai"),
        ("<p>Dòng<br>mới</p>", "Dòng  \nmới"),
        ("<h3>Tiêu đề</h3><blockquote><p>trích</p></blockquote>", "### Tiêu đề\n\n> trích"),
        ("<ul><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li><li>d</li></ul>", "- a\n  - b\n    - c\n- d"),
        ('<ol start="3"><li>ba</li><li>bốn</li></ol>', "3. ba\n4. bốn"),
        ("<ol><li><p>Gõ:</p><pre><code>ls\n  -l</code></pre></li></ol>", "1. Gõ:\n\n   ```\n   ls\n     -l\n   ```"),
        ("<p>Gõ <code>a | b</code> rồi <code>x`y</code></p>", "Gõ `a | b` rồi `` x`y ``"),
        ('<p><a href="https://e.vn/a_b">liên_kết</a> 2*3*4</p>', "[liên_kết](https://e.vn/a_b) 2*3*4"),
        (
            "<table><thead><tr><th>A</th><th>B|C</th></tr></thead><tbody><tr><td>1<br>2</td><td>&amp;</td></tr></tbody></table>",
            "| A | B\\|C |\n| --- | --- |\n| 1 2 | & |",
        ),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "| a | b |\n| --- | --- |\n| c |"),
        (f"<p>Công thức {KATEX}.</p>", "Công thức $x^2$."),
        (f'<span class="katex-display">{KATEX}</span>', "$$x^2$$"),
        (f"<p>{KATEX.replace('</semantics>', '<annotation>x^2</annotation></semantics>')} là</p>", "$x^2$ là"),
        ("<math><annotation>x<annotation>y</annotation></annotation></math>", "$xy$"),
        ("<p>A<sup class='reference'>[1]</sup> là <em>một</em> <del>hai</del></p>", "A là *một* ~~hai~~"),
        ("<p>&lt;b&gt; &amp;&nbsp;R&amp;D</p>", "<b> & R&D"),
        ("<pre><code>a\n```\nb</code></pre>", "````\na\n```\nb\n````"),
        ("<pre><div><span>bash</span><button>Copy code</button></div><code>ls</code></pre>", "```bash\nls\n```"),
        ("<pre>sqlCopy code\nSELECT 1;</pre>", "```sql\nSELECT 1;\n```"),
        ("<pre></pre><p>x</p>", "x"),
        ("<style>p{}</style><script>x()</script><p>x</p>", "x"),
        ("<p>chưa <b>đóng", "chưa **đóng**"),
        ("tr&agrave; &amp; bánh", "trà & bánh"),
        ("index.html", "index.html"),
        ("https://e.vn/<b>", "https://e.vn/"),
        ("<?xml version='1.0'?><p>x</p>", "x"),
        ("", ""),
    ],
)  # fmt: skip
def test_html_becomes_markdown(html: str, markdown: str) -> None:
    assert to_markdown(html) == markdown


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("Một dòng.", ["Một dòng."]),
        ("Một.\r\n\r\n  Hai  ba. \n\n", ["Một.", "Hai ba."]),
        ("a < b và c > d & R&D", ["a < b và c > d & R&D"]),
        ("Đi 5<10 km, List<int>\nxong", ["Đi 5<10 km, List<int>", "xong"]),
        ("Gi&aacute; v&agrave;ng &amp;nbsp;tăng &amp; giảm", ["Giá vàng tăng & giảm"]),
        ("<p>L&agrave; <b>mộ</b>t&nbsp;&amp;nbsp;hai</p>", ["Là một hai"]),
        ("<p>Một</p>ngoài<p>hai", ["Một", "ngoài", "hai"]),
        ("Một<br><br/>hai<BR />ba", ["Một", "hai", "ba"]),
        ("<p>H<sub>2</sub>O, m<sup>2</sup>, từ<wbr>dài, <o:p>lạ</o:p></p>", ["H2O, m2, từdài, lạ"]),
        ("<script>var a='<p>x</p>';</script><style>p{}</style><p>tin</p><noscript>x</noscript>", ["tin"]),
        ("<p>tin</p><div class='box ads'><p>mua</p></div><div id=\"banner-top\">mua</div><p>hết</p>", ["tin", "hết"]),
        ("<div class='related-news'><ul><li>x</li></ul></div><p class='headset'>đọc</p>", ["đọc"]),
        ("<div class='roads shadow'>Đường</div><p id='pads'>vẫn còn</p>", ["Đường", "vẫn còn"]),
        ("<p>class=\"ads\" là một lớp</p><div class='x'>còn</div>", ['class="ads" là một lớp', "còn"]),
        ("<figure><img src='a.jpg'><figcaption>Ảnh: An</figcaption></figure><p>tin</p>", ["Ảnh: An", "tin"]),
        ("<table><caption>Giá</caption><tr><th>Loại</th> <th>Đồng</th></tr><tr><td>Gạo</td><td>9</td></tr></table>",
         ["Giá", "Loại | Đồng", "Gạo | 9"]),
        ("<table><tr><td><img></td><td></td></tr><tr><td><p>a</p><p>b</p></td><td>c</td></tr></table>",
         ["a", "b", "c"]),
        ("<ul><li>một</li><li>hai<ul><li>ba</li></ul></li></ul>", ["một", "hai", "ba"]),
        ("<div>" * 3000 + "sâu" + "</div>" * 3000 + "<p>sau</p>", ["sâu", "sau"]),
        ("&lt;p&gt;Tin &amp;agrave;&lt;/p&gt;&lt;p&gt;hai&lt;/p&gt;", ["Tin à", "hai"]),
        ("<p>a &lt; b, &lt;p&gt; là thẻ</p>", ["a < b, <p> là thẻ"]),
        ("<html><head><title>x</title></head><body><h1>Đầu</h1>đề</body></html>", ["Đầu", "đề"]),
        ("<p>nửa \ud800 cặp</p>", ["nửa ? cặp"]),
        ("<p>\x00tin</p>", ["tin"]),
        ("<p></p><p>&nbsp;</p><br>", []),
        ("", []),
        (" \n ", []),
    ],
)  # fmt: skip
def test_a_news_body_becomes_paragraphs(body: str, expected: list[str]) -> None:
    assert paragraphs(body) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("trà", "trà"),
        (
            "tr&agrave; &#273;&#x1EAD;m &quot;ngon&quot;",
            'trà đậm "ngon"',
        ),
        ("a&nbsp;b", "a b"),
        ("&amp;nbsp;&amp;agrave;", " à"),
        ("&amp;amp;", "&"),
        ("R&D, AT&T; Q&A", "R&D, AT&T; Q&A"),
        ("https://e.vn/?a=1&copy=2&lt=3", "https://e.vn/?a=1&copy=2&lt=3"),
        ("&foo; &notit; &;", "&foo; &notit; &;"),
        ("dùng `&lt;` cho &lt;", "dùng `&lt;` cho <"),
        ("```\n&amp;\n``` &amp;", "```\n&amp;\n``` &"),
        ("a && b &&amp; c", "a && b && c"),
    ],
)
def test_only_entities_are_unescaped(text: str, expected: str) -> None:
    assert unescape(text) == expected


TAGS = st.sampled_from(
    "<p> </p> <div> </div> <br> <table> <tr> <td> </td> <ul> <li> <ol start='x'> <pre> </pre> <code> </code> <svg> "
    "<math> <annotation> <select> <frameset> <!-- --> <![CDATA[ ]]> <!x <?php </ < > &amp; &lt; &# &#0; &#xFFFFFF; "
    "<a\thref= <script> </script> <style> <textarea> <plaintext> <template> <b class=\" ' ` ```` | \\ Copy\tcode "
    "<sup\tclass=reference>"
    .split(" ")
)  # fmt: skip


@given(st.text() | st.lists(TAGS | st.text(max_size=3), max_size=30).map("".join))
def test_no_text_is_a_traceback(text: str) -> None:
    assert isinstance(to_markdown(text), str) and isinstance(unescape(text), str)
    assert looks_like_html(text) in (True, False)
    assert all(line and line == " ".join(line.split()) for line in paragraphs(text))


@pytest.mark.parametrize(
    "text",
    [
        piece * 40_000
        for piece in ("<pre ", "</pre>", "&lt;p ", "class=", "`", "```", "<p", "</td> ", "<td>", "<!--", "&amp;")
    ]
    + ["<p>" + " " * 200_000 + "x</p>", "<div>" * 5000, "<b>" * 5000, "<p>" + "&lt;p " * 40_000 + "</p>"],
    ids=lambda text: text[:9],
)
def test_hostile_texts_take_no_more_than_their_length(text: str) -> None:
    start = time.process_time()
    looks_like_html(text), paragraphs(text), unescape(text)
    assert time.process_time() - start < 5


def test_nesting_too_deep_for_markdown_still_gives_the_text() -> None:
    assert to_markdown("<div>" * 5000 + "sâu" + "</div>" * 5000) == "sâu"
