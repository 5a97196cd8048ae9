"""Cards against a real Tcl, and what a card must not be able to do."""

import io
import json
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.fastsim.card import describe, read_card, write_description
from generation.fastsim.tcl.values import as_list, as_text
from provenance.errors import UserError

CARDS = Path(__file__).parents[2] / "delphes_cards"

needs_tclsh = pytest.mark.skipif(shutil.which("tclsh") is None, reason="no tclsh on the PATH")

# Delphes' own commands for tclsh, and a listing of all variables, hexadecimal so that any text
# survives. The cells of a fine grid are too many to be listed; the digest of each ring is.
HARNESS = r"""
set ::top [file dirname [lindex $argv 0]]
rename source tcl_source
proc source {name} { uplevel 1 [list tcl_source [file join $::top $name]] }
interp alias {} add {} lappend
set ::moduleNames {}
proc module {class name {body {}}} {
  if {[lsearch -exact $::moduleNames $name] < 0} {
    lappend ::moduleNames $name
    set ::moduleClasses($name) $class
  }
  namespace eval ::$name $body
}
proc hex {text} { binary encode hex [encoding convertto utf-8 $text] }
proc digests {elements} {
  set each {}
  foreach element $elements { lappend each [zlib crc32 [encoding convertto utf-8 $element]] }
  return $each
}
tcl_source [lindex $argv 0]
foreach word $ExecutionPath { puts "path [hex $word] -" }
foreach name $::moduleNames {
  puts "module [hex $name] [hex $::moduleClasses($name)]"
  foreach variable [info vars ::${name}::*] {
    if {[info exists $variable] && ![array exists $variable]} {
      set value [set $variable]
      if {[namespace tail $variable] eq "EtaPhiBins"} { set value [digests $value] }
      puts "[hex $name] [hex [namespace tail $variable]] [hex $value]"
    }
  }
}
"""


@pytest.fixture
def card(tmp_path):
    """Return a function that reads a card from its text."""

    def read(text, **others):
        for name, content in others.items():
            (tmp_path / name.replace("__", ".")).write_text(content)
        path = tmp_path / "card.tcl"
        path.write_text(text)
        return read_card(path)

    return read


def by_tclsh(path, tmp_path):
    """Return execution path, classes and variables of a card as tclsh evaluates it."""
    harness = tmp_path / "harness.tcl"
    harness.write_text(HARNESS)
    run = subprocess.run(
        ["tclsh", harness, path], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    execution_path, classes, variables = [], {}, {}
    for line in run.stdout.splitlines():
        first, *rest = line.split(" ")
        words = [bytes.fromhex(word).decode() if word != "-" else "" for word in rest]
        if first == "path":
            execution_path.append(words[0])
        elif first == "module":
            classes[words[0]] = words[1]
        else:
            variables[bytes.fromhex(first).decode(), words[0]] = words[1]
    return execution_path, classes, variables


def assert_equals_tclsh(path, tmp_path):
    execution_path, classes, variables = by_tclsh(path, tmp_path)
    card = read_card(path)
    assert card.execution_path == execution_path
    assert {name: module.type for name, module in card.modules.items()} == classes
    ours = {
        (name, parameter): digests(value) if parameter == "EtaPhiBins" else as_text(value)
        for name, module in card.modules.items()
        for parameter, value in module._values.items()
    }
    assert ours == variables


def digests(elements):
    return " ".join(str(zlib.crc32(as_text(element).encode())) for element in as_list(elements))


@needs_tclsh
@pytest.mark.parametrize("path", sorted(CARDS.glob("*.tcl")), ids=lambda path: path.stem)
def test_the_project_s_cards_equal_tclsh(path, tmp_path):
    assert_equals_tclsh(path, tmp_path)


# One card for each thing that public cards do.
CONSTRUCTS = {
    "loops": """
        set ExecutionPath {A B}
        module Calorimeter A {
          set pi [expr {acos(-1)}]
          set PhiBins {}
          for {set i -18} {$i <= 18} {incr i} { add PhiBins [expr {$i * $pi/18.0}] }
          for {set i -5} {$i < 5} {incr i 2} {
            set eta [expr {$i * 0.087}]
            add EtaPhiBins $eta $PhiBins
          }
          foreach eta {-5 -4.7 -4.525} {add EtaPhiBins $eta $PhiBins}
          set n 3
          while {$n > 0} { incr n -1; if {$n == 1} continue; add Kept $n }
          foreach {a b} {1 2 3 4 5} c {x y} { add Triples $a-$b-$c }
          foreach x {1 2 3} { if {$x == 2} { break } }
        }
    """,
    "a_fine_grid": """
        set ExecutionPath {A}
        module DenseTrackFilter A {
          set step 0.003
          set n [expr {acos(-1)/$step} ]
          set n [expr {int($n)} ]
          for  {set i -$n} {$i <=$n} {incr i} { add PhiBins [expr {$i * acos(-1)/$n }] }
          for {set i 1} {$i <= 300} {incr i} {
\tset eta [expr {-3.02 + $i*$step}]
\tadd EtaPhiBins $eta $PhiBins
          }
          set PhiBins 90
          add EtaPhiBins 3.2 $PhiBins
        }
    """,
    "globals_seen_in_modules": """
        set B 2.0
        set CommonEfficiency {
            (abs(eta) > 2.56) * (0.000) +
            (pt < 0.1)        * (0.000)
        }
        set ExecutionPath {P}
        module ParticlePropagator P { set Bz $B ; set Twice [expr $B*2]; set F $CommonEfficiency }
    """,
    "a_global_of_the_same_name_wins": """
        set Radius 3
        set ExecutionPath {P}
        module ParticlePropagator P { set Radius 4; set Other $Radius }
    """,
    "second_configuration": """
        set ExecutionPath {J W X}
        set ExecutionPath [lreplace $ExecutionPath end end]
        add ExecutionPath New
        module FastJetFinder J { set JetPTMin 20.0; set InputArray A/b }
        module FastJetFinder J { set JetPTMin 1.0 }
        module TreeWriter W { add Branch a b C }
        module Other W { add Branch d e F }
    """,
    "conditions": """
        set ExecutionPath {A}
        set mode 2
        if {$mode == 1} { set name one } elseif {$mode == 2} then { set name two } else {set name 0}
        module Merger A {
          set Name $::name
          if {$::mode > 5 || [llength {a b}] == 2 && !0} { set Yes 1 } else { set Yes 0 }
          set Choice [expr {$::mode > 1 ? "big" : "small"}]
          if 0 {set Never 1}
        }
    """,
    "quotes_braces_and_continuation": """
        set ExecutionPath { A  B\\
           C }
        # a comment with a \\
          continuation, and "quotes" and [brackets
        module Efficiency A { ;# a comment after a command
          set x 1.5 ; set EfficiencyFormula "(pt <= $x) * (0.0) + \\
             (pt > ${x})*(1.0)"
          set Braced {a {b c} {d {e f}}}
          set Escapes "tab\\there \\$x \\[x\\] \\x41 \\101"
          set Empty {}
          set Money $
          add EnergyFraction {0} {0.0} {11} {1.0 0.0}
          add InputArray Calorimeter/towers   towers
          set SpacedFormula { 0.0 }
        }
    """,
    "expressions": """
        set ExecutionPath {A}
        module M A {
          set a [expr 7/2] ; set b [expr {-7/2}] ; set c [expr {-7 % 3}] ; set d [expr 7/2.0]
          set e [expr {2**10 + 2**-1}] ; set f [expr {pow(2,3)}] ; set g [expr {1e16*10}]
          set h [expr {0x1F + 010}] ; set i [expr {1e-5/3}] ; set j [expr {int(3.9)+round(-2.5)}]
          set k [expr {sqrt(2)*exp(1)*log(3)*log10(5)}] ; set l [expr {atan2(1,2)+hypot(3,4)}]
          set m [expr {1 < 2 && 2 < 3 || 0}] ; set n [expr {"a" eq "a"}] ; set o [expr {5 & 3 | 8}]
          set p [expr {~5 ^ 3}] ; set q [expr {1 << 4 >> 2}] ; set r [expr {abs(-3)+max(1,2.5)}]
          set s [expr {"3" in {1 2 3}}] ; set t [expr {fmod(7,3)+floor(2.7)+ceil(2.1)}]
          set u [expr {double(3)}] ; set v [expr {-2**2}] ; set w [expr {2**3**2}]
          set x [expr {1 ? 2 ? 3 : 4 : 5}] ; set y [expr {"10" == "1e1"}] ; set z [expr {1.0}]
          set big [expr {1e300*1e10}] ; set small [expr {1.0e-300*1e-5}] ; set t1 [expr {10.0}]
        }
    """,
    "lists_and_texts": """
        set ExecutionPath {A}
        module M A {
          set l [list a {b c} "d e" {} \\{ {x;y}]
          set n [llength $l] ; set i [lindex $l 1] ; set r [lrange $l 1 end-1]
          set j [join {a b c} -] ; set s [split a/b/c /] ; set c [concat {a b} c {d e}]
          set f [format "%.3f|%5d|%-5s|%e|%g|%05.1f|%x|%%" 3.14159 42 ab 12345.678 1e-5 2.5 255]
          set ins [linsert {a b} 1 x y] ; set rep [lreplace {a b c d} 1 2 z]
          set so [lsort -integer {3 1 2}] ; set sd [lsort -decreasing {b a c}]
          set se [lsearch {a b c} b] ; set sg [lsearch -exact {a b} q] ; set lr [lrepeat 2 a b]
          set sl [string length hello] ; set su [string toupper abc]
          set sx [string range abcdef 1 3] ; set sq [string repeat ab 3]
          set st [string trim "  a b "] ; set sm [string map {a 1 b 2} aabbc]
          append text a b ; append text c$n
          set nested [lindex {{a b} {c d}} 1 0]
          set k(one) 1 ; set k(two) [expr {$k(one)+1}] ; set fromArray $k(two)
          unset text
        }
    """,
    "procedures": """
        proc square {x {power 2}} { return [expr {pow($x, $power)}] }
        proc bins {n args} { global width; set r {}; for {set i 0} {$i < $n} {incr i} {
            lappend r [expr {$i*$width}] }; return [concat $r $args] }
        set width 0.5
        set ExecutionPath {A}
        module M A { set S [square 3] ; set C [square 2 3] ; set B [bins 3 x y] }
    """,
    "namespaces": """
        set ExecutionPath {A}
        module M A { variable v 3; set w $v; namespace eval inner { set z 1 } ; set q $inner::z }
        set A::Late 5
        set ::A::Later $A::Late
    """,
}  # fmt: skip


@needs_tclsh
@pytest.mark.parametrize("name", CONSTRUCTS)
def test_constructs_equal_tclsh(name, tmp_path):
    path = tmp_path / "card.tcl"
    path.write_text(CONSTRUCTS[name])
    assert_equals_tclsh(path, tmp_path)


@needs_tclsh
@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(sorted(set(CONSTRUCTS) - {"a_fine_grid"})),
    place=st.floats(0, 1),
    lost=st.integers(0, 2),
    gained=st.sampled_from(
        ["", *'{}[]"\\$;#() \t\r\n', "\\\n", "${", "a", "-1", "::", "set ", "{}"]
    ),
)
def test_a_damaged_card_is_refused_or_read_as_tclsh_reads_it(name, place, lost, gained):
    text = CONSTRUCTS[name]
    position = int(place * len(text))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "card.tcl"
        path.write_text(text[:position] + gained + text[position + lost :], newline="")
        try:
            read_card(path)
        except UserError:
            return
        assert_equals_tclsh(path, Path(folder))


@needs_tclsh
def test_sourced_files_equal_tclsh(tmp_path):
    (tmp_path / "detector").mkdir()
    (tmp_path / "detector" / "bins.tcl").write_text("set PhiBins {1 2}\nsource formula.tcl\n")
    (tmp_path / "formula.tcl").write_text("set F {pt > 1}\nreturn\nset Never 1\n")
    path = tmp_path / "card.tcl"
    path.write_text("set ExecutionPath {A}\nmodule M A {\n source detector/bins.tcl\n set Z 1\n}\n")
    assert_equals_tclsh(path, tmp_path)
    assert read_card(path).modules["A"].params == {"PhiBins": [1, 2], "F": "pt > 1", "Z": 1}


# --- values


def test_numbers_are_numbers_and_lists_are_lists(card):
    module = card("""
        set ExecutionPath A
        set RandomSeed 42
        module M A {
          set Int 5
          set Float 800E-12
          set Text A/b
          set Formula {(pt > 1) * 2}
          set Flag true
          set Numbers {1 2.5 -3}
          add Pairs 0 {pt > 1} 5 {1 2}
          add One {0.0}
        }
    """).modules["A"]
    assert module.params == {
        "Int": 5,
        "Float": 8e-10,
        "Text": "A/b",
        "Formula": "(pt > 1) * 2",
        "Flag": "true",
        "Numbers": [1, 2.5, -3],
        "Pairs": [0, "pt > 1", 5, [1, 2]],
        "One": [0.0],
    }
    assert isinstance(module.params["Int"], int)
    assert module.number("Int", 0) == 5
    assert module.text("Float", "") == "800E-12"
    assert module.flag("Flag", False) is True
    assert module.array("Text") == ["A/b"]
    assert module.array("Absent", (1,)) == [1]
    assert module.texts("Pairs") == ["0", "pt > 1", "5", "1 2"]


def test_description_is_json(card):
    description = describe(
        card("""
            set ExecutionPath {A B}
            set MaxEvents 3
            set table(x) 1
            module Known A { set X 1 }
            module Unknown B
            module Unused C
        """),
        {"Known"},
    )
    stream = io.StringIO()
    write_description(description, stream)
    assert json.loads(stream.getvalue()) == description
    assert description["execution_path"] == ["A", "B"]
    assert description["modules"]["A"] == {"class": "Known", "parameters": {"X": 1}}
    assert description["not_implemented"] == ["Unknown"]
    assert description["settings"] == {"MaxEvents": 3, "table": {"x": 1}}


def test_the_digest_covers_sourced_files(card):
    text = "set ExecutionPath A\nmodule M A { source other.tcl }\n"
    first = card(text, other__tcl="set X 1\n")
    second = card(text, other__tcl="set X 2\n")
    assert first.sha256 != second.sha256


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ('source "x.tcl"', ["x.tcl"]),
        ("source {x.tcl}", ["x.tcl"]),
        ("set f x\nsource $f.tcl", ["x.tcl"]),
        ("source x.tcl ;# source y.tcl", ["x.tcl"]),
        ("# source y.tcl\nsource x.tcl; source y.tcl", ["x.tcl", "y.tcl"]),
        ("if {1 < 2} {source x.tcl} else {source y.tcl}", ["x.tcl"]),
        ("if {1 > 2} {\n  source x.tcl\n}", []),
        ("foreach f {y x y} {source $f.tcl}", ["y.tcl", "x.tcl"]),
        ("module N B {\n  source x.tcl\n}", ["x.tcl"]),
        ("source nested.tcl", ["nested.tcl", "y.tcl"]),
        ("proc read {name} {source [format %s.tcl $name]}\nread x", ["x.tcl"]),
        ("set text {source x.tcl}", []),
    ],
)
def test_the_files_of_a_card_are_those_that_tcl_reads(card, tmp_path, text, files):
    # A path with a dot comes from the function's keywords with an underscore.
    others = {"x__tcl": "set X 1\n", "y__tcl": "set Y 1\n", "nested__tcl": "source y.tcl\n"}
    read = card(f"set ExecutionPath A\nmodule M A {{}}\n{text}\n", **others)
    assert read.files == [tmp_path / "card.tcl", *(tmp_path / name for name in files)]


def test_the_files_of_the_projects_cards():
    for path in sorted(CARDS.glob("*.tcl")):
        read = read_card(path)
        assert read.files[0] == path
        assert set(read.files[1:]) <= set(CARDS.rglob("*.tcl"))
    assert CARDS / "jetclass2" / "tracks.tcl" in read_card(CARDS / "jetclass2_fatjet.tcl").files


def test_cards_and_processes_are_read_without_heavy_packages():
    code = (
        "import sys, time; start = time.perf_counter()\n"
        "from generation.fastsim.card import read_card\n"
        "card = time.perf_counter() - start\n"
        "from generation.process import process_files\n"
        "print(card, [m for m in ('numpy', 'numba', 'awkward', 'pythia8mc') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, heavy = run.stdout.split(maxsplit=1)
    assert heavy == "[]\n"
    # 0.03 s alone on a core.
    assert float(seconds) < 0.5


def test_windows_line_ends_and_other_encodings_are_read(tmp_path):
    path = tmp_path / "card.tcl"
    text = b"# caf\xe9\nset ExecutionPath {A \\\n B}\nmodule M A {\n set X 1\n}\n"
    path.write_bytes(text.replace(b"\n", b"\r\n"))
    assert read_card(path).execution_path == ["A", "B"]
    assert read_card(path).modules["A"].params == {"X": 1}


# --- parameters that no one knows


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


def test_a_path_to_a_module_that_is_not_there_is_named(card):
    with pytest.raises(UserError, match="'B'"):
        card("set ExecutionPath {A B}\nmodule M A {}\n").sequence()


# --- errors: file, line, word


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


@pytest.mark.parametrize(
    "name", ["../outside.tcl", "/etc/hostname", "link.tcl", "sub/../../outside.tcl", "."]
)
def test_source_stays_in_the_folder_of_the_card(tmp_path, name):
    folder = tmp_path / "cards"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "outside.tcl").write_text("set X 1\n")
    (folder / "link.tcl").symlink_to(tmp_path / "outside.tcl")
    path = folder / "card.tcl"
    path.write_text(f"set ExecutionPath A\nsource {name}\n")
    with pytest.raises(UserError, match=r"card.tcl:2: .*(outside the folder|not a file)"):
        read_card(path)


def test_a_missing_card_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.tcl"):
        read_card(tmp_path / "absent.tcl")


# --- a card cannot take time or memory


def test_a_grid_of_millions_of_cells_is_read_quickly(card):
    """As fine as the finest public card, FCC-hh with its filter of dense tracks."""
    module = card("""
        set ExecutionPath A
        module DenseTrackFilter A {
          set pi [expr {acos(-1)}]
          set n [expr {int($pi/0.001)}]
          set PhiBins {}
          for {set i -$n} {$i <= $n} {incr i} { add PhiBins [expr {$i * $pi/$n}] }
          for {set i -6000} {$i <= 6000} {incr i} { add EtaPhiBins [expr {$i * 0.001}] $PhiBins }
        }
    """).modules["A"]
    bins = module.params["EtaPhiBins"]
    assert len(bins) == 2 * 12001
    assert len(bins[1]) == 2 * 3141 + 1
    # One list of edges, held many times.
    assert len({id(edges) for edges in bins[1::2]}) == 1


@pytest.mark.parametrize(
    "text",
    [
        "while 1 {}",
        "for {} {1} {} {set x 1}",
        "proc f {} { f }\nf",
        "source card.tcl",
        "set x a\nwhile 1 {append x $x}",
        "set x a\nwhile 1 {set x $x$x}",
        "set x {a b}\nwhile 1 {set x [concat $x $x]}",
        "set x {}\nwhile 1 {add x 1}",
        "set x [list a]\nfor {set i 0} {$i < 100} {incr i} {set x [list $x $x]}\nset y $x.",
        "set x [list a]\nmodule M A {for {set i 0} {$i < 45} {incr i} {set x [list $::x $::x]}}",
        "module M A {set x [list a]; for {set i 0} {$i < 90} {incr i} {set x [list $x $x]}}",
        "set x a\nfor {set i 0} {$i < 10000} {incr i} {set x [list $x]}",
        "set x a\nfor {set i 0} {$i < 10000} {incr i} {set x [list $x]}\nappend y $x",
        "string repeat abc 1000000000",
        "lrepeat 1000000000 a",
        "format %1000000000d 1",
        "expr {10**10**10}",
        "expr {1 << 1000000000}",
        "set x 2\nwhile 1 {set x [expr {$x*$x}]}",
        "set x " + "[list " * 500 + "]" * 500,
        "expr " + "(" * 500 + "1" + ")" * 500,
        "expr {" + "-" * 5000 + "1}",
        "expr {" + "1?" * 3000 + "1" + ":1" * 3000 + "}",
        "set x " + "{" * 5000 + "}" * 5000 + "\nlindex $x 0",
        "set n 0\nwhile 1 {incr n; set x$n [string repeat a 900000]}",
        "set x [string repeat {a } 400000]\nforeach a $x {foreach b $x {}}",
    ],
)
def test_endless_cards_end(card, text):
    """None of these hangs, crashes or fills the memory."""
    try:
        description = describe(card(f"set ExecutionPath A\nmodule M A {{}}\n{text}\n"), set())
    except UserError:
        return
    write_description(description, io.StringIO())


# --- the project's own cards


def test_the_fat_jet_card_holds_the_published_resolutions(reference):
    table = np.genfromtxt(reference("track_resolution_mm.csv"), delimiter=",", names=True)
    from generation.fastsim.formula import Formula

    module = read_card(CARDS / "jetclass2_fatjet.tcl").modules["TrackSmearing"]
    for parameter, column in (("D0ResolutionFormula", "d0"), ("DZResolutionFormula", "dz")):
        formula = Formula(module.text(parameter, ""))
        for row in table:
            for pt in (np.nextafter(row["pt_min_gev"], np.inf), min(row["pt_max_gev"], 1e6)):
                for eta in (row["abs_eta_max"], -row["abs_eta_max"]):
                    assert formula(pt=pt, eta=eta) == row[f"sigma_{column}_mm"]
        assert formula(pt=0.1, eta=1.0) == 0
        assert formula(pt=10.0, eta=2.6) == 0


def test_the_fat_jet_card_has_the_granularity_of_the_detector():
    modules = read_card(CARDS / "jetclass2_fatjet.tcl").modules
    bins = modules["ECal"].array("EtaPhiBins")
    edges = dict(zip(bins[::2], bins[1::2], strict=True))
    central = sorted(edge for edge in edges if abs(edge) < 2.95)
    np.testing.assert_allclose(np.diff(central), 0.0174, atol=1e-12)
    assert {len(edges[edge]) for edge in central} == {361}
    assert min(edges) == -5
    assert max(edges) == 5
    assert {len(edges[edge]) for edge in edges if abs(edge) > 3} == {37}
    bins = modules["HCal"].array("EtaPhiBins")
    counts = {len(phi): [] for phi in bins[1::2]}
    for eta, phi in zip(bins[::2], bins[1::2], strict=True):
        counts[len(phi)].append(abs(eta))
    assert set(counts) == {73, 37, 19}
    assert max(counts[73]) == 1.653
    assert min(counts[19]) == 4.525
    fractions = modules["HCal"].array("EnergyFraction")
    assert dict(zip(fractions[::2], fractions[1::2], strict=True))[310] == 0.7
