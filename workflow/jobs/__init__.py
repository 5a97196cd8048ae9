"""The jobs that put the stages together: what one rule does, described by one piece of JSON."""
