"""The images that are to be classified are at hand, without their labels: graphs, prior shift."""
