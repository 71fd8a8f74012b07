"""The run folder: what every file of it is called, and how it is read and written."""
