"""Large keys: copied with memory that does not depend on their size.

mover: each key its way, tries, conflicts, counts
    through: one DUMP into one RESTORE, as it comes         (codec.heads: where the body begins)
    chunks:  pieces -> build -> temporary key -> its name   (temporary: names, and their removal)
"""
