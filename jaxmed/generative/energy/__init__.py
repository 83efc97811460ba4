"""Energies of images: Boltzmann machines, restricted and deep, and belief networks."""
