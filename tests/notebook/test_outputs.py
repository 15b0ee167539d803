"""notebook/outputs.py: messages settle into what a reader sees at the end."""

import pytest

from durable_nb.notebook.outputs import Outputs, collapse


def stream(text, name="stdout"):
    return ("stream", {"name": name, "text": text})


def display(text, id=None, kind="display_data", **more):
    return (kind, {"data": {"text/plain": text, **more}, "metadata": {}, "transient": {"display_id": id} if id else {}})


def clear(wait=False):
    return ("clear_output", {"wait": wait})


def settled(*messages, **limits):
    outputs = Outputs(**limits)
    for kind, content in messages:
        outputs.take(kind, content)
    return outputs.settled()


def texts(outputs):
    return [one.get("text") or one["data"]["text/plain"] for one in outputs]


def test_streams_are_joined_as_long_as_nothing_comes_between():
    found = settled(stream("a"), stream("b"), stream("c", "stderr"), stream("d"), display("e"), stream("f"))
    assert texts(found) == ["ab", "c", "d", "e", "f"]


def test_clearing_takes_away_what_was_there():
    assert texts(settled(stream("a"), display("b"), clear(), stream("c"))) == ["c"]


def test_clearing_that_waits_needs_the_next_output():
    assert texts(settled(stream("a"), clear(wait=True))) == ["a"]
    assert texts(settled(stream("a"), clear(wait=True), stream("b"), stream("c"))) == ["bc"]


def test_updates_change_displays_of_this_cell_and_go_on_to_those_of_others():
    found = settled(
        display("old", "mine"),
        display("new", "mine", "update_display_data"),
        display("1", "theirs", "update_display_data"),
        display("2", "theirs", "update_display_data"),
    )
    assert [(one["output_type"], one["data"]["text/plain"]) for one in found] == [
        ("display_data", "new"),
        ("update_display_data", "2"),
    ]
    assert found[1]["transient"] == {"display_id": "theirs"}


def test_a_second_display_of_an_id_changes_the_first_one_too():
    assert texts(settled(display("a", "x"), display("b", "x"), display("c", "x", "update_display_data"))) == ["c", "c"]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("10%\r20%\r100%\n", "100%\n"),
        ("abc\rde\n", "dec\n"),
        ("a\r\nb\n", "a\nb\n"),
        ("half\r", "half\r"),
        ("\r  1/2\r  2/2", "  2/2"),
        ("one\ntwo\rTWO\nthree", "one\nTWO\nthree"),
        ("\x1b[31mlong red\x1b[0m\rok", "ok"),
    ],
)
def test_carriage_returns_leave_what_a_front_end_shows(text, seen):
    assert collapse(text) == seen
    assert collapse(collapse(text)) == seen


def test_a_long_text_is_cut_and_says_so():
    (found,) = settled(*[stream("x" * 10)] * 100, limit=100)
    assert found["text"] == "x" * 100 + "\n[output cut after 100 characters]\n"


def test_a_progress_bar_is_not_cut_for_what_it_overwrote():
    (found,) = settled(*[stream(f"\r{n:5}/9999") for n in range(10_000)], limit=100)
    assert found["text"] == " 9999/9999"


def test_more_than_a_cell_may_keep_is_left_out_and_counted():
    found = settled(display("a" * 60), display("b" * 60), display("c" * 30), whole=100)
    assert texts(found) == ["a" * 60, "c" * 30, "[1 outputs were not stored: more than 100 characters in one cell]\n"]


def test_what_is_cleared_makes_room():
    found = settled(*[one for n in range(9) for one in (clear(), display(str(n) * 60))], whole=100)
    assert texts(found) == ["8" * 60]


def test_a_widget_is_kept_as_its_fallback():
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}}
    (found,) = settled(display("IntSlider(value=3)", **widget))
    assert found["data"] == {"text/plain": "IntSlider(value=3)"}
    only = ("display_data", {"data": widget, "metadata": {}, "transient": {}})
    assert settled(only) == []


def test_a_badge_of_ours_is_no_output():
    from durable_nb.notebook.replaying import badge

    assert settled(("display_data", badge("restored"))) == []
