"""The tables of a report: as the page and Markdown show them, and with every digit for CSV."""
