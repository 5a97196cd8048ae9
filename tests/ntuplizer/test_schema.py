"""The data dictionary and the schema say the same."""

from pathlib import Path

import pyarrow as pa

from ntuplizer import schema

DOCUMENT = Path(__file__).parents[2] / "docs" / "columns.md"


def test_dictionary_lists_every_column_in_order():
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    columns = (
        *schema.COLUMNS, schema.FLAVOUR_COLUMN, *schema.EVENT_COLUMNS, *schema.REGRESSION_COLUMNS,
    )  # fmt: skip
    assert rows == [schema.describe(column) for column in columns]


def test_nothing_may_be_null():
    for table in (schema.JET_SCHEMA, schema.EVENT_SCHEMA, schema.REGRESSION_SCHEMA):
        for field in table:
            assert not field.nullable
            if pa.types.is_list(field.type):
                assert not field.type.value_field.nullable
        assert len(set(table.names)) == len(table.names)


def test_jet_file_has_the_published_number_of_columns():
    assert len(schema.JET_SCHEMA) == 54
