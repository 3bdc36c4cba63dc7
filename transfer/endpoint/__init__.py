"""Places where data lives; each offers a Source, a Sink, or both."""
