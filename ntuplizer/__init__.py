"""From Delphes events to labelled jets, event objects and dataset shards."""
