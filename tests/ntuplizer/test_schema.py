"""The data dictionary and the products say the same."""

from pathlib import Path

import pyarrow as pa
import pytest

from ntuplizer.products import get_product, product_names
from ntuplizer.schema import describe

DOCUMENT = Path(__file__).parents[2] / "docs" / "columns.md"
# Product → its chapter.
CHAPTERS = {
    title.strip("`"): text
    for title, _, text in (
        chapter.partition("\n") for chapter in DOCUMENT.read_text().split("\n## The product ")[1:]
    )
}


@pytest.mark.parametrize("name", CHAPTERS)
def test_dictionary_lists_every_column_in_order(name):
    product = get_product(name)
    expected = [describe(column) for column in product.columns(product.Options())]
    assert [line for line in CHAPTERS[name].splitlines() if line.startswith("| `")] == expected


def test_dictionary_has_the_products_of_the_project():
    assert CHAPTERS.keys() >= {"jets", "energy", "events"}


@pytest.mark.parametrize("name", product_names())
def test_nothing_may_be_null(name):
    product = get_product(name)
    schema = product.schema(product.Options())
    for field in schema:
        assert not field.nullable
        if pa.types.is_list(field.type):
            assert not field.type.value_field.nullable
    assert len(set(schema.names)) == len(schema.names)


def test_jet_file_has_the_published_number_of_columns():
    product = get_product("jets")
    assert len(product.schema(product.Options())) == 54
