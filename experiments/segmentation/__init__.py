"""A label for every pixel or voxel."""
