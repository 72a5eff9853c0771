"""The commands of `postroom`, one module each."""
