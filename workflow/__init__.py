"""The order of the stages: configuration, paths, the shard job, the report."""
