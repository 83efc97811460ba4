"""Networks that answer voxel by voxel: an encoder, a decoder, and what joins them."""
