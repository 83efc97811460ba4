"""What values and policies are learned by, for any network: from one step to many."""
