"""From samples to a verdict, and from verdicts to a score. What is not known stays None."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

LEAST_COVERAGE = 0.8
MET, NOT_MET, CANNOT_ASSESS = "met", "not_met", "cannot_assess"
ESSENTIAL, PITFALL = "essential", "pitfall"


@dataclass(frozen=True, kw_only=True)
class Majority:
    """What the samples of one criterion come to.

    `answer` is None while no sample is there. `agreement` is the share of samples that say the same. `tied` says that
    no answer had more samples than every other, which counts as cannot assess: a person should look.
    """

    answer: str | None
    agreement: float | None
    samples: int
    tied: bool = False


def majority(answers: Sequence[str]) -> Majority:
    """Return the answer that most samples gave."""
    if not answers:
        return Majority(answer=None, agreement=None, samples=0)
    (answer, most), *rest = Counter(answers).most_common()
    if rest and rest[0][1] == most:
        return Majority(answer=CANNOT_ASSESS, agreement=most / len(answers), samples=len(answers), tied=True)
    return Majority(answer=answer, agreement=most / len(answers), samples=len(answers))


def is_settled(answers: Sequence[str], samples: int) -> bool:
    """Return whether further samples, up to `samples`, cannot change what the majority is."""
    left = samples - len(answers)
    if left <= 0:
        return True
    counts = [count for _, count in Counter(answers).most_common()] + [0, 0]
    return counts[0] > counts[1] + left


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """One criterion with its answer; None is unknown (an outage), cannot_assess is the judge's own word."""

    key: str
    kind: str
    weight: float
    answer: str | None

    @property
    def assessed(self) -> bool:
        return self.answer in (MET, NOT_MET)

    @property
    def signed(self) -> float:
        return -self.weight if self.kind == PITFALL else self.weight


@dataclass(frozen=True, kw_only=True)
class Score:
    """The score of one judgement. `value` None is unknown, and `note` says why; `ungated` leaves essentials out."""

    value: float | None
    ungated: float | None
    coverage: float | None
    note: str = ""


def score(criteria: Iterable[Weighed]) -> Score:
    """Return Σ wᵢ·vᵢ over what was assessed, by the Σ of its positive weights, clipped to [0, 1]; vᵢ is 1 when met.

    A pitfall's weight is negative. An essential criterion that is not met makes the score 0. There is no score when
    less than LEAST_COVERAGE of the weight was assessed, or an essential one was not.
    """
    found = list(criteria)
    whole = sum(abs(criterion.signed) for criterion in found)
    assessed = [criterion for criterion in found if criterion.assessed]
    if not found or whole == 0:
        return Score(value=None, ungated=None, coverage=None, note="The rubric has no criterion with a weight.")
    coverage = sum(abs(criterion.signed) for criterion in assessed) / whole
    positive = sum(criterion.weight for criterion in assessed if criterion.kind != PITFALL)
    reached = sum(criterion.signed for criterion in assessed if criterion.answer == MET)
    ungated = min(1.0, max(0.0, reached / positive)) if positive else None
    if coverage < LEAST_COVERAGE:
        note = f"Only {coverage:.0%} of the weight could be assessed; a score needs {LEAST_COVERAGE:.0%}."
        return Score(value=None, ungated=ungated, coverage=coverage, note=note)
    if ungated is None:
        return Score(value=None, ungated=None, coverage=coverage, note="Only pitfalls could be assessed.")
    essential = [criterion for criterion in found if criterion.kind == ESSENTIAL]
    failed = [criterion.key for criterion in essential if criterion.answer == NOT_MET]
    if failed:
        return Score(
            value=0.0, ungated=ungated, coverage=coverage, note=f"Essential and not met: {', '.join(failed)}"[:300]
        )
    open_ = [criterion.key for criterion in essential if not criterion.assessed]
    if open_:
        note = f"Essential and not assessed: {', '.join(open_)}"[:300]
        return Score(value=None, ungated=ungated, coverage=coverage, note=note)
    return Score(value=ungated, ungated=ungated, coverage=coverage)


def test_retest(samples: Iterable[Sequence[str]]) -> float | None:
    """Return the share of pairs of samples of the same question with the same answer; None without any pair."""
    shares = []
    for answers in samples:
        pairs = len(answers) * (len(answers) - 1) // 2
        if pairs:
            same = sum(count * (count - 1) // 2 for count in Counter(answers).values())
            shares.append(same / pairs)
    return fmean(shares) if shares else None
