"""Shards to models to figures."""
