import pytest

from acesim.network.tcp_card import SOURCES, rows, summary
from acesim.report.fidelity import card, closed_forms, error


@pytest.mark.parametrize("form", closed_forms(), ids=lambda form: form.name)
def test_closed_forms_hold_to_rounding(form):
    assert error(form) < 1e-12


def test_a_wrong_answer_would_be_seen():
    form = closed_forms()[0]
    assert error(form._replace(finish={"x": 5.0})) > 0.009


def test_tcp_stays_within_what_the_card_promises():
    """Single flows of ns-3: median at most 10 %, worst at most 35 %; several equal flows within 35 %."""
    found = {(each.source, each.kind): each for each in summary(rows())}
    single = [each for (source, kind), each in found.items() if source == "ns-3" and "several" not in kind]
    assert max(each.worst_error for each in single) <= 0.35
    errors = sorted(abs(row.error) for row in rows() if row.source == "ns-3" and "several" not in row.kind)
    assert errors[len(errors) // 2] <= 0.10
    assert found["ns-3", "several flows"].worst_error <= 0.35


def test_the_card_names_every_class():
    forms, tcp = card().blocks
    assert len(forms.rows) == len(closed_forms())
    assert {row[0] for row in tcp.rows} == set(SOURCES)
