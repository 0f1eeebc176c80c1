"""Merges the answers of several parts into one."""

from collections.abc import Iterable

from balancers.gslb.answer import Answer, Skipped

__all__ = ["merged"]


def merged(
    answers: Iterable[Answer], reason: str, skipped: tuple[Skipped, ...], everything: bool
) -> Answer:
    """Return one answer with the members of all, each once, and with all reasons; O(members)."""
    answers = list(answers)
    reasons = [f"{', '.join(answer.regions)}: {answer.reason}" for answer in answers]
    return Answer(
        tuple(dict.fromkeys(member for answer in answers for member in answer.members)),
        tuple(region for answer in answers for region in answer.regions),
        "; ".join([reason, *reasons] if reason else reasons),
        (*skipped, *(one for answer in answers for one in answer.skipped)),
        everything,
    )
