"""Teaching worlds as tables, and their exact solutions: what an agent's mistakes are measured by."""
