"""report.html: one self-contained page per run, for people who would rather look than read."""
