"""Reading of predictions: tables of scores, folders of masks."""
