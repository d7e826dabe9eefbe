"""What a report is about: runs as rows."""
