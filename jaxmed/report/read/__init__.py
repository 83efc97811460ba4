"""Reading anyone's predictions: tables of scores, folders of masks."""
