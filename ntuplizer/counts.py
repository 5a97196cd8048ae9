"""What happened to events on the way to rows: the ledger's entries."""

from collections import Counter
from dataclasses import dataclass, field

from provenance.errors import UserError

# A source that loses more of its events than this is damaged, not unlucky.
MAX_SKIPPED_FRACTION = 0.1


@dataclass
class Counts:
    """What was read, lost and kept.

    Attributes
    ----------
    events
        Events read.
    events_skipped
        Events left out because they cannot be trusted, by reason.
    steps
        What was left after each step of the product, in order; every product has its own.
    rows
        Rows made.
    class_counts
        Rows of each label that occurs, for a product with labels.
    """

    events: int = 0
    events_skipped: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    class_counts: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict:
        """Return the counts as plain JSON values."""
        return {
            "events": self.events,
            "events_skipped": dict(sorted(self.events_skipped.items())),
            "steps": dict(self.steps),
            "rows": self.rows,
            "class_counts": self.class_counts or None,
        }

    def check_losses(self, source: str) -> None:
        """Raise a `UserError` when more than `MAX_SKIPPED_FRACTION` of all events were skipped."""
        if self.events_skipped.total() > MAX_SKIPPED_FRACTION * self.events:
            skipped = sorted(self.events_skipped.items())
            reasons = ", ".join(f"{count} with {reason}" for reason, count in skipped)
            raise UserError(
                f"{source}: of {self.events} events {reasons}; at most {MAX_SKIPPED_FRACTION:.0%} "
                "may be skipped, so the events are taken for damaged"
            )
