"""Cross-validated studies: splits, trainings, records, the ledger of test sets."""
