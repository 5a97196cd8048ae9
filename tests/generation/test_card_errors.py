"""A card that is wrong: file, line and word are named."""

import pytest

from generation.fastsim.card import read_card
from generation.fastsim.engine import Detector
from provenance.errors import UserError


def test_an_unknown_parameter_is_named_with_its_line(card):
    module = card("""set ExecutionPath A
        module M A {
          set i 0
          set Twice [expr {$i*2}]
          set Typo 3
        }
    """).modules["A"]
    module.number("Twice", 0)
    with pytest.raises(UserError, match=r"card.tcl:5: 'Typo' of module 'A' is not a parameter"):
        module.reject_unknown()
    module.ignore("Typo")
    module.reject_unknown()


@pytest.mark.parametrize(
    ("getter", "value", "complaint"),
    [
        ("number", "abc", "is not a number"),
        ("integer", "2.5", "is not an integer"),
        ("flag", "perhaps", "is not true or false"),
        ("array", "{a b} {", "is not a list"),
    ],
)
def test_a_parameter_of_the_wrong_kind_is_named(card, getter, value, complaint):
    word = value.replace("{", "\\{").replace("}", "\\}")
    module = card(f'set ExecutionPath A\nmodule M A {{\n set P "{word}"\n}}\n').modules["A"]
    with pytest.raises(UserError, match=rf"card.tcl:3: 'P' .*{complaint}"):
        getattr(module, getter)("P", () if getter == "array" else 0)


@pytest.mark.parametrize(
    ("module", "setting", "complaint"),
    [
        ("BTagging", "BitNumber 1e999", "is not a finite number"),
        ("BTagging", "BitNumber 32", "is not between 0 and 31"),
        ("ParticlePropagator", "Bz nan", "is not a finite number"),
        ("PileUpMerger", "MeanPileUp 1e30", "is more than 100000"),
        ("PileUpMerger", "VertexDistributionFormula {log(-1)}", "is not finite everywhere"),
        ("SimpleCalorimeter", "EtaPhiBins {{0 1} {0 nan}}", "something that is not a number"),
        ("PdgCodeFilter", "PdgCode {eleven}", "is not a list of numbers"),
        ("RunPUPPI", "EtaMinBin {0 a}", "is not a list of numbers"),
        ("FastJetFinder", "ParameterR 1e9", "is not between 0 and 1000"),
        ("FastJetGridMedianEstimator", "GridRange {0 1 1e-9 1e-9}", "has more than 10000000 cells"),
    ],
)
def test_a_value_that_cannot_be_is_named(card, module, setting, complaint):
    found = card(f"set ExecutionPath A\nmodule {module} A {{\n set {setting}\n}}\n")
    with pytest.raises(UserError, match=rf"card.tcl:3: '{setting.split()[0]}' .*{complaint}"):
        Detector(found)


def test_energy_fractions_are_codes_and_numbers(card):
    bins = "set EtaPhiBins {{0 1} {0 1}}"
    text = f"module SimpleCalorimeter A {{\n {bins}\n set EnergyFraction {{0 much}}\n}}\n"
    with pytest.raises(UserError, match=r"card.tcl:4: 'EnergyFraction' .*neither a code nor"):
        Detector(card(f"set ExecutionPath A\n{text}"))


def test_a_path_to_a_module_that_is_not_there_is_named(card):
    with pytest.raises(UserError, match="'B'"):
        card("set ExecutionPath {A B}\nmodule M A {}\n").sequence()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("set ExecutionPath A\n\nexec touch here\n", r":3: 'exec' is not a command"),
        ("set ExecutionPath A\nmodule M A {\n  set x 1\n\n  open file w\n}\n", r":5: 'open'"),
        ("set x [socket localhost 80]\n", r":1: 'socket'"),
        ("set x [file delete y]\n", r":1: 'file'"),
        ("eval {exec ls}\n", r":1: 'eval'"),
        ("set c exec\n$c ls\n", r":2: 'exec'"),
        ("proc exec {} {}\nproc set {a b} {}\n", r":2: 'set' is a command"),
        ("for {set i 0} {$i < 3} {incr i} {\n  set y 1\n  glob *\n}\n", r":3: 'glob'"),
        ("if {1} {\n  if {1} {\n    cd /\n  }\n}\n", r":3: 'cd'"),
        ("set x \\\n  1\nfoo\n", r":3: 'foo'"),
        ("proc f {} {\n  bar\n}\n\nf\n", r":2: 'bar'"),
        ("set x $y\n", r":1: variable 'y' is not set"),
        ("set x {a b\n", r":1: an opening brace"),
        ("set y 1\nset x [list a\n", r"an opening bracket"),
        ('set x "abc\n', r"an opening quote"),
        ("set x {a}b\n", r":1: a closing brace or quote is followed by 'b'"),
        ("set x [expr {1/0}]\n", r":1: an expression divides by zero"),
        ("set x [expr {1 +}]\n", r":1: an operand is missing"),
        ("set x [expr {foo(1)}]\n", r":1: 'foo' is not a function"),
        ("set x [expr {rand()}]\n", r":1: 'rand' is not a function"),
        ("set x [expr {1 @ 2}]\n", r":1: '@ 2'"),
        ("set x [expr {abc + 1}]\n", r":1: 'abc'"),
        ("set x [expr {sqrt(-1)}]\n", r":1: "),
        ("incr\n", r":1: wrong number of words"),
        ("set x abc\nincr x\n", r":2: 'abc' is not a number"),
        ("lindex {a {b} 0\n", r":1: an opening brace"),
        ("break\n", r"outside a loop"),
        ("error {my own words}\n", r":1: my own words"),
        ("module M\n", r":1: wrong number of words"),
        ("set MaxEvents 3\n", r"sets no ExecutionPath"),
        ('set ExecutionPath "{a"\n', r"ExecutionPath is not a list"),
        ("string reverse abc\n", r":1: 'string reverse'"),
        ("format %q 1\n", r":1: "),
    ],
)
def test_errors_name_file_line_and_word(card, text, complaint):
    with pytest.raises(UserError, match=complaint) as error:
        card(text)
    assert "card.tcl" in str(error.value)


def test_an_error_in_a_sourced_file_names_that_file(card):
    with pytest.raises(UserError, match=r"other\.tcl:2: 'exec'"):
        card("set ExecutionPath A\nmodule M A {\nsource other.tcl\n}\n", other__tcl="\nexec ls\n")


def test_a_missing_card_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.tcl"):
        read_card(tmp_path / "absent.tcl")
