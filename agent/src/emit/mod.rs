//! Records in, lines out: the only code that writes to standard output.
