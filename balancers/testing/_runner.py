"""Runs laws: examples, the shortening of a breach, its program, and the time that a law has."""

from collections.abc import Callable
from contextlib import suppress
from random import Random
from time import process_time

from balancers.testing._choices import Choices, shortened
from balancers.testing._laboratory import Laboratory, NotTested, Settings
from balancers.testing._law import Law
from balancers.testing._program import Breach
from balancers.testing._source import NoSource, definitions
from balancers.testing._watchdog import Stuck, Watchdog, watching
from balancers.testing.report import LawBroken, LawResult

__all__ = ["Runner"]

_STUCK = 20.0
_SECONDS_PER_LAW = 2.0
_SECONDS_PER_EXAMPLE = 0.002
_SHRINK_SECONDS = 10.0
_FEWEST = 10


class Runner:
    """Runs laws with one kind of laboratory and one seed."""

    def __init__(
        self, laboratory: Callable[..., Laboratory], settings: Settings, examples: int, seed: int
    ) -> None:
        self._laboratory = laboratory
        self.settings = settings
        self._examples = examples
        self._seed = seed
        self.comparisons = 0

    def run(self, law: Law, *, shorten: bool = True) -> LawResult:
        """Test a law.  Raises LawBroken, with a shortened program if ``shorten``."""
        wanted = 1 if law.once else max(1, round(self._examples * law.share))
        seconds = max(_SECONDS_PER_LAW, _SECONDS_PER_EXAMPLE * wanted)
        began = process_time()
        done = 0
        with watching(_STUCK) as watchdog:
            for number in range(wanted):
                if done >= _FEWEST and process_time() - began > seconds:
                    break
                watchdog.example_began()
                choices = self.choices(law, number)
                try:
                    breaks = self.breaks(law, choices)
                except NotTested as reason:
                    return LawResult(law.name, done, note=f"not tested: {reason}")
                except Stuck:
                    raise self._broken(law, choices.made, stuck=True) from None
                if breaks:
                    made = choices.made
                    if shorten:
                        made = self._shortened(law, made, watchdog)
                    raise self._broken(law, made, stuck=False)
                done += 1
        note = "" if done == wanted else f"{wanted} were requested, but the time was over"
        return LawResult(law.name, done, note=note)

    def share(self, law: Law, examples: int) -> float:
        """Return the share of examples that break the law, to measure how well it detects."""
        with watching(_STUCK) as watchdog:
            found = 0
            for number in range(examples):
                watchdog.example_began()
                try:
                    found += self.breaks(law, self.choices(law, number))
                except Stuck:
                    found += 1
        return found / examples

    def choices(self, law: Law, number: int) -> Choices:
        """Return the choices of one example."""
        return Choices(rng=Random(f"{self._seed} {law.name} {number}"))

    def breaks(self, law: Law, choices: Choices) -> bool:
        """Return whether an example with these choices breaks the law."""
        laboratory = self._laboratory(self.settings, choices)
        try:
            law.test(laboratory)
        except Breach:
            return True
        finally:
            laboratory.close()
        self.comparisons += laboratory.comparisons
        return False

    def _shortened(self, law: Law, made: list[int], watchdog: Watchdog) -> list[int]:
        began = process_time()

        def still_breaks(choices: Choices) -> bool:
            if process_time() - began > _SHRINK_SECONDS:
                return False
            watchdog.example_began()
            try:
                return self.breaks(law, choices)
            except (NotTested, Stuck):
                return False

        return shortened(made, still_breaks)

    def _broken(self, law: Law, made: list[int], *, stuck: bool) -> LawBroken:
        """Return the error for these choices, after two runs that record the program."""
        whys: list[str] = []
        runs: list[Laboratory] = []
        for _ in range(1 if stuck else 2):
            laboratory = self._laboratory(self.settings, Choices(made), recording=True)
            why = "the same calls broke the law before, but not now"
            try:
                law.test(laboratory)
            except Breach as breach:
                why = breach.why
            except Stuck:
                why = f"the last line did not end within {_STUCK:g} s of processor time"
            finally:
                laboratory.close()
            whys.append(why)
            runs.append(laboratory)
        program, why = runs[0].program, whys[0]
        if len({*whys}) > 1 or program.lines != runs[-1].program.lines or self._differs():
            why += (
                ".  The result is not deterministic: it depends on more than the calls.  If the "
                "subject draws random numbers, let the factory take rng"
            )
        if runs[0].assertions_only_read and not stuck:
            runs[0].close(program.omit_assertions(whys[0]))
        return LawBroken(law.name, why, program.text(self.preamble()))

    def _differs(self) -> bool:
        """Return whether two new subjects that get the same calls differ; see the laboratory."""
        differs: Callable[..., bool] | None = getattr(self._laboratory, "differs", None)
        with suppress(Exception):
            return differs is not None and differs(self.settings)
        return False

    def preamble(self) -> list[str]:
        """Return the first lines of a program, which define ``make``."""
        try:
            return definitions(self.settings)
        except NoSource as error:
            return _undefined(self.settings, str(error))


def _undefined(settings: Settings, unknown: str) -> list[str]:
    """Return the first lines of a program that runs in the session of the check only."""
    lines = [
        f"# The source text of {' '.join(unknown.split())} is not known; it may have been typed.",
        "# So run this program in the same session, or insert the definition here.",
    ]
    named: dict[str, object] = {"make": settings.factory}
    if callable(settings.keys):
        named["key_of"] = settings.keys
    for name, value in named.items():
        text = str(getattr(value, "__name__", ""))
        if not text.isidentifier():
            lines.append(f"# {name} is the function that was passed to the check")
        elif text != name:
            lines.append(f"{name} = {text}")
    return lines
