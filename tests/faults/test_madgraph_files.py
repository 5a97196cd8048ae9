"""Les Houches files that would hang a reader, fill its memory or trip it: named in seconds."""

import gzip
import time

import pytest
from damage import peak_memory

from generation.external.lhe import LheFile
from generation.lhe_check import check_lhe, uncompressed
from generation.process import load_process
from provenance.errors import UserError


@pytest.fixture(scope="module")
def process():
    return load_process("res2p")


@pytest.fixture
def heft(reference):
    return gzip.decompress(reference("madgraph/heft_pp_hh_m150.lhe.gz").read_bytes())


def first_numbers(heft: bytes, number: bytes) -> bytes:
    """Return the file with another number of particles in its first event."""
    start = heft.index(b"<event>") + len(b"<event>\n")
    return heft[:start] + heft[start:].replace(heft[start:].split()[0], number, 1)


def inserted(heft: bytes, before: bytes, more: bytes, after: int = 0) -> bytes:
    place = heft.index(before, after)
    return heft[:place] + more + heft[place:]


MEGABYTE = 1 << 20
HOSTILE = {
    "an absurd number of particles": (
        lambda heft: first_numbers(heft, b"1000000000"),
        "event 1 holds .* particles where its first line says 1000000000",
    ),
    "no number of particles": (lambda heft: first_numbers(heft, b"inf"), "not a whole"),
    "padding in the header": (
        lambda heft: inserted(heft, b"</header>", b" " * (40 * MEGABYTE)),
        "its header is larger than 8 MB",
    ),
    "padding before the events": (
        lambda heft: inserted(heft, b"<event>", b"\n" * (40 * MEGABYTE)),
        "its header is larger than 8 MB",
    ),
    "padding in an event": (
        lambda heft: inserted(heft, b"</event>", b" " * (40 * MEGABYTE)),
        "its header is larger than 8 MB",
    ),
    "padding in a later event": (
        lambda heft: inserted(heft, b"</event>", b" " * (40 * MEGABYTE), after=len(heft) // 2),
        "its event is larger than 1 MB",
    ),
    "padding at the end": (
        lambda heft: inserted(heft, b"</LesHouchesEvents>", b" " * (40 * MEGABYTE)),
        "its event is larger than 1 MB",
    ),
    "elements in elements": (
        lambda heft: inserted(heft, b"</header>", b"<a>" * 100_000 + b"</a>" * 100_000),
        "not a whole",
    ),
    "entities of entities": (
        lambda heft: (
            b'<!DOCTYPE LesHouchesEvents [<!ENTITY a "aaaaaaaaaa">'
            + b"".join(b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9))
            + b"]>"
            + inserted(heft, b"</header>", b"<b>&j;</b>")
        ),
        "not a whole",
    ),
    "another format": (lambda heft: b"\x89HDF\r\n\x1a\n" + heft, "not a whole"),
}


@pytest.mark.parametrize(("change", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_named(heft, process, tmp_path, change, reason):
    path = tmp_path / "events.lhe.gz"
    path.write_bytes(gzip.compress(change(heft), 1))
    started, before = time.perf_counter(), peak_memory()
    with pytest.raises(UserError, match=rf"events\.lhe\.gz: .*{reason}"):
        check_lhe(path, process)
    assert time.perf_counter() - started < 20
    assert peak_memory() - before < 300 << 20


def test_a_name_says_nothing_about_compression(heft, process, tmp_path):
    for name, content in (("plain.lhe.gz", heft), ("packed.lhe", gzip.compress(heft))):
        path = tmp_path / name
        path.write_bytes(content)
        assert check_lhe(path, process).events == 100
        with uncompressed(path) as plain:
            assert plain.read_bytes() == heft


def test_damage_in_what_madgraph_wrote_is_named(heft, tmp_path):
    path = tmp_path / "unweighted_events.lhe.gz"
    packed = bytearray(gzip.compress(heft))
    packed[len(packed) // 2] ^= 4
    path.write_bytes(packed)
    with pytest.raises(UserError, match=r"events\.lhe\.gz: cannot be read to its end"):
        LheFile.read(path)
    plain = tmp_path / "unweighted_events.lhe"
    plain.write_bytes(heft.replace(b"</event>", b"</event >"))
    with pytest.raises(UserError, match=r"events\.lhe: an event has no end"):
        LheFile.read(plain)
