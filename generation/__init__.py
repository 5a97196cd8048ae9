"""From a process card to Delphes events: hard process, shower, pile-up, detector."""
