"""What a card must not be able to do: leave its folder, take time or memory."""

import io

import pytest

from generation.fastsim.card import describe, read_card, write_description
from provenance.errors import UserError


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
