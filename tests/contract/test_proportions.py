"""Success rates against scipy where it has the method, and published tables elsewhere."""

import pytest
from scipy.stats import binomtest

from foreact.contract.proportions import PairedRates, Rate, rate_of


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (7, 25), (57, 80), (1, 1)])
def test_wilson_interval_equals_scipy(successes, n):
    reference = binomtest(successes, n).proportion_ci(method="wilson")
    assert Rate(successes=successes, n=n).interval == pytest.approx((reference.low, reference.high), abs=1e-9)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 9), (5, 5), (12, 3)])
def test_mcnemar_equals_the_exact_binomial_test(first, second):
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert PairedRates(both=3, only_first=first, only_second=second, neither=2).p_value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("cells", "expected"), [
    ((36, 12, 2, 0), (0.0569, 0.3404)),     # Newcombe 1998, square-and-add on his examples
    ((36, 14, 0, 0), (0.1528, 0.4176)),
    ((53, 1, 0, 0), (-0.0506, 0.0979)),
])
def test_paired_interval_equals_newcombe_table(cells, expected):
    both, first, second, neither = cells
    rates = PairedRates(both=both, only_first=first, only_second=second, neither=neither)
    assert rates.interval() == pytest.approx(expected, abs=2e-3)


def test_pairs_are_counted_by_who_succeeded():
    rates = PairedRates.of([(True, True), (True, False), (True, False), (False, True), (False, False)])
    assert (rates.both, rates.only_first, rates.only_second, rates.neither) == (1, 2, 1, 1)
    assert rates.difference == pytest.approx(0.2)


def test_a_rate_as_json_has_it():
    assert rate_of([], "alarms") is None
    told = rate_of(iter([True, False, True]), "alarms")
    assert told == {"n": 3, "alarms": 2, "rate": 2 / 3, "interval": list(Rate(successes=2, n=3).interval)}
