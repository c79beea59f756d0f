import pytest

from acesim.engine.agenda import LAST, Agenda
from acesim.scenario.errors import PolicyError


@pytest.fixture
def log():
    return []


@pytest.fixture
def agenda(log):
    made = Agenda(lambda action, arguments: log.append((made.now_s, action, *arguments)))
    return made


def test_the_whole_timeline(agenda, log):
    agenda.at(3.0, "c")
    agenda.at(1.0, "a", 7)
    agenda.at(2.0, "b")
    agenda.run()
    assert log == [(1.0, "a", 7), (2.0, "b"), (3.0, "c")]


def test_one_instant_keeps_the_order_of_entry_but_last_comes_last(agenda, log):
    agenda.at(1.0, "settle", priority=LAST)
    agenda.at(1.0, "first")
    agenda.at(1.0, "second")
    agenda.run()
    assert [action for _, action in log] == ["first", "second", "settle"]


def test_a_cancelled_entry_never_plays(agenda, log):
    ticket = agenda.at(1.0, "never")
    agenda.at(2.0, "ever")
    agenda.cancel(ticket)
    agenda.run()
    assert log == [(2.0, "ever")]


def test_times_are_exact_where_sums_of_delays_are_not():
    times = [0.1 * k for k in range(1, 50)]
    seen = []

    def play(action, arguments):
        seen.append(agenda.now_s)
        if arguments[0] < len(times):
            agenda.at(times[arguments[0]], "next", arguments[0] + 1)
    agenda = Agenda(play)
    agenda.at(times[0], "next", 1)
    agenda.run()
    assert seen == times


def test_stop_leaves_the_rest_undone(agenda, log):
    agenda._play = lambda action, arguments: (log.append(action), agenda.stop())
    agenda.at(1.0, "one")
    agenda.at(2.0, "two")
    agenda.run()
    assert log == ["one"]
    assert [entry.action for entry in agenda.entries.values()] == ["two"]


def test_open_entries_are_plain_data(agenda):
    agenda.at(1.5, "compute", 3)
    assert list(agenda.entries.values()) == [(1.5, 1, "compute", (3,))]


def test_no_run_takes_longer_than_its_clock_has_digits(agenda, log):
    agenda.at(3.0, "ring")
    agenda.at(2e10, "ring")
    with pytest.raises(PolicyError, match=r"reaches 2e\+10 s of simulated time, more than 1e\+10 s: a link is"):
        agenda.run()
    assert log == [(3.0, "ring")]
