"""Templates: what they show is escaped, whatever it is, and what is missing is an error."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from jinja2 import StrictUndefined, UndefinedError
from markupsafe import Markup

from leanboard.leaderboard import rendering
from leanboard.leaderboard.rendering import Templates

PAYLOAD = """<script>alert("x")</script> & 'y'"""
ESCAPED = "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt; &amp; &#39;y&#39;"


@dataclass(frozen=True, slots=True)
class Line:
    text: object


class Shouting(str):
    """A string of a class of its own, as the values of a StrEnum are."""

    __slots__ = ()


def rendered(folder: Path, template: str, **given: object) -> str:
    (folder / "page.html").write_text(template)
    return Templates(folder).get_template("page.html").render(given)


@pytest.mark.parametrize("text", [PAYLOAD, Shouting(PAYLOAD)], ids=["str", "subclass"])
def test_a_text_is_escaped_the_first_time_and_again(tmp_path, text):
    page = rendered(tmp_path, "{{ text }}|{{ line.text }}|{{ text }}", text=text, line=Line(text))
    assert page == f"{ESCAPED}|{ESCAPED}|{ESCAPED}"


def test_markup_stays_and_does_not_stand_in_for_the_text_of_the_same_letters(tmp_path):
    for first, second in ((Markup("<b>"), "<b>"), ("<b>", Markup("<b>"))):
        page = rendered(tmp_path, "{{ a }} {{ b }} {{ a }}", a=first, b=second)
        known = {Markup: "<b>", str: "&lt;b&gt;"}
        one, other = known[type(first)], known[type(second)]
        assert page == f"{one} {other} {one}"


def test_what_a_macro_returns_is_markup_whose_values_are_escaped_once(tmp_path):
    macro = "{% macro bold(text) %}<b>{{ text }}</b>{% endmacro %}{{ bold(text) }}"
    assert rendered(tmp_path, macro, text=PAYLOAD) == f"<b>{ESCAPED}</b>"


def test_what_a_filter_makes_of_texts_is_escaped(tmp_path):
    page = rendered(tmp_path, """{{ [text, "<"]|join("; ") }}""", text=PAYLOAD)
    assert page == f"{ESCAPED}; &lt;"


def test_constants_of_a_template_stand_as_jinja_writes_them(tmp_path):
    assert (
        rendered(tmp_path, """<b>{{ "<" }}</b>{{ 1 }}{{ "a" if 1 else "b" }}""") == "<b>&lt;</b>1a"
    )


def test_values_that_are_no_texts_stand_as_python_writes_them(tmp_path):
    page = rendered(
        tmp_path,
        "{% for value in values %}{{ value }} {% endfor %}",
        values=[0, -1.5, 1e-7, True, None, ("<", 1), {"&": 1}],
    )
    assert page == ("0 -1.5 1e-07 True None (&#39;&lt;&#39;, 1) {&#39;&amp;&#39;: 1} ")


def test_equal_values_of_other_kinds_do_not_stand_in_for_one_another(tmp_path):
    assert rendered(tmp_path, "{{ a }} {{ b }} {{ c }}", a=1, b=True, c=1.0) == "1 True 1.0"


def test_characters_that_would_reorder_a_page_are_replaced(tmp_path):
    assert rendered(tmp_path, "{{ text }}", text="a\u202eb\x1b") == "a\ufffdb\ufffd"


def test_the_attribute_is_meant_and_not_the_key_of_a_mapping(tmp_path):
    page = rendered(
        tmp_path, """{{ found["items"] }} {{ found.items()|length }}""", found={"items": "<"}
    )
    assert page == "&lt; 1"


@pytest.mark.parametrize(
    "template", ["{{ absent }}", "{{ absent.text }}", "{% if absent %}{% endif %}"]
)
def test_a_name_that_nothing_gave_is_an_error(tmp_path, template):
    with pytest.raises(UndefinedError, match="'absent' is undefined"):
        rendered(tmp_path, template)


@pytest.mark.parametrize("template", ["{{ line.absent }}", "{% if line.absent %}{% endif %}"])
def test_what_an_object_lacks_is_an_error_that_names_the_template_and_the_line(tmp_path, template):
    with pytest.raises(AttributeError, match="'Line' object has no attribute 'absent'") as caught:
        rendered(tmp_path, f"\n{template}", line=Line("a"))
    last = caught.traceback[-1]
    assert (Path(last.path).name, last.lineno) == ("page.html", 1)


def test_an_undefined_value_is_never_shown(tmp_path):
    with pytest.raises(UndefinedError):
        Templates(tmp_path).shown(StrictUndefined(name="absent"))


def test_no_more_texts_are_remembered_than_there_is_room_for(tmp_path, monkeypatch):
    monkeypatch.setattr(rendering, "_MOST", 2)
    templates = Templates(tmp_path)
    for text in ("<", ">", "&", "<"):
        assert templates.shown(text) == {"<": "&lt;", ">": "&gt;", "&": "&amp;"}[text]
        assert len(templates._texts) <= 2
