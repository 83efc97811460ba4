"""Choosing between models: information criteria, leave-one-out, the bias of the best."""
