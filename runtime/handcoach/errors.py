"""The errors that a person is meant to read."""


class HandCoachError(Exception):
    """Something the user can mend. The message is one sentence: what is wrong and what to do.

    Every `main` prints it on standard error and returns 2; nobody sees a traceback.

    Attributes:
        key: of the sentence that the window says instead, in the patient's language; None where it has none.
    """

    key: str | None = None

    def __init__(self, sentence: str, key: str | None = None) -> None:
        super().__init__(sentence)
        self.key = key or self.key


class ModelError(HandCoachError):
    """A file is no model, or not one that this program runs; or onnxruntime does not start."""

    def __init__(self, sentence: str, key: str | None = "model_broken") -> None:
        super().__init__(sentence)
        self.key = key
