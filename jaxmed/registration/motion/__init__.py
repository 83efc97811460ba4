"""What moves from frame to frame: warps of a cine, strain, what is carried along."""
