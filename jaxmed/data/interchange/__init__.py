"""Other libraries' pipelines: data sets of TensorFlow Datasets, data sets of Grain."""
