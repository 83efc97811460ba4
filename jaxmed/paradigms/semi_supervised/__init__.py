"""Learning from few labels and many images: teachers, pseudo-labels, consistency."""
