"""What networks have to beat."""
