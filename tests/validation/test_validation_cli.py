"""The command line of the comparison: quick to help, one sentence for a mistake."""

import pytest

from provenance.errors import run
from validation.cli import CARD, main


def test_help_names_the_options(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["compare", "--help"])
    assert raised.value.code == 0
    text = capsys.readouterr().out
    for option in ("--reruns", "--card", "--pileup", "--repeats", "--jet-radius", "--output"):
        assert option in text
    assert CARD.is_file()


def test_no_repeats_are_a_mistake(tmp_path, capsys):
    output = tmp_path / "page"
    arguments = ["compare", "a.root", "--pileup=b", "--repeats=0", f"--output={output}"]
    with pytest.raises(SystemExit):
        run(lambda: main(arguments))
    assert capsys.readouterr().err == "error: --repeats 0: at least 1 is needed\n"
    assert not output.exists()


def test_what_is_no_event_file_is_named(tmp_path, reference, capsys):
    output = tmp_path / "page"
    other = reference("cms/nano_dy.root")
    with pytest.raises(SystemExit):
        run(lambda: main(["compare", str(other), "--pileup=b", f"--output={output}"]))
    assert capsys.readouterr().err == f"error: {other}: holds no tree named Delphes\n"
    assert not output.exists()
