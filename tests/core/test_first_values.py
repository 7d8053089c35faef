import re

import jax.numpy as jnp
import numpy as np
import pytest

import lamina


@pytest.mark.parametrize(
    ("value", "dtype", "rows"),
    [
        (3.5, "float32", ["3.5"]),
        (np.arange(9), "int32", ["0 1 2 3 4 5 6 7 ..."]),
        (
            np.arange(12).reshape(6, 2),
            "bfloat16",
            ["0 1", "2 3", "4 5", "6 7", "8 9", "..."],
        ),
        (np.ones((2, 2, 2)), "bool", ["True True", "True True"]),
        (np.ones((0, 3)), "float32", []),
        (np.ones((2, 0)), "float32", ["", ""]),
    ],
)
def test_a_notebook_shows_the_first_values_of_a_variable(value, dtype, rows):
    variable = lamina.Variable(value, dtype=dtype, name="a<b", trainable=False)
    shown = variable._repr_html_()
    assert "<b>a&lt;b</b>" in shown and f"{dtype}, not trainable" in shown
    found = [" ".join(re.findall("<td>(.*?)</td>", r)) for r in shown.split("<tr>")[1:]]
    assert found == rows


def test_nothing_is_shown_of_a_value_that_is_traced():
    variable = lamina.Variable([1.0])
    shown = []

    def look(x):
        shown.append(variable._repr_html_())
        return x

    lamina.pure(look, [variable])([jnp.ones(1)], 1.0)
    assert shown == [None]
