"""What a step costs on this machine, and what to change."""
