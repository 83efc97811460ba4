"""Teaching worlds as tables, and their exact solutions, by which agents are measured."""
