"""What is found in images without their labels."""
