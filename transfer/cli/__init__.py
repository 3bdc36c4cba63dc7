"""Words in, Report out."""
