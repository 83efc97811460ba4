"""Recurrent networks: sequences, sequences of sequences, images and volumes swept along axes."""
