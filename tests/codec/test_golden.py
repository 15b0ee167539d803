"""The wire form is public: logs written today are read for ever. A changed line here needs a reader for the old form.

`python -m tests.codec.test_golden` writes the lines of new samples; it never changes one that is there.
"""

import json
from pathlib import Path
from typing import Any

import numpy
import pytest

from durable_nb.codec.digest import digest
from durable_nb.codec.values import Encoded, decode, encode
from tests.codec.samples import CLASS_VALUES, SAFE_VALUES, same

GOLDEN = Path(__file__).with_name("golden.json")
ARRAY = {"array": numpy.arange(4, dtype="<i4").reshape(2, 2)}
VALUES: dict[str, Any] = {**SAFE_VALUES, **CLASS_VALUES, **ARRAY}
STORED: dict[str, list[str]] = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}


@pytest.mark.parametrize("name", VALUES)
def test_wire_form_is_the_one_on_file(name: str) -> None:
    stored = encode(VALUES[name])
    assert [stored.codec, stored.data.decode("latin-1"), digest(VALUES[name])] == STORED[name]


@pytest.mark.parametrize("name", STORED)
def test_form_on_file_is_still_read(name: str) -> None:
    codec, data, _ = STORED[name]
    assert same(decode(*Encoded(codec, data.encode("latin-1"))), VALUES[name])


def test_file_holds_every_sample_and_no_more() -> None:
    assert list(STORED) == list(VALUES)


if __name__ == "__main__":
    lines = {
        name: [(e := encode(value)).codec, e.data.decode("latin-1"), digest(value)] for name, value in VALUES.items()
    }
    GOLDEN.write_text(json.dumps(lines | STORED, indent=1) + "\n")
