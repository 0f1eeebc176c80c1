"""Runs a list of laws over one subject, as a report or as a class of tests."""

from collections.abc import Callable, Collection, Mapping, Sequence
from inspect import Parameter, signature
from typing import Any
from unittest import TestCase

from balancers._internal.checks import shown
from balancers.errors import InvalidSetting
from balancers.testing._laboratory import Laboratory, Settings
from balancers.testing._law import Law
from balancers.testing._runner import Runner
from balancers.testing.report import LawBroken, LawReport, LawResult

__all__ = ["Suite", "takes_rng"]

_NO_LONGER = "the excuse is no longer needed, because the law is not broken: "


def takes_rng(factory: Callable[..., Any]) -> bool:
    """Return whether the factory has a parameter ``rng``.  Raises TypeError if it is no factory."""
    if not callable(factory):
        raise TypeError(
            f"factory must be a function that returns a new object, not {shown(factory)}"
        )
    try:
        parameters = signature(factory).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(
        parameter.name == "rng" and parameter.kind is not Parameter.POSITIONAL_ONLY
        for parameter in parameters
    )


class Suite:
    """The laws of one subject, chosen and excused as the caller wants it."""

    def __init__(
        self,
        laboratory: Callable[..., Laboratory],
        settings: Settings,
        laws: Sequence[Law],
        chosen: Collection[str] | None,
        excuses: Mapping[str, str] | None,
        examples: int,
        seed: int,
        preflight: Callable[[Runner], None],
    ) -> None:
        if not isinstance(examples, int) or isinstance(examples, bool) or examples < 1:
            raise InvalidSetting(f"examples must be a whole number above 0, not {shown(examples)}")
        if not isinstance(seed, int):
            raise InvalidSetting(f"seed must be a whole number, not {shown(seed)}")
        if not isinstance(excuses, Mapping | None):
            raise TypeError(f"excuses must map names of laws to reasons, not {shown(excuses)}")
        self._settings = settings
        self._excuses = dict(excuses or {})
        self._seed = seed
        self._runner = Runner(laboratory, settings, examples, seed)
        self._preflight = preflight
        applying = {law.name: law for law in laws if law.applies(settings.traits)}
        wanted = [*applying] if chosen is None else [*_names("laws", chosen)]
        for name, reason in self._excuses.items():
            if not isinstance(reason, str) or not reason.strip():
                raise InvalidSetting(f"the excuse for {shown(name)} must give a reason")
        for name in [*wanted, *self._excuses]:
            if name not in applying:
                known = "no law" if name not in {law.name for law in laws} else (
                    "a law that does not apply to these traits"
                )  # fmt: skip
                raise InvalidSetting(f"{shown(name)} is {known}; choose from {', '.join(applying)}")
        for name in self._excuses:
            if name not in wanted:
                raise InvalidSetting(f"{shown(name)} is excused, but not among the laws to test")
        self._laws = [law for name, law in applying.items() if name in wanted]

    def report(self) -> LawReport:
        """Test all laws, and return the report.  Raises LawBroken."""
        self._preflight(self._runner)
        results = [self._result(law) for law in self._laws]
        return LawReport(
            subject=self.subject(),
            traits=tuple(sorted(self._settings.traits)),
            seed=self._seed,
            results=tuple(results),
            comparisons=self._runner.comparisons,
        )

    def subject(self) -> str:
        """Return the name of the factory."""
        factory: Any = self._settings.factory
        named = getattr(factory, "func", factory)
        return str(getattr(named, "__qualname__", type(factory).__name__))

    def _result(self, law: Law) -> LawResult:
        excuse = self._excuses.get(law.name)
        try:
            result = self._runner.run(law, shorten=excuse is None)
        except LawBroken as broken:
            if excuse is None:
                raise
            return LawResult(law.name, 0, excuse=excuse, note=broken.why)
        if excuse is not None and not result.note.startswith("not tested"):
            raise LawBroken(law.name, _NO_LONGER + excuse, "")
        return result

    def test_case(self) -> type[TestCase]:
        """Return a class of tests, with one test for each law."""
        suite = self

        def set_up_class(_cls: type[TestCase]) -> None:
            suite._preflight(suite._runner)

        def test_of(law: Law) -> Callable[[TestCase], None]:
            def test(_case: TestCase) -> None:
                suite._result(law)

            test.__doc__ = law.page.partition("\n")[0]
            test.__name__ = f"test_{law.name}"
            return test

        body: dict[str, Any] = {f"test_{law.name}": test_of(law) for law in self._laws}
        body["setUpClass"] = classmethod(set_up_class)
        body["__doc__"] = f"The laws of {self.subject()}."
        return type(f"LawsOf{self.subject().rpartition('.')[2]}", (TestCase,), body)


def _names(what: str, values: Collection[str]) -> Collection[str]:
    if isinstance(values, str | bytes):
        raise TypeError(f"{what} must be a collection of names, not {shown(values)}")
    return values
