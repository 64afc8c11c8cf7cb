"""What a person at a terminal sees: flags, failures, summary."""
