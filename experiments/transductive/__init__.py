"""The images to be classified are at hand while learning."""
