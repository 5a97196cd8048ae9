"""Cards against a real Tcl."""

import shutil
import subprocess
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from detector_events import CARDS
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.fastsim.card import read_card
from generation.fastsim.tcl.values import as_list, as_text
from provenance.errors import UserError

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
