"""What a preflight check found: severity, what, where, what to do; as a value, as JSON and as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from foreact.contract.errors import ForeactError

__all__ = ["Finding", "Report", "render"]

Severity = Literal["info", "warning", "fatal"]
_ORDER = ("fatal", "warning", "info")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing worth knowing. fatal: training on this would be ruined, or impossible."""

    severity: Severity
    kind: str
    what: str
    where: str
    advice: str = ""

    @classmethod
    def of(cls, error: ForeactError, kind: str) -> Finding:
        """An error met while reading, as a fatal finding."""
        found = "" if error.found is None else f" (found {error.found})"
        return cls(severity="fatal", kind=kind, what=error.what + found, where=error.where, advice=error.next_step)


@dataclass(frozen=True, kw_only=True)
class Report:
    """All findings about one dataset, the gravest first, and a summary of what it holds."""

    path: str
    summary: Mapping[str, object]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Nothing fatal."""
        return not any(finding.severity == "fatal" for finding in self.findings)

    def to_json(self) -> dict[str, object]:
        return {"path": self.path, "ok": self.ok, "summary": dict(self.summary),
                "findings": [asdict(finding) for finding in self.findings]}


def ordered(findings: list[Finding]) -> tuple[Finding, ...]:
    """The gravest first, else in the order of the checks."""
    return tuple(sorted(findings, key=lambda finding: _ORDER.index(finding.severity)))


def render(report: Report) -> str:
    """Plain text for a terminal."""
    lines = [f"dataset {report.path}"]
    lines += [f"  {name + ':':<14} {value}" for name, value in report.summary.items()]
    for finding in report.findings:
        lines += ["", f"{finding.severity.upper()}  {finding.what}"]
        lines += [f"  where: {finding.where}"] if finding.where else []
        lines += [f"  next:  {finding.advice}"] if finding.advice else []
    counts = {severity: sum(f.severity == severity for f in report.findings) for severity in _ORDER}
    verdict = "fit for training" if report.ok else "NOT fit for training"
    lines += ["", f"{verdict}: {counts['fatal']} fatal, {counts['warning']} warnings, {counts['info']} notes"]
    return "\n".join(lines)
