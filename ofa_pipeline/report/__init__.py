"""The report: one HTML page, key figures, tables for plots."""
