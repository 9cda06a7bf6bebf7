"""The log of a run, training.jsonl: written while it trains, and read back for pictures and model cards."""

from training.runlog.data import End, RunLogData, SplitResult, Start, Steps, Validation
from training.runlog.lines import FILE_NAME
from training.runlog.reader import read_log
from training.runlog.writer import RunLog

__all__ = ["FILE_NAME", "End", "RunLog", "RunLogData", "SplitResult", "Start", "Steps", "Validation", "read_log"]
