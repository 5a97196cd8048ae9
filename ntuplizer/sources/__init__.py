"""Sources of events, each in a file of this folder: what they read becomes `EventBatch`es.

A source is a function that takes what it reads, the branches wanted and those that may be absent,
and yields batches of events with their identity. Products know nothing of it.
"""
