"""Correction texts of CMS: against numbers of coffea, and what is refused."""

import math
from pathlib import Path

import numpy as np
import pytest

from provenance.errors import UserError
from training.jec.formula import compile_formula
from training.jec.text import LEVELS, chain_factor, read_chain, read_text

FILES = [f"cms/Summer19UL18_V5_MC_{level}_AK4PFchs.txt" for level in LEVELS]
# Made once with coffea 2026.9.0, of the reference files: `getSubCorrections` of its
# FactorizedJetCorrector for random jets, some of them beyond the ranges of the files.
COFFEA = Path(__file__).parent / "data" / "coffea_jec.csv"


@pytest.fixture
def coffea():
    names = COFFEA.read_text().splitlines()[0].split(",")
    return dict(zip(names, np.loadtxt(COFFEA, delimiter=",", skiprows=1).T, strict=True))


def test_factors_are_those_of_coffea(reference, coffea):
    chain = read_chain([reference(name) for name in reversed(FILES)], "AK4PFchs")
    assert [correction.level for correction in chain] == ["L1FastJet", "L2Relative"]
    inputs = [coffea[name] for name in ("pt_raw", "eta", "rho", "area")]
    np.testing.assert_allclose(chain_factor(chain[:1], *inputs), coffea["l1"], rtol=1e-5)
    np.testing.assert_allclose(chain_factor(chain, *inputs), coffea["l1_l2"], rtol=1e-5)


def test_a_jet_does_not_depend_on_the_others(reference, coffea):
    chain = read_chain([reference(name) for name in FILES], "AK4PFchs")
    inputs = [coffea[name] for name in ("pt_raw", "eta", "rho", "area")]
    together = chain_factor(chain, *inputs)
    one_by_one = [chain_factor(chain, *(values[[i]] for values in inputs))[0] for i in range(50)]
    np.testing.assert_array_equal(together[:50], one_by_one)
    assert chain_factor(chain, *(values[:0] for values in inputs)).shape == (0,)


SMALL = """
# a comment
{1 JetEta 1 JetPt [0]+[1]*(x>20) Correction L2Relative}
 0.0 2.5 4 10 100 1.5 0.25
-2.5 0.0 4 10 100 1.1 0.0
"""


def test_bins_ranges_and_comments(tmp_path):
    path = tmp_path / "A_L2Relative_AK4PFPuppi.txt"
    path.write_text(SMALL)
    (correction,) = read_chain([path], "AK4PFPuppi")
    eta = np.array([-2.5, -0.1, 0.0, 0.1, 2.5, 2.6])
    pt = np.array([50.0, 50.0, 5.0, 1e9, 20.0, 50.0])
    factor = correction.factor({"JetEta": eta, "JetPt": pt})
    assert factor.tolist() == pytest.approx([1.1, 1.1, 1.5, 1.75, 1.5, 1.0])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("L2Relative}", "L2L3Residual}", "corrections of level L2L3Residual"),
        ("Correction", "Resolution", "holds a Resolution"),
        ("{1 JetEta 1 JetPt", "{1 JetPt 1 JetEta", "bins in JetEta"),
        ("{1 JetEta 1 JetPt", "{1 JetEta 1 Voltage", "variables Voltage"),
        ("{1 JetEta", "1 JetEta", "no header in braces"),
        ("{1 JetEta", "{one JetEta", "a header that cannot be read"),
        ("0.0 2.5 4", "0.0 2.5 9", "a row that is damaged"),
        ("1.5 0.25", "1.5 nan", "a row that is damaged"),
        ("10 100 1.5 0.25", "10 100 1.5", "a row that is damaged"),
        ("4 10 100 1.5 0.25", "3 10 100 1.5", "rows of different lengths"),
        (" 0.0 2.5 4", " 0.5 2.5 4", "gaps or overlap"),
        ("[0]+[1]", "[0]+[7]", "parameter [7] of 2"),
        ("[0]+[1]", "[0]+y*[1]", "'y' is not known"),
        ("[0]+[1]", "[0]+[1]+", "not a formula"),
        ("[0]+[1]", "__import__(x)", "is not known"),
    ],
)
def test_what_is_no_correction_is_named(tmp_path, old, new, words):
    assert old in SMALL
    path = tmp_path / "A_L2Relative_AK4PFPuppi.txt"
    path.write_text(SMALL.replace(old, new, 1))
    with pytest.raises(UserError) as error:
        read_text(path)
    message = str(error.value)
    assert str(path) in message
    assert words in message
    assert "\n" not in message


def test_files_of_other_jets_missing_files_and_double_levels_are_refused(tmp_path):
    path, other = tmp_path / "A_L2Relative_AK8PFPuppi.txt", tmp_path / "B_L2Relative_AK8PFPuppi.txt"
    path.write_text(SMALL)
    other.write_text(SMALL)
    with pytest.raises(UserError, match="corrections for AK8PFPuppi jets, not for AK4PFchs"):
        read_chain([path], "AK4PFchs")
    with pytest.raises(UserError, match="L2Relative is given twice"):
        read_chain([path, other], "AK8PFPuppi")
    with pytest.raises(UserError, match="no such correction file"):
        read_text(tmp_path / "none.txt")
    empty = tmp_path / "empty.txt"
    empty.write_bytes(b"\x00\xff")
    with pytest.raises(UserError, match="not a text file"):
        read_text(empty)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2^3^2 - -x^2", lambda x, y: 512 + x**2),
        ("-x^2", lambda x, y: -(x**2)),
        ("max(min(x,y),[1])*[0]", lambda x, y: np.maximum(np.minimum(x, y), 0.5) * 2),
        ("(x<2)*y+(x>=2&&y>0)*[0]", lambda x, y: np.where(x < 2, y, np.where(y > 0, 2, 0))),
        ("TMath::Log(y)+log10(y)/pow(y,2)", lambda x, y: np.log(y) + np.log10(y) / y**2),
        ("exp(-[1]*(log10(y)-1)^2)*sqrt(abs(x))",
         lambda x, y: np.exp(-0.5 * (np.log10(y) - 1) ** 2) * np.sqrt(np.abs(x))),
        ("erf(x)+tanh(x)", lambda x, y: [math.erf(v) + math.tanh(v) for v in x]),
        ("1e-2", lambda x, y: np.full_like(x, 0.01)),
    ],
)  # fmt: skip
def test_formulas_mean_what_root_means(text, expected):
    x, y = np.array([-1.5, 1.0, 2.0, 3.5]), np.array([0.5, 1.0, 7.0, 20.0])
    formula = compile_formula(text, 2, 2)
    result = np.broadcast_to(formula([x, y], [np.float64(2), np.float64(0.5)]), x.shape)
    np.testing.assert_allclose(result, expected(x, y), rtol=1e-14)


@pytest.mark.parametrize(
    "text",
    [
        "().__class__", "x.real", "open(x)", "x if x else x", "[x for x in x]", "lambda: x",
        "'x'", "x;x", "x\nx", "log(x, x)", "max(x)", "z", "[2]", "x[0]", "1 < x < 2", "x=1", "",
        "(" * 3000 + "x" + ")" * 3000, "x+" * 4000 + "x", "True", "1j", "parameter", "x // 2",
    ],
)  # fmt: skip
def test_everything_else_is_no_formula(text):
    with pytest.raises(ValueError, match=r"not known|not a formula|arguments|parameter|character"):
        compile_formula(text, 2, 2)
