"""The report of a run: one HTML file that opens offline, with the imagined future beside the real one."""

from foreact.reporting.inputs import ReportInputs
from foreact.reporting.report import write_report
from foreact.reporting.runs import read_inputs

__all__ = ["ReportInputs", "read_inputs", "write_report"]
