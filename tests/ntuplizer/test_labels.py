"""The label table against the published one."""

import csv
import subprocess
import sys

from ntuplizer.labels import GROUPS, INDEX, LABELS, QCD_LABELS, RESONANCE_LABELS, split_label


def test_names_and_order_are_the_published_ones(reference):
    with reference("labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == list(LABELS)
    assert [int(row["index"]) for row in rows] == [INDEX[row["label"]] for row in rows]


def test_every_label_is_in_one_group():
    indices = sorted(index for group in GROUPS.values() for index in group)
    assert indices == list(range(188))
    assert sorted(RESONANCE_LABELS + QCD_LABELS) == indices
    assert len(QCD_LABELS) == 27


def test_contents():
    assert split_label("X_YY_bbtauhtaue") == ("X_YY_", {"b": 2, "tauhtaue": 1})
    assert split_label("X_YY_cqtaumv") == ("X_YY_", {"c": 1, "q": 1, "taumv": 1})
    assert split_label("X_YY_sqev") == ("X_YY_", {"s": 1, "q": 1, "e": 1, "v": 1})
    assert split_label("QCD_light") == ("QCD_", {})
    assert (
        len({(prefix, *sorted(tokens.items())) for prefix, tokens in map(split_label, LABELS)})
        == 188
    )


def test_labels_import_nothing_heavy():
    code = "import sys, ntuplizer.labels; print({'numpy', 'pyarrow', 'numba'} & set(sys.modules))"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "set()"
