"""What is shown of a daemon to those who ask: one file for each question."""
