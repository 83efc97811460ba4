"""Maps from what the network answers where parts of an image are covered or changed."""
