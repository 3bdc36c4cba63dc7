"""Archives (`name.xfer`): keys in checked frames, both ways, with no I/O. Specified in docs/archive-format.md."""
