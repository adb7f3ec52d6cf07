"""Training's errors are the runtime's: one sentence for a person."""

from handcoach.errors import HandCoachError


class TrainError(HandCoachError):
    """Something about the data, the machine or an option that the user can mend."""
