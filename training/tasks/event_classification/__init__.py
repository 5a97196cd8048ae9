"""Classes of events by their objects."""
