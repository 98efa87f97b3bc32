//! Tests of the bank connector.
