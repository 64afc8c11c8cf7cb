"""One module for each family of file formats that images are read from.

Whatever opens or reads a file raises a `StepError` that names the file if it is missing, damaged,
larger than its size allows, or not as its form in `tasks.images.sources` describes it.
"""
