"""What a network learns beside the point: sites, scanners, borders."""
