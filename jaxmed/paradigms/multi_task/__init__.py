"""Several tasks at once: shared trunks, balanced losses, reconciled gradients."""
