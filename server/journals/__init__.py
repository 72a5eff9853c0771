"""Event logs that outlive the process."""
