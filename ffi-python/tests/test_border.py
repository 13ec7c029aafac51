"""The native module against whatever Python objects and calls there are, as ``fuzz/run border`` does for longer."""

from __future__ import annotations

import random

import border
import pytest
from coatroom import _native


@pytest.mark.parametrize("seed", range(20))
def test_no_objects_and_no_calls_break_the_border(seed: int) -> None:
    source = random.Random(seed)
    for _ in range(100):
        data = source.randbytes(source.randrange(400))
        try:
            border.run(data)
        except BaseException as error:
            pytest.fail(f"{error!r}: fuzz/run --replay border on {data.hex()}")


def test_the_second_encoder_can_tell_a_difference() -> None:
    assert border.encode({"bb": 1.5, "a": (True, None)}) == _native.Exchange.encode({"a": [True, None], "bb": 1.5})
    assert border.encode(1.0) != _native.Exchange.encode(1)
    with pytest.raises(border.Refused):
        border.encode({1: 2})
