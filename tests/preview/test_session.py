"""The session: what the page asks, and what becomes of changed files."""

import errno
import json
import os
from contextlib import contextmanager

import pytest

from appliance.bootstrap.state_folder import snapshot_folder
from appliance.bootstrap.wiring import import_spec_of
from appliance.config.loader import load
from appliance.outcomes import Outcome
from appliance.preview.examples import DataState
from appliance.preview.session import Session
from tests.factory import CUSTOMERS, body_for, run_import, write_csv
from tests.preview.live import CONFIG, write_files

ANN = body_for("ann@example.com")


@pytest.fixture
def folder(tmp_path):
    write_files(tmp_path)
    return tmp_path


@contextmanager
def opened(folder):
    """Return a session whose first import is done."""

    def read():
        return load(folder / "sidebard.toml", {})

    settings = read()
    session = Session(settings, settings.apps[0], read, folder / "imported")
    try:
        session.finish_import()
        yield session
    finally:
        session.close()


def change(session):
    """Let the session look, and wait for the import if there is one."""
    changed = session.poll()
    session.finish_import()
    return changed


def html(session, body=ANN, data=DataState.LIVE):
    return session.answer(body, data).html


def test_the_answer_is_what_help_scout_would_get(folder):
    with opened(folder) as session:
        answer = session.answer(ANN, DataState.LIVE)
        assert (answer.status, answer.outcome, answer.html) == (200, Outcome.FOUND, "<h4>Ann Lee</h4>\n")
        assert json.loads(answer.text) == {"html": answer.html}
        assert answer.size == len(answer.text.encode())
        assert answer.milliseconds > 0
        assert answer.faults == ()


def test_no_answer_is_one_that_was_kept(folder):
    """What is wrong with a card is said in a first answer only."""
    (folder / "card.html").write_text("{{ customer.nothing }}")
    with opened(folder) as session:
        assert [len(session.answer(ANN, DataState.LIVE).faults) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"[]", 400, "The body is not a JSON object.\n"),
        (b"{", 400, "The body is not a JSON object.\n"),
        (b"{}" + b" " * 256 * 1024, 413, "The body is over 256 KiB.\n"),
    ],
)
def test_what_is_refused_is_refused_in_the_same_words(folder, body, status, text):
    with opened(folder) as session:
        answer = session.answer(body, DataState.LIVE)
        assert (answer.status, answer.text, answer.html) == (status, text, None)


def test_every_state_has_an_example_that_leads_to_it(folder):
    with opened(folder) as session:
        outcomes = {
            example.title: session.answer(example.body.encode(), example.data).outcome
            for example in session.state.examples
        }
        old = html(session, ANN, DataState.OLD)
    assert outcomes == {
        "Unknown customer": Outcome.UNKNOWN,
        "No e-mail address": Outcome.NO_ADDRESS,
        "Draft": Outcome.DRAFT,
        "Several customers": Outcome.FOUND,
        "Old data": Outcome.FOUND,
        "Data not loaded": Outcome.NOT_LOADED,
    }
    assert "This data is out of date" in old


def test_a_list_that_names_companies_has_an_example_of_one(folder):
    write_csv(folder / "customers.csv", [("email", "name", "web"), ("ann@example.com", "Ann Lee", "www.example.com")])
    (folder / "sidebard.toml").write_text(CONFIG.replace("[customers]", '[customers]\ncompany_domain = "web"'))
    with opened(folder) as session:
        (example,) = [example for example in session.state.examples if example.title == "Colleague of a customer"]
        assert "sam.stranger@example.com" in example.body
        assert session.answer(example.body.encode(), example.data).outcome == Outcome.COMPANY


def test_one_customer_gives_no_example_of_several(folder):
    write_csv(folder / "customers.csv", [("email", "name"), ("ann@example.com", "Ann")])
    with opened(folder) as session:
        assert "Several customers" not in [example.title for example in session.state.examples]


def test_a_customer_is_chosen_by_the_message_about_them(folder):
    with opened(folder) as session:
        (choice,) = session.choices("ann")
        assert (choice.name, choice.address) == ("Ann Lee", "ann@example.com")
        customer = json.loads(choice.body)["customer"]
        assert (customer["fname"], customer["lname"], customer["emails"]) == ("Ann", "Lee", ["ann@example.com"])
        assert html(session, choice.body.encode()) == "<h4>Ann Lee</h4>\n"


REMOVED = """<h4>{{ customer.name }}</h4>
<p style="color: red">x</p>
<img src="x" onerror="y">
"""


def test_what_help_scout_removes_is_said_and_not_shown(folder):
    (folder / "card.html").write_text(REMOVED)
    with opened(folder) as session:
        style, picture = session.state.warnings
        assert (style.place, style.what) == (
            "card.html:2", "Help Scout removes style=…; use classes, such as muted, badge or green"
        )  # fmt: skip
        assert [line.text for line in style.lines if line.faulty] == ['<p style="color: red">x</p>']
        assert (picture.place, picture.what) == ("card.html:3", "Help Scout removes <img>; leave it out")
        answer = session.answer(ANN, DataState.LIVE)
        assert answer.html == REMOVED.replace("{{ customer.name }}", "Ann Lee")  # what is sent stays whole
        assert answer.shown == "<h4>Ann Lee</h4>\n<p>x</p>\n\n"
        assert answer.warnings == ()
        (folder / "card.html").write_text("<h4>{{ customer.name }}</h4>")
        assert change(session)
        assert session.state.warnings == ()


def test_what_a_value_brings_has_no_line(folder):
    write_csv(folder / "customers.csv", [("email", "name"), ("ann@example.com", "<table><b>Ann</b></table>")])
    (folder / "card.html").write_text("<b>x</b> {% raw customer.name %}")
    with opened(folder) as session:
        answer = session.answer(ANN, DataState.LIVE)
    assert answer.shown == "x Ann"
    assert [warning.what for warning in answer.warnings] == ["the help desk removes <table>, which comes from a value"]


def test_free_scout_removes_nothing(folder):
    config = folder / "sidebard.toml"
    config.write_text(config.read_text() + 'signature_header = "X-FreeScout-Signature"\n')
    (folder / "card.html").write_text(REMOVED)
    with opened(folder) as session:
        answer = session.answer(ANN, DataState.LIVE)
        assert session.state.warnings == answer.warnings == ()
    assert answer.shown == answer.html


@pytest.mark.parametrize(
    "card", ["", "\n", "<p>{{ customer.name[:0] }}</p>", "{# nothing #}", "<script>x</script>"], ids=repr
)
def test_a_card_that_shows_nothing(folder, card):
    (folder / "card.html").write_text(card)
    with opened(folder) as session:
        answer = session.answer(ANN, DataState.LIVE)
    assert [warning.what for warning in answer.warnings] == ["the card is empty, so agents see nothing"]


def test_a_refusal_shows_nothing(folder):
    with opened(folder) as session:
        answer = session.answer(b"[]", DataState.LIVE)
    assert (answer.shown, answer.warnings) == (None, ())


def test_an_address_is_shown_as_people_write_it(folder):
    write_csv(folder / "customers.csv", [("email", "name"), ("Kathe@Müller-11.example", "Käthe"), ("a@b.example", "A")])
    with opened(folder) as session:
        shown = [(choice.address, choice.readable) for choice in session.choices("")]
    assert shown == [("kathe@xn--mller-11-65a.example", "kathe@müller-11.example"), ("a@b.example",) * 2]


def test_nothing_changes_while_the_files_stay(folder):
    with opened(folder) as session:
        assert not session.poll()
        assert session.child is None


def test_a_changed_template_is_taken_over(folder):
    with opened(folder) as session:
        (folder / "card.html").write_text("<h4>{{ customer.plan }}</h4>")
        assert change(session)
        assert html(session) == "<h4>Pro</h4>"


def test_a_faulty_template_is_told_and_the_last_good_card_stays(folder):
    with opened(folder) as session:
        (folder / "card.html").write_text("<h4>\n{% if %}\n</h4>")
        assert change(session)
        (fault,) = session.state.faults
        assert fault.place == "card.html:2"
        assert [line.text for line in fault.lines if line.faulty] == ["{% if %}"]
        assert html(session) == "<h4>Ann Lee</h4>\n"
        (folder / "card.html").write_text("mended")
        assert change(session)
        assert (session.state.faults, html(session)) == ((), "mended")


def test_a_template_that_is_faulty_at_the_start_gives_the_built_in_card(folder):
    (folder / "card.html").write_text("{% if %}")
    with opened(folder) as session:
        assert session.state.faults[0].place == "card.html:1"
        assert "Ann Lee" in html(session)


def test_a_template_that_fails_on_a_customer_is_told_with_the_answer(folder):
    (folder / "card.html").write_text("\n{{ customer.nothing }}")
    with opened(folder) as session:
        answer = session.answer(ANN, DataState.LIVE)
        assert answer.outcome == Outcome.CARD_FAULT
        assert answer.faults[0].place == "card.html:2"
        assert session.state.faults == ()


def test_a_fault_of_the_template_before_does_not_stand_beside_that_of_now(folder):
    (folder / "card.html").write_text("\n{{ customer.nothing }}")
    with opened(folder) as session:
        (folder / "card.html").write_text("\n{{ customer.plan")
        assert change(session)
        answer = session.answer(ANN, DataState.LIVE)
        assert ([fault.place for fault in session.state.faults], answer.faults) == (["card.html:2"], ())


def test_a_faulty_config_is_told_and_the_last_good_one_stays(folder):
    with opened(folder) as session:
        (folder / "sidebard.toml").write_text(CONFIG + 'wrong = "secret word"\n')
        assert change(session)
        (fault,) = session.state.faults
        assert (fault.place, fault.lines) == ("sidebard.toml:9", ())
        assert html(session) == "<h4>Ann Lee</h4>\n"


def test_a_config_that_lost_the_app_says_so(folder):
    with opened(folder) as session:
        (folder / "sidebard.toml").write_text(CONFIG + 'name = "other"\n')
        assert change(session)
        assert session.state.faults[0].what == 'the config has no app "helpscout" any more; restart sidebard preview'


def test_a_config_may_name_another_template_which_is_watched_then(folder):
    with opened(folder) as session:
        (folder / "other.html").write_text("other")
        (folder / "sidebard.toml").write_text(CONFIG.replace("card.html", "other.html"))
        assert change(session)
        assert html(session) == "other"
        assert not session.poll()
        (folder / "other.html").write_text("other again")
        assert change(session)
        assert html(session) == "other again"


def test_changed_data_is_imported(folder):
    with opened(folder) as session:
        write_csv(folder / "customers.csv", [("email", "name"), ("ann@example.com", "Ann Other")])
        assert change(session)
        assert (session.state.rows, html(session)) == (1, "<h4>Ann Other</h4>\n")


def test_other_data_by_another_config_is_imported(folder):
    with opened(folder) as session:
        write_csv(folder / "other.csv", [("email", "name"), ("ann@example.com", "Ann Other")])
        (folder / "sidebard.toml").write_text(CONFIG.replace("customers.csv", "other.csv"))
        assert change(session)
        assert html(session) == "<h4>Ann Other</h4>\n"


def test_bad_data_is_told_and_the_last_good_stays(folder):
    with opened(folder) as session:
        (folder / "customers.csv").write_text('email,name\na@b.example,"A\n')
        assert change(session)
        assert session.state.faults != ()
        assert html(session) == "<h4>Ann Lee</h4>\n"
        write_csv(folder / "customers.csv")
        assert change(session)
        assert session.state.faults == ()


def test_an_unterminated_last_line_is_told_with_what_accepts_it(folder):
    with opened(folder) as session:
        (folder / "customers.csv").write_text("email,name\nann@example.com,Ann Other")
        assert change(session)
        (fault,) = session.state.faults
        assert fault.place == "customers.csv:2"
        accepts = 'if the program that writes it always leaves it out, set unterminated_last_line = "acc'
        assert f"everything else is complete; {accepts}" in fault.what
        accepting = CONFIG.replace('"customers.csv"\n', '"customers.csv"\nunterminated_last_line = "accept"\n')
        (folder / "sidebard.toml").write_text(accepting)
        assert change(session)
        assert (session.state.faults, html(session)) == ((), "<h4>Ann Other</h4>\n")


def test_an_import_that_cannot_be_started_is_told_and_tried_again(folder, monkeypatch):
    def refuse():
        raise OSError(errno.EAGAIN, "not now")

    with opened(folder) as session:
        write_csv(folder / "customers.csv", [*CUSTOMERS, ("new@example.com", "Newcomer", "Pro")])
        with monkeypatch.context() as context:
            context.setattr(os, "fork", refuse)
            assert [change(session), change(session)] == [True, False]
            (fault,) = session.state.faults
            assert "not now" in fault.what
        assert change(session)
        assert session.state.faults == ()
        assert html(session, body_for("new@example.com")) == "<h4>Newcomer</h4>\n"


def test_without_data_the_card_says_so(folder):
    (folder / "customers.csv").unlink()
    with opened(folder) as session:
        assert session.state.rows is None
        assert "does not exist" in session.state.faults[0].what
        assert session.answer(ANN, DataState.LIVE).outcome == Outcome.NOT_LOADED
        assert session.choices("") == ()
        assert "Unknown customer" in [example.title for example in session.state.examples]


def test_the_services_snapshot_is_used_and_left_alone(folder):
    settings = load(folder / "sidebard.toml", {})
    run_import(import_spec_of(settings), snapshot_folder(settings))
    before = sorted((folder / "state").rglob("*"))
    with opened(folder) as session:
        assert not (folder / "imported").exists()
        assert html(session) == "<h4>Ann Lee</h4>\n"
        write_csv(folder / "customers.csv", [("email", "name"), ("ann@example.com", "Ann Other")])
        assert change(session)
        assert html(session) == "<h4>Ann Other</h4>\n"
    assert sorted((folder / "state").rglob("*")) == before


def test_a_damaged_snapshot_is_told(folder):
    with opened(folder) as session:
        session._snapshot.close()
        assert session.choices("") == ()
        assert session.answer(ANN, DataState.LIVE).outcome == Outcome.NOT_LOADED
