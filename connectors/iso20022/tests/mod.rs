//! Files of banks, and files for them.
