"""docs/security.md says of the bounds what they are."""

import pathlib
import re

from lamina.core import bounds

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "security.md"


def test_all_bounds_are_listed_as_they_are():
    listed = {}
    for names, values in re.findall(
        r"^\| (`[A-Z_`, ]+) \| ([\d, ]+) \|", PAGE.read_text(), re.M
    ):
        found = zip(re.findall(r"\w+", names), values.split(","), strict=True)
        listed |= {name: int(value) for name, value in found}
    assert listed == {k: v for k, v in vars(bounds).items() if k.isupper()}
