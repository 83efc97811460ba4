"""Several modalities of a patient, some of them missing; times to an event."""
