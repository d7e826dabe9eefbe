"""What a report measures: models run again."""
