"""What all commands share: how their help reads, and how they say how far they have come."""
