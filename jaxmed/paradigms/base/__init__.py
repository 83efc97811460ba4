"""What every family stands on: supervised learning, sums of objectives, heads, views."""
