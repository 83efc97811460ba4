"""How sure an answer is: posteriors, conformal sets, predicted numbers with their noise."""
