"""Names of keys (`name.txt`), one a line, as `--keys-from` reads them: a place to write to."""
