"""Values in memory compare as Python's own numbers and strings do, which are exact."""

import operator
from typing import Any

import pytest

from service.gallery.field_values import Numbers, values_of
from service.gallery.fields import FieldType
from service.gallery.filters import Order

WHOLE = [0, 1, -1, 2, *(sign * 2**53 + n for sign in (1, -1) for n in range(-2, 4))]
WHOLE += [2**63 - 1, 2**63 - 2, 2**63 - 512, 2**63 - 513, 2**63 - 1025, -(2**63), -(2**63) + 1]
REAL: list[int | float] = [*WHOLE, 0.0, -0.0, 0.5, -1e300, 5e-324, 2.0**53, 2.0**63, -(2.0**63)]
WORDS = ["", "a", "A", "é", "1", "\uffff", "\U0001f600", "a'b"]
ORDERS: dict[Order, Any] = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
KINDS: dict[FieldType, list[Any]] = {"float": REAL, "integer": [0, -1, 2**53], "keyword": WORDS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grown", [False, True])
def test_comparisons_are_exact_and_false_of_what_is_missing(kind: FieldType, grown: bool) -> None:
    values = [None, *KINDS[kind], None, *KINDS[kind]]
    held = values_of(values[:3], kind).joined(values[3:]) if grown else values_of(values, kind)
    operands = WORDS if kind == "keyword" else REAL
    assert held.present().tolist() == [value is not None for value in values]
    for one in operands:
        for order, compare in ORDERS.items():
            expected = [value is not None and compare(value, one) for value in values]
            assert held.compared(order, one).tolist() == expected, (order, one)
        assert held.one_of([one]).tolist() == [value == one for value in values], one
    for some in (operands[::2], operands[1::3], []):
        assert held.one_of(some).tolist() == [value in some for value in values]


def test_a_number_takes_eight_bytes_and_two_more_only_beyond_53_bits() -> None:
    assert Numbers.of([1, 2**53, None, 0.5]).nbytes == 4 * 8
    assert Numbers.of([1, 2**53 + 1]).nbytes == 2 * 10
