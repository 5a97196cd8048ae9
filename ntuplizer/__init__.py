"""From events to tables of rows, and to datasets of shards."""
