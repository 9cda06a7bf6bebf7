"""Pictures of runs: PNG files and one page, from nothing but their logs."""

from __future__ import annotations

from training.plots.render import default_folder, plot_runs

__all__ = ["default_folder", "plot_runs"]
