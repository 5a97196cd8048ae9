"""The embedded Delphes: detector cards, and their modules on batches of events."""
