"""What several tasks share: replicates, comparisons, kept scores, scans, a pretrained trunk."""
