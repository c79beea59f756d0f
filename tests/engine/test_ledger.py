import numpy as np
import pytest

from acesim.engine.ledger import Ledger, check_payload
from acesim.scenario.errors import LedgerError


def test_what_was_handed_was_moved_or_is_in_flight():
    ledger = Ledger(3)
    ledger.hand(1000, (0, 2))
    ledger.hand(500, (2,))
    ledger.check(np.array([1000.0, 0, 900]), np.array([0.0, 0, 600]), ("a", "b", "c"))


@pytest.mark.parametrize("moved", [[1e6 - 10, 0], [1e6 + 10, 0], [1e6, 5]])
def test_a_lost_or_invented_byte_ends_the_run(moved):
    ledger = Ledger(2)
    ledger.hand(1e6, (0,))
    with pytest.raises(LedgerError, match=r"link [ab]: \d+ bytes were handed to it, but it moved"):
        ledger.check(np.array(moved, float), np.zeros(2), ("a", "b"))


def test_a_payload_that_miscounts_itself_ends_the_run():
    check_payload("xavier-3", 8, 8)
    with pytest.raises(LedgerError, match="xavier-3: payload of 8 bytes, but its compressor's formula gives 9"):
        check_payload("xavier-3", 8, 9)
