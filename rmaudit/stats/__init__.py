"""Statistics on plain arrays: intervals, resampling, ranking, calibration. No models here."""
