"""What moving bytes costs in energy, by access type.

Marginal energy per bit of LTE and 5G is measured (SIGCOMM 2021 artifact, Galaxy S20U, least squares over 5 049 s);
the radio-on power beside it and the Wi-Fi, wired and satellite figures are orders of magnitude.
"""

from __future__ import annotations

from typing import NamedTuple


class Radio(NamedTuple):
    """joules_per_byte up and down, and the power of the radio while a transfer is under way."""

    up_joules_per_byte: float
    down_joules_per_byte: float
    active_w: float


_NANOJOULES_PER_BIT = 8e-9  # joules per byte

RADIOS = {
    "lte": Radio(77 * _NANOJOULES_PER_BIT, 11.5 * _NANOJOULES_PER_BIT, 0.75),
    "3g": Radio(77 * _NANOJOULES_PER_BIT, 11.5 * _NANOJOULES_PER_BIT, 0.75),
    "5g": Radio(32 * _NANOJOULES_PER_BIT, 11.5 * _NANOJOULES_PER_BIT, 0.75),
    "5g-mmwave": Radio(8.9 * _NANOJOULES_PER_BIT, 1.7 * _NANOJOULES_PER_BIT, 3.0),
    "wifi": Radio(12 * _NANOJOULES_PER_BIT, 12 * _NANOJOULES_PER_BIT, 0.6),
    "satellite": Radio(12 * _NANOJOULES_PER_BIT, 12 * _NANOJOULES_PER_BIT, 50.0),
}
WIRE = Radio(1 * _NANOJOULES_PER_BIT, 1 * _NANOJOULES_PER_BIT, 0.0)


def radio(kind: str) -> Radio:
    """Return the radio of an access type; what has no radio is a wire (1 nJ/bit at the host)."""
    return RADIOS.get(kind, WIRE)
