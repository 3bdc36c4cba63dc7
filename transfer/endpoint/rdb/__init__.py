"""RDB files as places: read as a source, looked at for a comparison, written as a target."""
