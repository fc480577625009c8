"""HTML that leaked into data sets: back to Markdown, to plain paragraphs, or to plain letters.

Three leaks, three functions. Conversations were saved as a chat page's HTML (`to_markdown`, when
`looks_like_html` says so), news bodies as an article's HTML (`paragraphs`), and plain lines kept their entities
(`unescape`). None of them raises on any text.

Parsers: markdownify over html.parser for the few answers that need Markdown (300 of 3.4 KB a second on one core);
selectolax (lexbor, HTML5) for the many news bodies (12,000 of 2.6 KB a second). On the same work lxml was as fast, but
returned nothing at all of deeply nested bodies, and of an empty one raised.

Not covered: where a page's article begins (a body is taken whole, but for scripts and advertisements), merged cells,
and Markdown signs within the text of a page, which stay unescaped so that an answer reads as its author wrote it.
"""

import re
from html import unescape as decode
from html.entities import html5
from typing import Any

BLOCKS = (
    "p|br|div|li|h[1-6]|tr|table|ul|ol|address|article|aside|blockquote|caption|center|dd|details|dl|dt|fieldset|"
    "figcaption|figure|footer|form|header|hr|main|nav|option|pre|section|summary|tbody|tfoot|thead"
)
INLINES = (
    "a|abbr|acronym|b|bdi|bdo|big|body|button|cite|code|del|dfn|em|embed|font|head|html|i|iframe|img|input|ins|kbd|"
    "label|link|mark|meta|noscript|object|q|s|samp|script|select|small|source|span|strike|strong|style|sub|sup|svg|td|"
    "template|textarea|th|time|title|tt|u|var|video|wbr"
)
TAG = re.compile(rf"</?(?:{BLOCKS}|{INLINES})(?=[\s/>])[^<>]*>", re.I)
# Both marks are white space to HTML or stand within a cell, so that the parser leaves them where they are in a table.
BLOCK_MARK, CELL_MARK = "\f", "\v"
BLOCK_EDGE = re.compile(rf"<(?=/?(?:{BLOCKS})[\s/>])", re.I)
CELL_EDGE = re.compile(r"</t(?=[dh]\s*>\s*<t[dh][\s/>])", re.I)
JUNK_TAG = re.compile(r"<(script|style|noscript|iframe|template|svg|button|select|textarea|object|title)[\s/>]", re.I)
# It begins with a fixed letter, which re finds several times as fast as a name in either case.
ADVERTISEMENT = re.compile(
    r"=\s{0,9}[\"']?(?:[^\"'<>]{0,200}[\s_-])?(?i:ads?|adv|adsbygoogle|advert\w*|banner\w*|promo\w*|qc|quang-?cao|"
    r"related\w*|social\w*|sponsor\w*|tin-?lien-?quan)(?=[\s\"'>_-])"
)
ESCAPED_TAG = re.compile(r"&lt;/?(?:p|div|br|span|strong|em|b|i|a|table|img)(?=\s|/|&gt;)[^<>]{0,500}?&gt;", re.I)
ENTITY_OR_CODE = re.compile(
    r"(?P<code>```.*?(?:```|\Z)|`[^`\n]+`)|&(?:amp;)?(?P<name>#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});",
    re.S,
)

PAGE_START = re.compile(
    r"<(?:div|p|ol|ul|h[1-6]|pre|table|blockquote)(?: (?:class|dir|start|data-[\w-]+)=\"[^\"<>]*\")*>(?![ \t])", re.I
)
# A page writes name="value"; people also write other quotes, spaces, and handlers.
AUTHORED = re.compile(r"<[a-z][^<>]*(?:\s=|=\s|='|\son\w+=)", re.I)
PAGE_TAGS = frozenset(
    "a annotation b blockquote br code col colgroup del div em figure h1 h2 h3 h4 h5 h6 hr i img li math mfrac mi mn "
    "mo mover mpadded mroot mrow mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover ol p pre "
    "s semantics span strong sub sup table tbody td th thead tr u ul".split()
)
VOID = frozenset("br col hr img".split())
ANY_TAG = re.compile(r"<(?P<end>/?)(?P<name>[A-Za-z][\w:-]*)(?:\s[^<>]*)?(?P<closed>/?)>|<!--|<!doctype", re.I)
PRE_END = re.compile(r"</pre\s*>", re.I)
PRE_START = re.compile(r"<pre(?=[\s>])", re.I)
FENCE = re.compile(r"^ {0,3}(```+|~~~+)", re.M)
RENDERED = re.compile(r"<div\s[^<>]*class=[\"'][^\"'<>]*\b(?:markdown|prose)\b", re.I)
INDENTED_TAG = re.compile(r"\n[ \t]+</?[A-Za-z]")
LANGUAGE = re.compile(r"(?:^|\s)lang(?:uage)?-([\w+#.-]+)")


def unescape(text: str) -> str:
    """Entities as their letters, also those that were escaped twice; code and every other ``&`` stay as they are.

    Only known names that end with a semicolon count: ``R&D``, ``?a=1&copy=2`` and code in backticks are kept.
    """
    return ENTITY_OR_CODE.sub(entity, text) if "&" in text else text


def entity(match: re.Match[str]) -> str:
    """What one match of ENTITY_OR_CODE stands for."""
    name = match["name"]
    if match["code"] is not None or (name[0] != "#" and f"{name};" not in html5):
        return match[0]
    return decode(f"&{name};").replace("\xa0", " ")


def paragraphs(html_or_text: str) -> list[str]:
    """The paragraphs of a news body in their order, each on one line with single spaces, none empty.

    A line of plain text is a paragraph; so are a block of HTML, what stands between two ``<br>``, a caption and a
    table's row (its cells joined by bars). Scripts, styles and blocks whose class or id names an advertisement go.
    """
    text = html_or_text
    if "<" not in text and "&" not in text:
        return spaced(text.splitlines())
    if not TAG.search(text):
        if not ESCAPED_TAG.search(text):
            return spaced(unescape(text).splitlines())
        text = decode(text)
    from selectolax.lexbor import LexborHTMLParser

    edged = CELL_EDGE.sub(CELL_MARK + r"\g<0>", text) if "<t" in text or "<T" in text else text
    edged = BLOCK_EDGE.sub(BLOCK_MARK + "<", edged)
    # the parser returns nothing of a text that holds half of a surrogate pair
    tree = LexborHTMLParser(edged.encode("utf-8", "replace"))
    for name in sorted({name.lower() for name in JUNK_TAG.findall(text)}):
        for node in tree.css(name):
            node.decompose()
    if ADVERTISEMENT.search(text):
        for node in tree.css("div,aside,section,ins,ul,table,p"):
            names = (f'="{node.attributes[key]}"' for key in ("class", "id") if key in node.attributes)
            if any(map(ADVERTISEMENT.match, names)):
                node.decompose()
    if tree.body is None:
        return []
    blocks = unescape(tree.body.text(separator="")).split(BLOCK_MARK)
    return spaced([" | ".join(spaced(block.split(CELL_MARK))) if CELL_MARK in block else block for block in blocks])


def spaced(lines: list[str]) -> list[str]:
    """Lines with single spaces, without the empty ones."""
    return [line for line in (" ".join(raw.split()) for raw in lines) if line]


def looks_like_html(text: str) -> bool:
    """Whether an answer is the HTML that a chat page showed, and not Markdown that speaks of HTML.

    It must begin with a block tag that such a page uses, hold no tag that it doesn't use, close every element that it
    opens, have next to no text outside of them, and not be laid out like source code. Source code of such tags alone,
    on one line and without a fence, can't be told from a page.
    """
    text = text.strip()
    if not PAGE_START.match(text):
        return False
    *shown, last = PRE_END.split(text)
    body = "<hr>".join([*(PRE_START.split(piece, maxsplit=1)[0] for piece in shown), last])
    if FENCE.search(body) or AUTHORED.search(body) or (INDENTED_TAG.search(body) and not RENDERED.match(text)):
        return False
    open_tags: list[str] = []
    bare = position = 0
    for tag in ANY_TAG.finditer(body):
        if not open_tags:
            bare += len(body[position : tag.start()].strip())
        position = tag.end()
        name = (tag["name"] or "").lower()
        if name not in PAGE_TAGS:
            return False
        if name in VOID or tag["closed"]:
            continue
        if not tag["end"]:
            open_tags.append(name)
        elif not open_tags or open_tags.pop() != name:
            return False
    return not open_tags and 20 * (bare + len(body[position:].strip())) <= len(body)


def to_markdown(html: str) -> str:
    """Markdown of a page's HTML: fenced code with its language, lists, tables, formulas as TeX; a text without tags
    only loses its entities.
    """
    if "<" not in html:
        return unescape(html).strip()
    import warnings

    from bs4 import BeautifulSoup
    from bs4.exceptions import ParserRejectedMarkup
    from markdownify import MarkdownConverter

    converter: Any = MarkdownConverter  # its types leave the cells' converter out

    class Page(MarkdownConverter):
        """A chat page's ways with code blocks and tables."""

        def convert_pre(self, el: Any, text: str, parent_tags: set[str]) -> str:
            return fenced(el)

        def convert_td(self, el: Any, text: str, parent_tags: set[str]) -> str:
            escaped = re.sub(r"(?<!\\)\|", r"\\|", text)
            return str(converter.convert_td(self, el, escaped, parent_tags))

        convert_th = convert_td

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # guesses that the text is a file's name, or XML
            soup = BeautifulSoup(html, "html.parser")
        simplify(soup)
        page = Page(
            heading_style="ATX", bullets="-", autolinks=False, table_infer_header=True,
            escape_asterisks=False, escape_underscores=False,
        )  # fmt: skip
        markdown = page.convert_soup(soup)
    except (RecursionError, ParserRejectedMarkup):
        return "\n\n".join(paragraphs(html))
    lines = markdown.replace("\xa0", " ").split("\n")
    # two spaces at the end of a line are Markdown's line break; all others are chance
    return "\n".join(
        f"{line.rstrip()}  " if line.strip() and line.endswith("  ") else line.rstrip() for line in lines
    ).strip()


def simplify(soup: Any) -> None:
    """Without what is only for the screen; a formula, shown in two ways, as its TeX."""
    from bs4.element import Declaration, ProcessingInstruction

    for node in soup.find_all(["script", "style", "button", "svg", "noscript", "template"]):
        node.decompose()
    for node in soup.select("sup.reference"):
        node.decompose()
    for node in soup.find_all(string=lambda text: isinstance(text, (Declaration, ProcessingInstruction))):
        node.extract()
    for node in soup.find_all("annotation"):
        display = node.find_parent(class_="katex-display")
        formula = display or node.find_parent(class_="katex") or node.find_parent("math")
        if formula is not None and formula.parent is not None:  # else another annotation has replaced it
            fence = "$$" if display is not None else "$"
            formula.replace_with(f"{fence}{node.get_text().strip()}{fence}")


def fenced(pre: Any) -> str:
    """A ``<pre>`` as fenced code: the text of its ``<code>``, without the bar that names the language above it."""
    code = pre.find("code")
    text = (code or pre).get_text()
    named = LANGUAGE.search(" ".join((code or pre).get("class") or []))
    language = named[1] if named else ""
    if code is not None and not language:
        bar = pre.find("span")
        title = bar.get_text().strip() if bar is not None and not code.find_all("span", limit=1) else ""
        language = title if re.fullmatch(r"[\w+#.-]{1,20}", title) else ""
    if code is None and (bar := re.match(r"\s*([\w+#.-]{0,20}?)\s*Copy code[ \t]*\n?", text)):
        language, text = bar[1], text[bar.end() :]
    text = text.strip("\n").rstrip()
    fence = max(["```", *(f"{run}`" for run in re.findall("```+", text))], key=len)
    return f"\n\n{fence}{language}\n{text}\n{fence}\n\n" if text else ""
