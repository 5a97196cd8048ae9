"""Formulas against numpy, for every construct, and against a straightforward evaluation."""

import csv
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.fastsim.formula import Formula, FormulaError, keyed_formulas


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-2^2", -4.0),
        ("2^3^2", 512.0),
        ("2^-1", 0.5),
        ("(-2)^2", 4.0),
        ("10 - 3 - 2", 5.0),
        ("16/4/2", 2.0),
        ("2*3+4*5", 26.0),
        ("1.5e-1 + .5 + 1.", 1.65),
        ("3 > 2 > 1", 0.0),  # (3 > 2) > 1, as in C++
        ("1 < 2 && 2 < 1 || 1", 1.0),
        ("!(1 > 2) + !3", 1.0),
        ("2 > 1 ? 7 : 8", 7.0),
        ("min(1, 2) + max(3, 4) + pow(2, 3)", 13.0),
        ("sqrt(4) + exp(0) + log(e) + log10(100)", 6.0),
        ("TMath::Abs(-1) + std::fabs(-2) + TMath::Pi()", 3 + math.pi),
        ("tanh(0.5) + atan2(1, 2) + hypot(3, 4)", math.tanh(0.5) + math.atan2(1, 2) + 5),
        ("erf(0.3) + erfc(0.3)", 1.0),
        ("floor(1.7) + ceil(1.2) + int(-1.7) + sign(-3)", 1.0),
        ("sin(pi/2) + cos(0) + asin(1) + acos(1)", 2 + math.pi / 2),
        # What public cards write: loose blanks, line ends escaped or not, signs after operators.
        ("2e-1 ^2 *  1 . 5", 0.06),
        ("1 + \\   \n 2 + \\\n\t3", 6.0),
        ("3^2*   + 0.5^2", 2.25),
        ("2*3**2 - 2 ** 3 ** 2", -494.0),
        ("4* -0.25 + 8.-.5", 6.5),
        ("16^0.5^2", 16**0.25),
        ("1 - pow(1. - min(pow(4/8., 2), 1.), max(3 - 5., 1.))", 0.25),
        ("0 < 1 && 2*(2 < 1) + 1 > 3 && 5", 0.0),  # conditions bind last of all
    ],
)
def test_constants_are_folded_to_the_value_of_cpp(text, expected):
    assert Formula(text).constant == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("pt^2 + eta*phi - energy/d0", lambda v: v.pt**2 + v.eta * v.phi - v.energy / v.d0),
        ("x + y*z + t", lambda v: v.pt + v.eta * v.phi + v.energy),
        ("(pt>1)*(pt<=2)*3 + (pt>2)*pt", lambda v: np.where(v.pt > 2, v.pt, 3 * (v.pt > 1))),
        ("(abs(eta)<0.5||pt>1) * dz", lambda v: ((abs(v.eta) < 0.5) | (v.pt > 1)) * v.dz),
        ("!(eta>0) + (2>=pt) - (eta==0)", lambda v: 1.0 * (v.eta <= 0) + (v.pt <= 2)),
        ("(pt > eta) + (pt*2 <= 3)", lambda v: 1.0 * (v.pt > v.eta) + (v.pt * 2 <= 3)),
        ("sqrt(energy^2*0.05^2 + energy)", lambda v: np.hypot(0.05 * v.energy, v.energy**0.5)),
        ("tanh(0.2*pt)*(25.0/(1+0.6*pt))", lambda v: np.tanh(0.2 * v.pt) * 25 / (1 + 0.6 * v.pt)),
        ("ctgTheta ? 2 : 3", lambda v: np.where(v.ctgTheta != 0, 2.0, 3.0)),
        ("-pt^2", lambda v: -(v.pt**2)),
        ("pt^1.5 + pt^-0.5", lambda v: v.pt**1.5 + v.pt**-0.5),
    ],
)
def test_variables(text, function):
    rng = np.random.default_rng(5)
    values = {
        name: rng.uniform(0.01, 3, 200) for name in ("pt", "energy", "d0", "dz", "ctgTheta")
    } | {name: rng.uniform(-2, 2, 200) for name in ("eta", "phi")}
    formula = Formula(text)
    np.testing.assert_allclose(formula(**values), function(SimpleNamespace(**values)), rtol=1e-13)


def test_edges_belong_to_the_side_that_the_comparison_names():
    formula = Formula("(pt < 1)*1 + (pt <= 1)*2 + (pt > 1)*4 + (pt >= 1)*8 + (pt == 1)*16")
    pt = np.array([np.nextafter(1, 0), 1.0, np.nextafter(1, 2)])
    assert formula(pt=pt).tolist() == [3.0, 26.0, 12.0]


def test_a_table_of_resolutions_is_looked_up_exactly(reference):
    with reference("track_resolution_mm.csv").open() as stream:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]
    text = " + ".join(
        f"(abs(eta) > {row['abs_eta_min']} && abs(eta) <= {row['abs_eta_max']}) * "
        f"(pt > {row['pt_min_gev']} && pt <= {min(row['pt_max_gev'], 1e9)}) * {row['sigma_d0_mm']}"
        for row in rows
    )
    formula = Formula(text)
    rng = np.random.default_rng(7)
    pt, eta = np.exp(rng.normal(0, 2, 20_000)), rng.uniform(-3, 3, 20_000)
    expected = np.zeros(len(pt))
    for row in rows:
        inside = (abs(eta) > row["abs_eta_min"]) & (abs(eta) <= row["abs_eta_max"])
        inside &= (pt > row["pt_min_gev"]) & (pt <= row["pt_max_gev"])
        expected += inside * row["sigma_d0_mm"]
    assert np.array_equal(formula(pt=pt, eta=eta), expected)
    # A lookup, not a sum of 102 products: nothing but constants is left at the leaves.
    assert not formula.program.expressions
    assert len(formula.program.constants) <= len(rows)


def test_shapes_and_scalars_broadcast():
    formula = Formula("pt + eta")
    assert formula(pt=np.ones((2, 3)), eta=1.0).tolist() == [[2.0] * 3] * 2
    assert formula(pt=np.empty(0), eta=np.empty(0)).shape == (0,)
    assert Formula("3")(pt=np.ones(4)).tolist() == [3.0] * 4


def test_names_are_the_variables_that_matter():
    assert Formula("0*phi + pt*(eta > 1)").names == ("pt", "eta")
    assert Formula("exp(-t^2)*exp(-z^2)", ("z", "t")).names == ("z", "t")


def test_a_false_condition_hides_what_it_multiplies():
    assert Formula("(pt > 1) * log(pt - 1)")(pt=np.array([0.5])).tolist() == [0.0]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "its end"),
        ("pt +", "its end"),
        ("pt eta", "'pteta'"),
        ("foo*2", "'foo'"),
        ("system(1)", "'system'"),
        ("pow(2)", "'pow'"),
        ("(pt", "')'"),
        ("pt)", "')'"),
        ("pt @ 2", "'@"),
        ("pt # in GeV\n * 2", "'#in"),
        ("__import__", "'__import__'"),
        ("(" * 200 + "1" + ")" * 200, "nested"),
        ("-" * 5000 + "1", "nested"),
        ("2^" * 5000 + "1", "nested"),
    ],
)
def test_what_is_not_a_formula_is_named(text, word):
    with pytest.raises(FormulaError, match=re.escape(word)):
        Formula(text)


def test_too_many_cells_fall_back_to_computing_every_comparison():
    # Two axes with 200 different values each: 40,000 cells.
    text = (
        "("
        + "+".join(f"(pt>{i})" for i in range(200))
        + ")*sqrt(1+"
        + "+".join(f"(eta>{i})*energy" for i in range(200))
        + ")"
    )
    values = {
        "pt": np.array([50.5, 0.5]),
        "eta": np.array([3.5, -1.0]),
        "energy": np.array([2.0, 1.0]),
    }
    np.testing.assert_allclose(Formula(text)(**values), [51 * 3.0, 1.0])


def test_keyed_formulas():
    formulas = keyed_formulas(["0", "0.01+0.000038*pt", "5", "0.5"])
    assert set(formulas) == {0, 5}
    assert formulas[5].constant == 0.5
    with pytest.raises(FormulaError):
        keyed_formulas(["0"])
    with pytest.raises(FormulaError):
        keyed_formulas(["b", "1"])


# --- random formulas, built together with the function that they stand for


def _binary(symbol, function):
    def join(pair):
        (left, f), (right, g) = pair
        return f"({left} {symbol} {right})", lambda pt, eta: function(f(pt, eta), g(pt, eta)) * 1.0

    return join


def _unary(form, function):
    return lambda one: (form.format(one[0]), lambda pt, eta: function(one[1](pt, eta)) * 1.0)


def _constant(value):
    return str(value), lambda pt, eta: np.full(len(pt), value)


_axes = st.sampled_from(
    [
        ("pt", lambda pt, eta: pt),
        ("eta", lambda pt, eta: eta),
        ("abs(eta)", lambda pt, eta: abs(eta)),
    ]
)
_constants = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0]).map(_constant)
_comparisons = st.one_of(
    *(
        st.one_of(st.tuples(_axes, _constants), st.tuples(_constants, _axes)).map(
            _binary(symbol, function)
        )
        for symbol, function in (
            ("<", np.less),
            ("<=", np.less_equal),
            (">", np.greater),
            (">=", np.greater_equal),
            ("==", np.equal),
            ("!=", np.not_equal),
        )
    )
)


def _larger(inner):
    pairs = st.tuples(inner, inner)
    return st.one_of(
        pairs.map(_binary("+", np.add)),
        pairs.map(_binary("-", np.subtract)),
        pairs.map(_binary("*", np.multiply)),
        pairs.map(_binary("&&", np.logical_and)),
        pairs.map(_binary("||", np.logical_or)),
        pairs.map(_binary("<", np.less)),
        inner.map(_unary("!({})", np.logical_not)),
        inner.map(_unary("-{}", np.negative)),
        inner.map(_unary("abs({})", np.abs)),
    )


@settings(max_examples=200, deadline=None)
@given(st.recursive(st.one_of(_axes, _constants, _comparisons), _larger, max_leaves=25))
def test_random_formulas_agree_with_numpy(formula):
    text, function = formula
    grid = np.array([-2.0, -1.5, -0.7, -0.5, 0.0, 0.5, 0.9, 1.0, 1.5, 1.7, 2.0, 2.5])
    pt, eta = (axis.ravel() for axis in np.meshgrid(grid, grid))
    np.testing.assert_allclose(
        Formula(text)(pt=pt, eta=eta), function(pt, eta), rtol=1e-12, atol=1e-12
    )
